"""What is in a LoRA file, and in which programs it loads at the strength it was trained at."""

import math
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from kolors_course.errors import CourseError
from kolors_course.lora.adapter import MisfitError
from kolors_course.lora.files import LoraFile
from kolors_course.lora.kind import Kind
from kolors_course.lora.kinds import split_tensor_name
from kolors_course.lora.layouts import LAYOUTS
from kolors_course.lora.loading import check_fit
from kolors_course.lora.names import block_of, kind_of_layer
from kolors_course.lora.origin import is_foreign
from kolors_course.lora.programs import Tool, judge_programs
from kolors_course.lora.reading import OpenedLora, open_lora, settle_alpha
from kolors_course.lora.storage import about
from kolors_course.lora.wishes import wish_in, wish_text


@dataclass(frozen=True)
class Block:
    """A part of the U-Net: its adapted layers, and the Frobenius norm of all their changes together."""

    name: str
    layers: int
    norm: float


@dataclass(frozen=True)
class LoraReport:
    """What `inspect_lora` found.

    Attributes:
        path, layout, rank, base_model: of the file; `layout` is a key of `LAYOUTS`.
        alpha, scale: None where the file does not say its alpha and none was given.
        alpha_in_file: whether the file says it.
        kind: the label of its settings, such as "LoRA" or "DoRA".
        dtypes: number formats of the tensors.
        parameters: how many numbers are trained.
        targets: kind of layer -> how many.
        blocks: in the order of the U-Net; norms are those of B A alone where the scale is not known, and of a DoRA,
            whose ΔW depends on the base weights too.
        fits: whether its layers and shapes are those of the U-Net; None where no U-Net was given.
        tools: where it loads.
        made_for: the family of models it says it was made for, such as "SDXL"; "" where it does not say.
        notes: what else has to be known of it.
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
    fits: bool | None
    tools: tuple[Tool, ...]
    made_for: str = ""
    notes: tuple[str, ...] = ()

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
        lines += [f"{'note':<8}{note}" for note in self.notes]
        unit = "‖B A‖" if self.scale is None or self.kind == "DoRA" else "‖ΔW‖"
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
    known = opened.alphas is not None or alpha is not None
    # Any alpha makes the checks of `settle_alpha` run; 1 is not shown.
    lora = settle_alpha(opened, alpha if known else 1.0)
    settings, state = lora.settings, lora.state_dict
    layers, text_layers = _layers_of(state), _layers_of(lora.text_encoder)
    scale = settings.scale if known else None
    misfit = None if unet is None else _misfit(unet, lora)
    return LoraReport(
        path=lora.path,
        layout=lora.layout,
        kind=settings.label,
        rank=settings.rank,
        alpha=settings.alpha if known else None,
        alpha_in_file=opened.alphas is not None and not opened.folded_by,
        scale=scale,
        dtypes=tuple(sorted({str(tensor.dtype).removeprefix("torch.") for tensor in state.values()})),
        parameters=sum(t.numel() for t in (*state.values(), *lora.text_encoder.values())),
        base_model=lora.base_model,
        targets=_targets([*layers, *text_layers]),
        blocks=_blocks(lora, 1.0 if scale is None or settings.use_dora else scale),
        fits=None if unet is None else not isinstance(misfit, MisfitError),
        tools=judge_programs(opened, settings, scale, layers, misfit),
        made_for=lora.made_for,
        notes=_notes(opened, lora),
    )


def _notes(opened: OpenedLora, lora: LoraFile) -> tuple[str, ...]:
    notes = []
    if is_foreign(lora.made_for):
        notes.append(f"made for {lora.made_for}, it says: no LoRA of Kolors, even where its layers fit")
    if opened.folded_by:
        notes.append(f"{opened.folded_by} writes no alpha: the scale is 1, so alpha is the rank")
    if opened.is_uneven:
        ranks = sorted({rank for rank in opened.ranks.values() if rank})
        notes.append(
            f"its layers differ (ranks {', '.join(map(str, ranks[:4]))}{', …' if len(ranks) > 4 else ''}): read as "
            "one rank, filled up with zeros, and one scale, the rest of which is in the tensors"
        )
    with about(opened.path):
        if wish := wish_in(opened.course):
            notes.append(f"drawn with {wish_text(wish)}, unless somebody asks for something else")
    return tuple(notes)


def _misfit(unet: nn.Module, lora: LoraFile) -> CourseError | None:
    """What is said against loading the file, if anything."""
    try:
        check_fit(unet, lora)
    except CourseError as error:
        return error
    return None


def _layers_of(state: dict[str, Tensor]) -> list[str]:
    return list(dict.fromkeys(split_tensor_name(name)[0] for name in state))


def _blocks(lora: LoraFile, scale: float) -> tuple[Block, ...]:
    kind, state, text = lora.settings.kind, lora.state_dict, lora.text_encoder
    norms = _squared_norms(state, kind)
    counts = Counter(block_of(layer) for layer in norms)
    blocks = tuple(
        Block(block, count, _norm(norms, block, scale)) for block, count in sorted(counts.items(), key=_order)
    )
    if not text:
        return blocks
    text_norms = _squared_norms(text, kind).values()
    return (*blocks, Block("text_encoder", len(text_norms), scale * math.sqrt(sum(text_norms))))


def _squared_norms(state: dict[str, Tensor], kind: Kind) -> dict[str, float]:
    return {layer: kind.squared_norm(kind.of_layer(state, layer)) for layer in _layers_of(state)}


def _targets(layers: list[str]) -> dict[str, int]:
    counts = Counter(kind_of_layer(layer) for layer in layers)
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
