"""The ways in which LoRA files name their tensors, and the translation to and from ours.

Ours is what `lora_state_dict` gives: `<layer>.lora_A.weight` and `<layer>.lora_B.weight`, <layer> being the name
in diffusers. Translating renames tensors and does nothing else to them, so every conversion is exact to the bit.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from kolors_course.errors import CourseError
from kolors_course.lora.adapter import MisfitError, first_few
from kolors_course.lora.joint import TEXT_PREFIX, TEXT_TARGETS
from kolors_course.lora.kinds import KIND_NAMES, kind_of, split_tensor_name
from kolors_course.lora.names import LayerNames, layer_names

UNET_PREFIX = "unet."
# layout -> (what people call it, does it need the U-Net's layer names to be read?)
LAYOUTS = {
    "diffusers": ("diffusers, peft names", False),
    "diffusers-old": ("diffusers, lora.down and lora.up", False),
    "diffusers-legacy": ("older diffusers, attention processors", False),
    "peft": ("peft without a prefix, or adapter_model of peft", False),
    "kohya": ("kohya, diffusers block names", True),
    "kohya-sgm": ("kohya, Stability (sgm) block names", True),
    "diffsynth": ("DiffSynth-Studio 1.x", True),
}
_FACTOR = r"(?P<part>lora_A|lora_B|lora_magnitude_vector|lokr_w1|lokr_w2(_[ab])?|hada_w[12]_[ab])"
_PATTERNS = {
    "diffusers": rf"unet\.(?P<layer>.+)\.{_FACTOR}(\.weight)?",
    "diffusers-old": r"unet\.(?P<layer>.+)\.lora\.(?P<part>down|up)\.weight",
    "peft": rf"(base_model\.model\.)?(?P<layer>.+)\.{_FACTOR}(\.default)?(\.weight)?",
    "kohya": r"lora_unet_(?P<layer>\w+)\.(?P<part>lora_down|lora_up|alpha)(\.weight)?",
    "diffsynth": r"(?P<layer>.+)\.(?P<part>lora_A|lora_B)(\.default)?\.weight",
}
_PATTERNS |= {"diffusers-legacy": _PATTERNS["diffusers-old"], "kohya-sgm": _PATTERNS["kohya"]}
# `attn1.processor.to_out_lora.up` is `attn1.to_out.0.lora.up` in later files.
_LEGACY = re.compile(r"\.processor\.(to_\w+)_lora\.")
_PARTS = {
    "lora_A": "lora_A.weight",
    "lora_B": "lora_B.weight",
    "down": "lora_A.weight",
    "up": "lora_B.weight",
    "lora_down": "lora_A.weight",
    "lora_up": "lora_B.weight",
}
# Found anywhere in a name -> what the file is; none of them is a pair A, B on the U-Net.
_FOREIGN = {
    "lycoris_": "a file of LyCORIS",
    "hada_": "a LoHa of LyCORIS",
    "lokr_": "a LoKr of LyCORIS",
    "oft_": "an OFT",
    "lora_mid": "a LoRA with a Tucker core (LyCORIS)",
    "dora_scale": "a DoRA of kohya or LyCORIS",
    "lora_te": "a LoRA of a text encoder too",
    "text_encoder": "a LoRA of another text encoder too",
}


@dataclass(frozen=True)
class Decoded:
    """The tensors of a file under our names, the layout they came in, and the alphas among them by layer."""

    layout: str
    state: dict[str, Tensor]
    alphas: dict[str, float]


def recognise(names: Iterable[str]) -> str:
    """The layout whose names these are: a key of `LAYOUTS`.

    kohya's two are told apart by `decode`, which knows the layers; here both are "kohya".

    Raises:
        CourseError: none; or tensors that are no LoRA of a U-Net (the message says what they are).
    """
    names = list(names)
    foreign = [name for name in names if not _is_lycoris(name) and not _is_text_part(name)]
    for mark, kind in _FOREIGN.items():
        if odd := [name for name in foreign if mark in name]:
            raise CourseError(f"it is {kind} (first: {odd[0]}), which the course cannot load")
    marks: tuple[tuple[str, Callable[[str], bool]], ...] = (
        ("kohya", lambda name: name.startswith("lora_unet_")),
        ("diffsynth", lambda name: re.match(r"blocks\.\d+\..+lora_[AB]", name) is not None),
        ("diffusers-legacy", lambda name: _LEGACY.search(name) is not None),
        ("diffusers-old", lambda name: re.search(r"\.lora\.(down|up)\.weight$", name) is not None),
        ("diffusers", lambda name: name.startswith(UNET_PREFIX) and ("lora" in name or _is_lycoris(name))),
        ("peft", lambda name: ".lora_A." in name or _is_lycoris(name)),
    )
    for layout, is_marked in marks:
        if any(map(is_marked, names)):
            return layout
    raise CourseError(f"it holds no LoRA tensors (it holds: {first_few(names) or 'nothing'})")


def decode(tensors: Mapping[str, Tensor], layers: Iterable[str] | None) -> Decoded:
    """Tensors of any layout under our names.

    Args:
        layers: all layers of the U-Net (see `adaptable_layers`); only kohya's and DiffSynth's names cannot be
            read without them.

    Raises:
        CourseError: see `recognise`; or tensors that do not belong to the layout, or `layers` is needed.
        MisfitError: layers that the U-Net does not have.
    """
    layout = recognise(tensors)
    split = _split(layout, tensors)
    if LAYOUTS[layout][1]:
        if layers is None:
            raise CourseError(
                f"its names are those of {LAYOUTS[layout][0]}; to read it the U-Net's layers are needed "
                "(unet= in Python)"
            )
        layout, table = _table(layout, layer_names(layers), {layer for layer, _ in split.values()})
        split = {name: (table[layer], part) for name, (layer, part) in split.items()}
    state = {
        f"{layer}.{_PARTS.get(part, part)}": tensors[n]
        for n, (layer, part) in split.items()
        if part != "alpha"
    }
    alphas = {layer: _number(n, tensors[n]) for n, (layer, part) in split.items() if part == "alpha"}
    if len(state) + len(alphas) < len(tensors):
        raise CourseError("it names some layers twice, in two ways; convert the LoRA again from its source")
    return Decoded(layout, state, alphas)


def encode(
    layout: str, state: Mapping[str, Tensor], layers: Iterable[str], alpha: float
) -> dict[str, Tensor]:
    """Our tensors under the names of one of the `WRITABLE` layouts, with kohya's `.alpha` beside each pair.

    Args:
        layers: all layers of the U-Net; not needed for "diffusers".
        alpha: what `.alpha` says; the scale is alpha/rank.

    Raises:
        CourseError: a DoRA, LoKr or LoHa, in another layout than diffusers.
        MisfitError: layers that the U-Net does not have.
    """
    if layout == "diffusers":
        return {UNET_PREFIX + name: tensor for name, tensor in state.items()}
    if any(name.endswith("lora_magnitude_vector") for name in state):
        raise CourseError(
            f"a DoRA cannot be written for {layout}, where programs disagree about it; merge it into a model"
        )
    if (kind := kind_of(state)) != "lora":
        raise CourseError(
            f"a {KIND_NAMES[kind]} is no pair of factors as {layout} has them; merge it into a model, which every "
            "program loads"
        )
    table = {ours: theirs for theirs, ours in getattr(layer_names(layers), layout).items()}
    _check_known({split_tensor_name(name)[0] for name in state}, table)
    tensors = {}
    for name, tensor in state.items():
        layer, factor = name.removesuffix(".weight").rsplit(".", 1)
        if layout == "diffsynth":
            tensors[f"{table[layer]}.{factor}.default.weight"] = tensor
            continue
        part = {"lora_A": "lora_down", "lora_B": "lora_up"}[factor]
        tensors[f"lora_unet_{table[layer]}.{part}.weight"] = tensor
        if factor == "lora_A":
            tensors[f"lora_unet_{table[layer]}.alpha"] = _exact(alpha)
    return tensors


def _is_lycoris(name: str) -> bool:
    """Whether a tensor belongs to a LoKr or LoHa as peft and the course write them.

    LyCORIS itself gives layers one word with `_` for every dot, which begins with lycoris_ or lora_.
    """
    return re.search(r"\.(lokr_w|hada_w)", name) is not None and not name.startswith(("lycoris_", "lora_"))


def _is_text_part(name: str) -> bool:
    """Whether a tensor belongs to ChatGLM's part of a LoRA, as the course writes it."""
    return name.startswith(TEXT_PREFIX) and split_tensor_name(name)[0].endswith(TEXT_TARGETS)


def _split(layout: str, names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """File name of each tensor -> (layer in the file's own naming, part)."""
    split, odd = {}, []
    for name in names:
        plain = _LEGACY.sub(r".\1.lora.", name).replace(".to_out.lora.", ".to_out.0.lora.")
        if match := re.fullmatch(_PATTERNS[layout], plain if layout.startswith("diffusers-") else name):
            split[name] = (match["layer"], match["part"])
        else:
            odd.append(name)
    if odd:
        raise CourseError(
            f"{len(odd)} of {len(split) + len(odd)} tensors do not belong to a LoRA in the layout of "
            f"{LAYOUTS[layout][0]} (first: {first_few(odd)})"
        )
    return split


def _table(layout: str, names: LayerNames, layers: set[str]) -> tuple[str, dict[str, str]]:
    """The layout proper and its table, in which every layer of the file must be found."""
    table = names.diffsynth if layout == "diffsynth" else names.sgm | names.kohya
    _check_known(layers, table)
    if layout == "kohya" and not layers <= names.kohya.keys():
        layout = "kohya-sgm"
    return layout, table


def _check_known(layers: set[str], table: Mapping[str, str]) -> None:
    if strange := sorted(layers - table.keys()):
        raise MisfitError(
            f"{len(strange)} of {len(layers)} layers are not in this U-Net (first: {first_few(strange)}); choose "
            "the base model it belongs to"
        )


def _number(name: str, tensor: Tensor) -> float:
    if tensor.numel() != 1:
        raise CourseError(f"{name} should be one number, but has shape {tuple(tensor.shape)}")
    return float(tensor)


def _exact(alpha: float) -> Tensor:
    """`alpha` as a tensor: in float32 like kohya's trainer, unless only float64 can hold it."""
    single = torch.tensor(alpha, dtype=torch.float32)
    return single if single.item() == alpha else torch.tensor(alpha, dtype=torch.float64)
