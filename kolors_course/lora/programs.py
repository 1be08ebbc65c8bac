"""Where a LoRA file works: which programs apply it at the strength it was trained at, and from which version on.

Measured layer by layer with benchmarks/lora_programs.py; the tests hold these verdicts against its result.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from kolors_course.errors import CourseError
from kolors_course.lora.adapter import MisfitError
from kolors_course.lora.choices import ATTENTION_TARGETS
from kolors_course.lora.config import LoraSettings
from kolors_course.lora.names import kind_of_layer
from kolors_course.lora.naming import TensorName
from kolors_course.lora.reading import OpenedLora

# What diffusers learned to read: thing -> (first version that does it rightly, what it did before).
DIFFUSERS_SINCE = {
    "metadata": ("0.34", "scale 1 whatever the file says; convert to kohya for older"),
    "kohya, outside the blocks": (
        "0.39",
        "conv_in, conv_out and time_embedding are lost; convert to diffusers",
    ),
    "LoKr": ("0.42", "it is refused"),
}
# Layers whose kohya names diffusers cannot turn back up to 0.42, and those that it could not before (see above).
_LOST_IN_DIFFUSERS = ("add_embedding.", "encoder_hid_proj")
_ONCE_LOST = ("conv_in", "conv_out", "time_embedding.")
COMFYUI = "0.3.75"  # measured with this version
# How ComfyUI wants the names of tensors to end.
_COMFYUI_ENDINGS = re.compile(
    r"\.lora_(?:up|down|mid)\.weight|[._]lora\.(?:up|down)\.weight|\.lora_[AB](?:\.default)?(?:\.weight)?"
    r"|\.lora_linear_layer\.(?:up|down)\.weight|\.(?:lokr|hada)_[a-z0-9_]+"
)
_CAMP_NODE_LIMIT = 4.0  # of the alpha widget of the camp's ComfyUI node
_STRANGE_NAMES = "it does not know these names; convert to diffusers"


@dataclass(frozen=True)
class Tool:
    """Whether a program applies the file at its trained strength: "yes", "set" (after `note`) or "no"."""

    name: str
    verdict: str
    note: str


@dataclass(frozen=True)
class _Case:
    """What is judged; see `judge_programs`."""

    opened: OpenedLora
    settings: LoraSettings
    scale: float | None
    layers: list[str]


def judge_programs(
    opened: OpenedLora,
    settings: LoraSettings,
    scale: float | None,
    layers: list[str],
    misfit: CourseError | None,
) -> tuple[Tool, ...]:
    """The verdict on each program.

    Args:
        scale: None where alpha is not known.
        layers: of the U-Net's part.
        misfit: what `check_fit` said against the file, if anything.
    """
    if isinstance(misfit, MisfitError):
        foreign = "no", "its layers or shapes are those of another model"
        return tuple(Tool(name, *foreign) for name in ("kolors-course", *_READERS))
    case = _Case(opened, settings, scale, layers)
    verdicts = {"kolors-course": _course(opened, misfit)} | {name: _verdict(name, case) for name in _READERS}
    return tuple(Tool(name, *verdict) for name, verdict in verdicts.items())


def _verdict(program: str, case: _Case) -> tuple[str, str]:
    if case.opened.text_encoder:
        return "no", _TEXT_NOTES.get(program, "it knows no LoRA of ChatGLM")
    read = _READERS[program].get(case.settings.adapter)
    if read is None:
        return "no", f"it reads no {case.settings.kind.label}; merge it into a model"
    return read(case)


def _course(opened: OpenedLora, misfit: CourseError | None) -> tuple[str, str]:
    if misfit:
        return "no", "its tensors and its target modules disagree"
    if opened.alphas is None:
        return "set", "its alpha, with convert-lora --alpha"
    return "yes", ""


def _as_scale_one(case: _Case) -> tuple[str, str]:
    """The verdict on a program that finds no alpha and takes the scale for 1."""
    opened, scale = case.opened, case.scale
    if opened.folded_by:
        return "yes", f"(scale 1, as in files of {opened.folded_by})"
    if scale == 1:
        return "yes", "(it takes alpha for the rank, and so it is)"
    if opened.is_uneven:
        return "no", "it finds no alpha in the file, and each layer needs another strength; convert it"
    return "set", f"strength {_factor(case)}; it finds no alpha in the file"


def _factor(case: _Case) -> str:
    return f"alpha/{case.settings.rank}" if case.scale is None else f"{case.scale:g}"


def _diffusers_lora(case: _Case) -> tuple[str, str]:
    opened = case.opened
    if opened.layout.startswith("diffusers"):
        if opened.has_alpha_tensors:
            return "no", "it refuses .alpha beside its own names; convert to diffusers"
        if case.settings.use_dora and "use_dora" not in opened.adapter:
            return "no", "nothing in the file tells it that this is a DoRA; convert to diffusers"
        if "lora_alpha" not in opened.adapter:
            return _as_scale_one(case)
        return "yes", _since("metadata") if case.scale != 1 else ""
    endings = {name.ending for name in opened.names.values()}
    if opened.layout != "kohya" or not endings <= {".lora_down.weight", ".lora_up.weight"}:
        return "no", _STRANGE_NAMES
    if any(layer.startswith(_LOST_IN_DIFFUSERS) for layer in case.layers):
        return "no", "it cannot read kohya names of the embeddings; convert to diffusers"
    if opened.alphas is None or opened.folded_by:
        return _as_scale_one(case)
    return "yes", _since("kohya, outside the blocks") if any(map(_once_lost, case.layers)) else ""


def _diffusers_lokr(case: _Case) -> tuple[str, str]:
    if case.opened.layout != "diffusers" or "alpha" not in case.opened.adapter:
        return "no", _STRANGE_NAMES
    call = 'unet.load_lora_adapter(file, prefix="unet", use_safetensors=True)'
    return "set", f"load_lora_weights refuses it; {call} takes it {_since('LoKr')}"


def _once_lost(layer: str) -> bool:
    return layer.startswith(_ONCE_LOST)


def _since(what: str) -> str:
    version, before = DIFFUSERS_SINCE[what]
    return f"from {version}; before, {before}"


def _comfyui(case: _Case) -> tuple[str, str]:
    opened = case.opened
    applied = sum(comfyui_applies(name, layer) for layer, name in opened.names.items())
    if not applied:
        return "no", "it skips these names with a line in its log; convert to kohya"
    if case.settings.use_dora:
        return "no", "it leaves out the lengths of a DoRA; merge it into a model"
    if applied < len(opened.names):
        return "no", f"it applies {applied} of {len(opened.names)} layers, at scale 1; convert to kohya"
    return ("yes", "") if opened.has_alpha_tensors else _as_scale_one(case)


def comfyui_applies(name: TensorName, layer: str) -> bool:
    """Whether ComfyUI's loader finds a layer by this name.

    It knows kohya's names, LyCORIS' prefix, its own dotted ones, and those of diffusers' attention processors, which
    are the plain names for every layer but the attention's; of encoder_hid_proj only the first and the third.
    """
    if not _COMFYUI_ENDINGS.fullmatch(name.ending):
        return False
    if name.prefix == "lora_unet_":
        return True
    if name.style == "comfyui":
        return name.prefix == "diffusion_model."
    if layer == "encoder_hid_proj":
        return name.stem == "diffusion_model.encoder_hid_proj"
    if name.prefix == "lycoris_":
        return True
    spelled = layer.replace(".to_", ".processor.to_").removesuffix(
        ".0" if layer.endswith(".to_out.0") else ""
    )
    return name.prefix in ("", "unet.") and name.layer == spelled


def _diffsynth_lora(case: _Case) -> tuple[str, str]:
    opened = case.opened
    if opened.layout != "diffsynth":
        return "no", "convert to diffsynth"
    if any(tensor.ndim == 4 and tensor.shape[-1] > 1 for tensor in opened.state_dict.values()):
        return "no", "it cannot multiply 3x3 convolutions"
    if opened.is_uneven:
        return "no", "its layers differ in rank or alpha; convert to diffsynth"
    return "set", f"lora_alpha={_factor(case)}: there it is the whole scale"


def _camp_node_lora(case: _Case) -> tuple[str, str]:
    opened = case.opened
    if opened.layout != "diffsynth" or opened.path.suffix != ".ckpt" or opened.is_uneven:
        return "no", "convert to diffsynth"
    if {kind_of_layer(layer) for layer in case.layers} != set(ATTENTION_TARGETS):
        return "no", "it loads attention layers only"
    if case.scale is None:
        return "set", "lora_alpha to the alpha of training (its default is 2, the camp trained with 4)"
    alpha = case.settings.plain_alpha
    if alpha > _CAMP_NODE_LIMIT:
        return "no", f"its lora_alpha ends at {_CAMP_NODE_LIMIT:g}, but alpha is {alpha:g}"
    return "set", f"lora_alpha to {alpha:g}"


# Program -> kind of adapter -> the verdict on it; a kind that is not there the program does not read.
_READERS: dict[str, dict[str, Callable[[_Case], tuple[str, str]]]] = {
    "diffusers KolorsPipeline": {"lora": _diffusers_lora, "lokr": _diffusers_lokr},
    "ComfyUI LoraLoaderModelOnly": {"lora": _comfyui, "lokr": _comfyui, "loha": _comfyui},
    "DiffSynth-Studio 1.x load_lora": {"lora": _diffsynth_lora},
    "the camp's LoadKolorsLoRA node": {"lora": _camp_node_lora},
}
_TEXT_NOTES = {
    "diffusers KolorsPipeline": "it stops at the text encoder's part, with the U-Net's already attached"
}
