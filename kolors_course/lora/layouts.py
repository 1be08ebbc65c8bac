"""The ways in which LoRA files name their tensors, and the translation to and from ours.

Ours is what `lora_state_dict` gives: `<layer>.lora_A.weight` and `<layer>.lora_B.weight`, <layer> being the name
in diffusers. Translating renames tensors and does nothing else to them, so every conversion of a LoRA is exact to the
bit. A LoKr or LoHa gets its scale multiplied in where programs would not find it (see `encode`).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from kolors_course.errors import CourseError
from kolors_course.lora.adapter import MisfitError, first_few
from kolors_course.lora.joint import TEXT_PREFIX, TEXT_TARGETS
from kolors_course.lora.kind import Kind
from kolors_course.lora.kinds import DOWN, MAGNITUDE, UP, kind_of, split_tensor_name
from kolors_course.lora.names import layer_names
from kolors_course.lora.naming import TensorName, find_layer, parse_name, plain_layer, style_of

UNET_PREFIX = "unet."
# layout -> (what people call it, does it need the U-Net's layer names to be read?)
LAYOUTS = {
    "diffusers": ("diffusers, peft names", False),
    "diffusers-old": ("diffusers, lora.down and lora.up", False),
    "diffusers-legacy": ("older diffusers, attention processors", False),
    "peft": ("names of diffusers under another prefix, as peft writes them", False),
    "kohya": ("kohya, diffusers block names", True),
    "kohya-sgm": ("kohya, Stability (sgm) block names", True),
    "lycoris": ("LyCORIS, diffusers block names", True),
    "comfyui": ("ComfyUI, Stability (sgm) block names", True),
    "diffsynth": ("DiffSynth-Studio 1.x", True),
}
# What is found in a name -> what the file is; none of them is an adapter of the U-Net that can be kept.
_FOREIGN = {
    r"\.dora_scale$": "a DoRA of kohya or LyCORIS (dora_scale)",
    r"\.magnitude$": "a DoRA of ai-toolkit (magnitude)",
    r"lora_[AB](\.\w+)?\.bias$": "a LoRA with biases (lora_bias of peft)",
    r"(^|[._])b?oft_": "an OFT",
    r"\.diff(_b)?$|\.set_weight$": "a difference of whole weights",
    r"\.[wb]_norm$": "an adapter with norm layers (train_norm of LyCORIS)",
    r"\.[ab][12]\.weight$": "a GLoRA of LyCORIS",
    r"\.on_input$": "an (IA)³ of LyCORIS",
    r"\.scalar$": "a LyCORIS with a learned factor (use_scalar)",
    r"^lora_te\d?_|^lycoris_te": "a LoRA of a text encoder too",
    r"text_encoder": "a LoRA of another text encoder too",
    r"^bundle_emb\.|\.string_to_param": "a LoRA with new words (textual inversion) too",
}


@dataclass(frozen=True)
class KohyaForm:
    """How kohya's programs have a kind of adapter.

    Attributes:
        module: what trains it there, as metadata name it.
        keeps_alpha: whether all of them read the scale from `.alpha`. Of LyCORIS' kinds they read it differently
            (ComfyUI and LyCORIS ignore it where W₂ of a LoKr is whole): `.alpha` then is the rank, a scale of 1.
        parts: our name of a part -> theirs, where it is another.
    """

    module: str
    keeps_alpha: bool
    parts: Mapping[str, str] = field(default_factory=dict)


_KOHYA_FORMS = {
    "lora": KohyaForm("networks.lora", True, {DOWN: "lora_down.weight", UP: "lora_up.weight"}),
}


def kohya_form(kind: Kind) -> KohyaForm:
    """kohya's own of a kind, else that of LyCORIS."""
    return _KOHYA_FORMS.get(kind.name, KohyaForm("lycoris.kohya", False))


@dataclass(frozen=True)
class Decoded:
    """The tensors of a file under our names.

    Attributes:
        layout: a key of `LAYOUTS`.
        state: `<layer>.<part>` -> tensor.
        alphas: kohya's `.alpha`, by layer.
        names: of each layer, one of its tensors' names in the file.
    """

    layout: str
    state: dict[str, Tensor]
    alphas: dict[str, float]
    names: dict[str, TensorName] = field(repr=False)


def recognise(names: Iterable[str]) -> str:
    """The layout whose names these are: a key of `LAYOUTS`.

    kohya's two are told apart by `decode`, which knows the layers; here both are "kohya".

    Raises:
        CourseError: none; or tensors that are no LoRA of a U-Net (the message says what they are).
    """
    names = [name for name in names if not _is_text_part(name)]
    for mark, kind in _FOREIGN.items():
        if odd := next((name for name in names if re.search(mark, name)), None):
            raise CourseError(f"it is {kind} (first: {first_few([odd])}), which the course cannot load")
    parsed = [cut for name in names if (cut := parse_name(name))]
    if all(cut.part == "alpha" for cut in parsed):
        raise CourseError(f"it holds no LoRA tensors (it holds: {first_few(names) or 'nothing'})")
    return style_of(parsed)


def decode(tensors: Mapping[str, Tensor], layers: Iterable[str] | None) -> Decoded:
    """Tensors of any layout under our names.

    Args:
        layers: all layers of the U-Net (see `adaptable_layers`); only names of diffusers can be read without them.

    Raises:
        CourseError: see `recognise`; or tensors that do not belong to the layout, or `layers` is needed.
        MisfitError: layers that the U-Net does not have.
    """
    layout = recognise(tensors)
    cuts = {name: cut for name in tensors if (cut := parse_name(name))}
    if odd := [name for name in tensors if name not in cuts]:
        raise CourseError(
            f"{len(odd)} of {len(tensors)} tensors do not belong to a LoRA in the layout of {LAYOUTS[layout][0]} "
            f"(first: {first_few(odd)})"
        )
    found = _find_layers(layout, cuts.values(), layers)
    if layout == "kohya" and layers is not None:
        known = layer_names(layers).kohya
        if any(cut.layer not in known for cut in cuts.values()):
            layout = "kohya-sgm"
    state, alphas = {}, {}
    for name, cut in cuts.items():
        layer = found[cut.stem]
        if cut.part == "alpha":
            alphas[layer] = _number(name, tensors[name])
        else:
            state[f"{layer}.{cut.part}"] = tensors[name]
    if len(state) + len(alphas) < len(tensors):
        raise CourseError("it names some layers twice, in two ways; convert the LoRA again from its source")
    return Decoded(
        layout, state, alphas, {found[cut.stem]: cut for cut in cuts.values() if cut.part != "alpha"}
    )


def encode(
    layout: str, state: Mapping[str, Tensor], layers: Iterable[str], alpha: float, rank: int
) -> dict[str, Tensor]:
    """Our tensors under the names of one of the `WRITABLE` layouts, with kohya's `.alpha` beside each layer.

    What is not kept as alpha (see `KohyaForm`) is multiplied into a factor, in float32.

    Args:
        layers: all layers of the U-Net; not needed for "diffusers".
        alpha, rank: the scale is alpha/rank.

    Raises:
        CourseError: a DoRA in another layout than diffusers, or a LoKr or LoHa in that of DiffSynth.
        MisfitError: layers that the U-Net does not have.
    """
    if layout == "diffusers":
        return {UNET_PREFIX + name: tensor for name, tensor in state.items()}
    if any(name.endswith(MAGNITUDE) for name in state):
        raise CourseError(
            f"a DoRA cannot be written for {layout}, where programs disagree about it; merge it into a model"
        )
    kind = kind_of(state)
    if layout == "diffsynth" and not kind.is_pair:
        raise CourseError(
            f"a {kind.label} is no pair of factors as {layout} has them; convert it to kohya, or merge it into "
            "a model, which every program loads"
        )
    table = {ours: theirs for theirs, ours in getattr(layer_names(layers), layout).items()}
    _check_known({split_tensor_name(name)[0] for name in state}, table)
    tensors, form = {}, kohya_form(kind)
    for name, tensor in state.items():
        layer, part = split_tensor_name(name)
        if layout == "diffsynth":
            tensors[f"{table[layer]}.{part.removesuffix('.weight')}.default.weight"] = tensor
            continue
        stem = f"lora_unet_{table[layer]}"
        if part == kind.scaled and not form.keeps_alpha:
            tensor = _multiplied(tensor, alpha / rank)
        tensors[f"{stem}.{form.parts.get(part, part)}"] = tensor
        tensors[f"{stem}.alpha"] = _exact(alpha if form.keeps_alpha else float(rank))
    return tensors


def _is_text_part(name: str) -> bool:
    """Whether a tensor belongs to ChatGLM's part of a LoRA, as the course writes it."""
    return name.startswith(TEXT_PREFIX) and split_tensor_name(name)[0].endswith(TEXT_TARGETS)


def _find_layers(layout: str, cuts: Iterable[TensorName], layers: Iterable[str] | None) -> dict[str, str]:
    """Stem in the file -> the layer's name in diffusers."""
    stems = {cut.stem: cut for cut in cuts}
    if layers is None:
        if any(LAYOUTS[cut.style][1] for cut in stems.values()):
            raise CourseError(
                f"its names are those of {LAYOUTS[layout][0]}; to read it the U-Net's layers are needed "
                "(unet= in Python)"
            )
        return {stem: plain_layer(cut) for stem, cut in stems.items()}
    names = layer_names(layers)
    found: dict[str, str] = {}
    for stem, cut in stems.items():
        if layer := find_layer(cut, names):
            found[stem] = layer
        elif not LAYOUTS[cut.style][1]:  # of names of diffusers `check_fit` tells more
            found[stem] = plain_layer(cut)
    _check_known(set(stems), found)
    return found


def _check_known(layers: set[str], known: Iterable[str]) -> None:
    if strange := sorted(layers.difference(known)):
        raise MisfitError(
            f"{len(strange)} of {len(layers)} layers are not in this U-Net (first: {first_few(strange)}); choose "
            "the base model it belongs to"
        )


def _number(name: str, tensor: Tensor) -> float:
    if tensor.numel() != 1:
        raise CourseError(f"{first_few([name])} should be one number, but has shape {tuple(tensor.shape)}")
    return float(tensor)


def _multiplied(tensor: Tensor, scale: float) -> Tensor:
    return tensor if scale == 1 else tensor.float() * scale


def _exact(alpha: float) -> Tensor:
    """`alpha` as a tensor: in float32 like kohya's trainer, unless only float64 can hold it."""
    single = torch.tensor(alpha, dtype=torch.float32)
    return single if single.item() == alpha else torch.tensor(alpha, dtype=torch.float64)
