"""How programs spell the names of a LoRA's tensors: PREFIX, the layer, ENDING. Two tables and what follows from them.

A new spelling is one entry of `_ENDINGS` or `_PREFIX`; a new way to name the layers is a table of `lora.names`.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from kolors_course.lora.kinds import DOWN, MAGNITUDE, UP, known_parts
from kolors_course.lora.names import LayerNames

# Dotted words may follow each other in any order: unet.unet., model.diffusion_model., unet.base_model.model., ...
_PREFIX = re.compile(
    r"lora_unet_|lycoris_|lora_transformer_|(?:(?:base_model\.model|model|unet|diffusion_model|transformer)\.)*"
)
# Our name of a part -> how programs end the names of its tensors; other parts end as we call them.
_ENDINGS = {
    DOWN: r"\.lora_A(?:\.(?!bias)\w+)?(?:\.weight)?|\.lora_down(?:\.weight)?"
    r"|[._]lora\.down\.weight|\.lora_linear_layer\.down\.weight",
    UP: r"\.lora_B(?:\.(?!bias)\w+)?(?:\.weight)?|\.lora_up(?:\.weight)?"
    r"|[._]lora\.up\.weight|\.lora_linear_layer\.up\.weight",
    "lora_mid.weight": r"\.lora_mid\.weight",
    MAGNITUDE: r"\.lora_magnitude_vector(?:\.\w+)?(?:\.weight)?",
    "alpha": r"(?:[._]lora)?\.alpha",
}
_SGM = re.compile(r"(?:input_blocks|middle_block|output_blocks|time_embed|label_emb|out)\.")
_DIFFSYNTH = re.compile(r"blocks\.\d+\.")
_DIFFUSERS_ENDING = re.compile(r"\.(?:lora_[AB](?:\.weight)?|lora_magnitude_vector(?:\.weight)?|alpha)")
# The first of a file's styles is its layout; what comes first is what fewer programs read.
STYLES = (
    "kohya",
    "lycoris",
    "diffsynth",
    "comfyui",
    "diffusers-legacy",
    "diffusers-old",
    "peft",
    "diffusers",
)


@dataclass(frozen=True)
class TensorName:
    """A tensor's name, cut.

    Attributes:
        prefix, layer, ending: as the file has them; together they are the name.
        part: what the tensor is, in our words: a name of `lora.kinds`, or "alpha".
    """

    prefix: str
    layer: str
    ending: str
    part: str

    @property
    def stem(self) -> str:
        """The layer with what stands before it."""
        return self.prefix + self.layer

    @property
    def joined(self) -> bool:
        """Whether the layer's name has `_` for every dot."""
        return self.prefix.endswith("_")

    @property
    def style(self) -> str:
        """Which of `STYLES` this is."""
        if self.joined:
            return "lycoris" if self.prefix == "lycoris_" else "kohya"
        if _DIFFSYNTH.match(self.layer):
            return "diffsynth"
        if _SGM.match(self.layer):
            return "comfyui"
        if self.prefix != "unet.":
            return "peft"
        if ".processor." in self.layer:
            return "diffusers-legacy"
        if self.ending.startswith(".lora."):
            return "diffusers-old"
        plain = self.part not in _ENDINGS and self.ending == f".{self.part}"
        return "diffusers" if plain or _DIFFUSERS_ENDING.fullmatch(self.ending) else "peft"


def parse_name(name: str) -> TensorName | None:
    """Cut the name of a tensor; None for names of no adapter."""
    for part, pattern in _ends(known_parts()).items():
        if match := pattern.search(name):
            stem = name[: match.start()]
            layer = _PREFIX.sub("", stem, count=1)
            prefix = stem.removesuffix(layer)
            return TensorName(prefix, layer, match[0], part) if layer else None
    return None


@cache
def _ends(parts: tuple[str, ...]) -> dict[str, re.Pattern[str]]:
    plain = {part: rf"\.{re.escape(part)}(?:\.\w+)?" for part in parts if part not in _ENDINGS}
    return {part: re.compile(f"(?:{pattern})$") for part, pattern in (_ENDINGS | plain).items()}


def plain_layer(name: TensorName) -> str:
    """The layer in today's diffusers; older ones had attention processors, and no 0 after to_out."""
    layer = name.layer.replace(".processor.", ".")
    return f"{layer}.0" if layer.endswith(".to_out") else layer


def find_layer(name: TensorName, names: LayerNames) -> str | None:
    """The layer's name in diffusers, if it is one of a U-Net's."""
    if name.joined:
        return names.kohya.get(name.layer) or names.sgm.get(name.layer)
    for table in (names.diffsynth, names.stability, names.own):
        if name.layer in table:
            return table[name.layer]
    return names.own.get(plain_layer(name))


def style_of(names: Iterable[TensorName]) -> str:
    """Which of `STYLES` a file with these names is, by the first of those that occur."""
    found = {name.style for name in names}
    return next(style for style in STYLES if style in found)
