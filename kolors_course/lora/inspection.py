"""What is in a LoRA file, and in which programs it loads at the strength it was trained at."""

import math
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from kolors_course.lora.config import ATTENTION_TARGETS, LoraSettings
from kolors_course.lora.files import OpenedLora, open_lora, settle_alpha
from kolors_course.lora.kinds import KIND_NAMES, split_tensor_name, weight_change
from kolors_course.lora.layouts import LAYOUTS
from kolors_course.lora.names import block_of
from kolors_course.lora.svd import squared_norm

# Layers whose kohya names diffusers 0.42 cannot turn back (measured by the tests).
_LOST_IN_DIFFUSERS = ("add_embedding.", "encoder_hid_proj")
_CAMP_NODE_LIMIT = 4.0  # of the alpha widget of the camp's ComfyUI node


@dataclass(frozen=True)
class Block:
    """A part of the U-Net: its adapted layers, and ‖ΔW‖, the Frobenius norm of all their changes together."""

    name: str
    layers: int
    norm: float


@dataclass(frozen=True)
class Tool:
    """Whether a program applies the file at its trained strength: "yes", "set" (after `note`) or "no"."""

    name: str
    verdict: str
    note: str


@dataclass(frozen=True)
class LoraReport:
    """What `inspect_lora` found.

    Attributes:
        path, layout, rank, base_model: of the file; `layout` is a key of `LAYOUTS`.
        alpha, scale: None where the file does not say its alpha and none was given.
        alpha_in_file: whether the file says it.
        kind: "LoRA", "rsLoRA", "DoRA", "LoKr" or "LoHa".
        dtypes: number formats of the tensors.
        parameters: how many numbers are trained.
        targets: kind of layer -> how many.
        blocks: in the order of the U-Net; norms at scale 1 where the scale is not known.
        tools: where it loads.
    """

    path: Path
    layout: str
    kind: str
    rank: int
    alpha: float | None
    alpha_in_file: bool
    scale: float | None
    dtypes: tuple[str, ...]
    parameters: int
    base_model: str
    targets: dict[str, int]
    blocks: tuple[Block, ...]
    tools: tuple[Tool, ...]

    def lines(self) -> list[str]:
        """The report as text."""
        layers = sum(self.targets.values())
        origin = "" if self.alpha_in_file else " (not in the file)"
        rows = {
            "file": f"{self.path}: {LAYOUTS[self.layout][0]}, {', '.join(self.dtypes)}",
            "kind": f"{self.kind} of {self.parameters:,} numbers for {self.base_model}",
            "rank": str(self.rank),
            "alpha": ("unknown" if self.alpha is None else f"{self.alpha:g}") + origin,
            "scale": f"alpha/{self.rank}" if self.scale is None else f"{self.scale:g}",
            "layers": f"{layers}: " + ", ".join(f"{name} {count}" for name, count in self.targets.items()),
        }
        lines = [f"{name:<8}{text}" for name, text in rows.items()]
        unit = "‖ΔW‖" if self.scale is not None else "‖B A‖"
        lines += ["", f"{'block':<34}{'layers':>6}{unit:>10}"]
        lines += [f"{block.name:<34}{block.layers:>6}{block.norm:>10.4g}" for block in self.blocks]
        lines += ["", "trained strength in"]
        return lines + [f"  {tool.name:<32}{tool.verdict:<5}{tool.note}" for tool in self.tools]

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON can hold it."""
        return asdict(self) | {"path": str(self.path)}


def inspect_lora(
    path: str | Path, *, alpha: float | None = None, unet: nn.Module | None = None
) -> LoraReport:
    """Look into a LoRA file; unlike `read_lora` this needs no alpha.

    Args:
        alpha, unet: see `read_lora`.

    Raises:
        CourseError: see `read_lora`.
    """
    opened = open_lora(path, unet)
    known = opened.alpha is not None or alpha is not None
    # Any alpha makes the checks of `settle_alpha` run; 1 is not shown.
    lora = settle_alpha(opened, alpha if known else 1.0)
    settings, state = lora.settings, lora.state_dict
    layers = list(dict.fromkeys(split_tensor_name(name)[0] for name in state))
    norms = {layer: _squared_norm(state, layer, settings.adapter) for layer in layers}
    text_layers = list(dict.fromkeys(split_tensor_name(name)[0] for name in lora.text_encoder))
    text_norm = sum(_squared_norm(lora.text_encoder, layer, settings.adapter) for layer in text_layers)
    scale = settings.scale if known else None
    counts = Counter(block_of(layer) for layer in layers)
    blocks = tuple(
        Block(block, count, _norm(norms, block, scale or 1.0))
        for block, count in sorted(counts.items(), key=_order)
    )
    if text_layers:
        blocks += (Block("text_encoder", len(text_layers), (scale or 1.0) * math.sqrt(text_norm)),)
    return LoraReport(
        path=lora.path,
        layout=lora.layout,
        kind=_kind_name(settings),
        rank=settings.rank,
        alpha=settings.alpha if known else None,
        alpha_in_file=opened.alpha is not None,
        scale=scale,
        dtypes=tuple(sorted({str(tensor.dtype).removeprefix("torch.") for tensor in state.values()})),
        parameters=sum(t.numel() for t in (*state.values(), *lora.text_encoder.values())),
        base_model=lora.base_model,
        targets=_targets([*layers, *text_layers]),
        blocks=blocks,
        tools=_tools(opened, settings, scale, layers),
    )


def _kind_name(settings: LoraSettings) -> str:
    if settings.use_dora or settings.use_rslora:
        return "DoRA" if settings.use_dora else "rsLoRA"
    return KIND_NAMES[settings.adapter]


def _squared_norm(state: dict[str, Tensor], layer: str, kind: str) -> float:
    if kind == "lora":  # without multiplying out the product
        return squared_norm(state[f"{layer}.lora_A.weight"], state[f"{layer}.lora_B.weight"])
    return weight_change(state, layer, kind).double().square().sum().item()


def _targets(layers: list[str]) -> dict[str, int]:
    counts = Counter(_kind_of(layer) for layer in layers)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _norm(norms: dict[str, float], block: str, scale: float) -> float:
    return scale * math.sqrt(sum(norm for layer, norm in norms.items() if block_of(layer) == block))


def _order(item: tuple[str, int]) -> tuple[int, str]:
    """Way down, middle, way up, with what lies outside the blocks around them."""
    sides = (
        "conv_in",
        "time_embedding",
        "add_embedding",
        "encoder_hid_proj",
        "down_blocks",
        "mid_block",
        "up_blocks",
    )
    side = item[0].split(".")[0]
    return (sides.index(side) if side in sides else len(sides), item[0])


def _kind_of(layer: str) -> str:
    """The last word of a layer's name, with the numbers that follow it: `to_out.0`, `ff.net.2`."""
    words = layer.split(".")
    if "ff" in words:
        return ".".join(words[words.index("ff") :])
    return ".".join(words[-2:]) if words[-1].isdecimal() else words[-1]


def _tools(
    opened: OpenedLora, settings: LoraSettings, scale: float | None, layers: list[str]
) -> tuple[Tool, ...]:
    if settings.adapter != "lora":
        return _lycoris_tools(opened, settings)
    if opened.text_encoder:
        return _text_tools(opened)
    return (
        _course(opened),
        Tool("diffusers KolorsPipeline", *_diffusers(opened, settings, scale, layers)),
        Tool("ComfyUI LoraLoaderModelOnly", *_comfyui(opened, settings, scale)),
        Tool("DiffSynth-Studio 1.x load_lora", *_diffsynth(opened, settings, scale)),
        Tool("the camp's LoadKolorsLoRA node", *_camp_node(opened, settings, scale, layers)),
    )


def _lycoris_tools(opened: OpenedLora, settings: LoraSettings) -> tuple[Tool, ...]:
    kind = KIND_NAMES[settings.adapter]
    other = "no", f"it reads no {kind} of this kind; merge it into a model"
    stock = other
    if settings.adapter == "lokr":
        call = 'unet.load_lora_adapter(file, prefix="unet", use_safetensors=True)'
        stock = "set", f"load_lora_weights refuses it; {call} takes it"
    return (
        _course(opened),
        Tool("diffusers KolorsPipeline", *stock),
        Tool("ComfyUI LoraLoaderModelOnly", *other),
        Tool("DiffSynth-Studio 1.x load_lora", *other),
        Tool("the camp's LoadKolorsLoRA node", *other),
    )


def _text_tools(opened: OpenedLora) -> tuple[Tool, ...]:
    stock = "no", "it stops at the text encoder's part, with the U-Net's already attached"
    other = "no", "it knows no LoRA of ChatGLM"
    return (
        _course(opened),
        Tool("diffusers KolorsPipeline", *stock),
        Tool("ComfyUI LoraLoaderModelOnly", *other),
        Tool("DiffSynth-Studio 1.x load_lora", *other),
        Tool("the camp's LoadKolorsLoRA node", *other),
    )


def _course(opened: OpenedLora) -> Tool:
    if opened.alpha is None:
        return Tool("kolors-course", "set", "its alpha, with convert-lora --alpha")
    return Tool("kolors-course", "yes", "")


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
        return "no", "it does not know these names; convert to diffusers"
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
    if {_kind_of(layer) for layer in layers} != set(ATTENTION_TARGETS):
        return "no", "it loads attention layers only"
    if scale is None:
        return "set", "lora_alpha to the alpha of training (its default is 2, the camp trained with 4)"
    alpha = scale * settings.rank
    if alpha > _CAMP_NODE_LIMIT:
        return "no", f"its lora_alpha ends at {_CAMP_NODE_LIMIT:g}, but alpha is {alpha:g}"
    return "set", f"lora_alpha to {alpha:g}"
