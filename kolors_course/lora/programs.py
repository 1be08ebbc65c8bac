"""Where a LoRA file works: which programs apply it at the strength it was trained at."""

from dataclasses import dataclass

from kolors_course.errors import CourseError
from kolors_course.lora.adapter import MisfitError
from kolors_course.lora.config import ATTENTION_TARGETS, LoraSettings
from kolors_course.lora.files import OpenedLora
from kolors_course.lora.kinds import KIND_NAMES
from kolors_course.lora.names import kind_of_layer

# Layers whose kohya names diffusers 0.42 cannot turn back (measured by the tests).
_LOST_IN_DIFFUSERS = ("add_embedding.", "encoder_hid_proj")
_PROGRAMS = (
    "kolors-course",
    "diffusers KolorsPipeline",
    "ComfyUI LoraLoaderModelOnly",
    "DiffSynth-Studio 1.x load_lora",
    "the camp's LoadKolorsLoRA node",
)
_CAMP_NODE_LIMIT = 4.0  # of the alpha widget of the camp's ComfyUI node
_STRANGE_NAMES = "it does not know these names; convert to diffusers"


@dataclass(frozen=True)
class Tool:
    """Whether a program applies the file at its trained strength: "yes", "set" (after `note`) or "no"."""

    name: str
    verdict: str
    note: str


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
        return tuple(Tool(name, *foreign) for name in _PROGRAMS)
    if settings.adapter != "lora":
        verdicts = _lycoris_verdicts(opened, settings)
    elif opened.text_encoder:
        verdicts = _text_verdicts()
    else:
        verdicts = (
            _diffusers(opened, settings, scale, layers),
            _comfyui(opened, settings, scale),
            _diffsynth(opened, settings, scale),
            _camp_node(opened, settings, scale, layers),
        )
    named = zip(_PROGRAMS, (_course(opened, misfit), *verdicts), strict=True)
    return tuple(Tool(name, *verdict) for name, verdict in named)


def _lycoris_verdicts(opened: OpenedLora, settings: LoraSettings) -> tuple[tuple[str, str], ...]:
    other = "no", f"it reads no {KIND_NAMES[settings.adapter]} of this kind; merge it into a model"
    stock = other
    if settings.adapter == "lokr" and opened.layout != "diffusers":
        stock = "no", _STRANGE_NAMES
    elif settings.adapter == "lokr":
        call = 'unet.load_lora_adapter(file, prefix="unet", use_safetensors=True)'
        stock = "set", f"load_lora_weights refuses it; {call} takes it"
    return stock, other, other, other


def _text_verdicts() -> tuple[tuple[str, str], ...]:
    stock = "no", "it stops at the text encoder's part, with the U-Net's already attached"
    other = "no", "it knows no LoRA of ChatGLM"
    return stock, other, other, other


def _course(opened: OpenedLora, misfit: CourseError | None) -> tuple[str, str]:
    if misfit:
        return "no", "its tensors and its target modules disagree"
    if opened.alpha is None:
        return "set", "its alpha, with convert-lora --alpha"
    return "yes", ""


def _as_scale_one(scale: float | None, rank: int) -> tuple[str, str]:
    """The verdict on a program that finds no alpha and takes the scale for 1."""
    if scale == 1:
        return "yes", "(it takes alpha for the rank, and so it is)"
    return (
        "set",
        f"strength {f'alpha/{rank}' if scale is None else f'{scale:g}'}; it finds no alpha in the file",
    )


def _diffusers(
    opened: OpenedLora, settings: LoraSettings, scale: float | None, layers: list[str]
) -> tuple[str, str]:
    if opened.layout.startswith("diffusers"):
        return ("yes", "") if "lora_alpha" in opened.adapter else _as_scale_one(scale, settings.rank)
    if opened.layout != "kohya":
        return "no", _STRANGE_NAMES
    if any(layer.startswith(_LOST_IN_DIFFUSERS) for layer in layers):
        return "no", "it cannot read kohya names of the embeddings; convert to diffusers"
    return ("yes", "") if opened.alpha is not None else _as_scale_one(scale, settings.rank)


def _comfyui(opened: OpenedLora, settings: LoraSettings, scale: float | None) -> tuple[str, str]:
    if opened.layout in ("kohya", "kohya-sgm"):
        return ("yes", "") if opened.alpha is not None else _as_scale_one(scale, settings.rank)
    if opened.layout == "diffusers-legacy":
        return _as_scale_one(scale, settings.rank)
    return "no", "it skips these names with a line in its log; convert to kohya"


def _diffsynth(opened: OpenedLora, settings: LoraSettings, scale: float | None) -> tuple[str, str]:
    if opened.layout != "diffsynth":
        return "no", "convert to diffsynth"
    if any(tensor.ndim == 4 and tensor.shape[-1] > 1 for tensor in opened.state_dict.values()):
        return "no", "it cannot multiply 3x3 convolutions"
    factor = f"alpha/{settings.rank}" if scale is None else f"{scale:g}"
    return "set", f"lora_alpha={factor}: there it is the whole scale"


def _camp_node(
    opened: OpenedLora, settings: LoraSettings, scale: float | None, layers: list[str]
) -> tuple[str, str]:
    if opened.layout != "diffsynth" or opened.path.suffix != ".ckpt":
        return "no", "convert to diffsynth"
    if {kind_of_layer(layer) for layer in layers} != set(ATTENTION_TARGETS):
        return "no", "it loads attention layers only"
    if scale is None:
        return "set", "lora_alpha to the alpha of training (its default is 2, the camp trained with 4)"
    alpha = settings.plain_alpha
    if alpha > _CAMP_NODE_LIMIT:
        return "no", f"its lora_alpha ends at {_CAMP_NODE_LIMIT:g}, but alpha is {alpha:g}"
    return "set", f"lora_alpha to {alpha:g}"
