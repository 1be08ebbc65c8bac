"""Reading a LoRA file in every layout that people have.

Two halves, because a file may lack its alpha: `open_lora` finds out all that the file says, `settle_alpha` makes
of it a LoRA of one rank and one scale.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from kolors_course.errors import CourseError, brief
from kolors_course.lora.adapter import adaptable_layers
from kolors_course.lora.checks import check_tensors
from kolors_course.lora.config import LoraSettings, check_alpha
from kolors_course.lora.files import LoraFile
from kolors_course.lora.joint import split_parts
from kolors_course.lora.kind import Kind
from kolors_course.lora.kinds import kind_of, split_tensor_name
from kolors_course.lora.layouts import LAYOUTS, decode
from kolors_course.lora.metadata import (
    COURSE_METADATA_KEY,
    OWN_KEYS,
    check_features,
    read_adapter,
    read_json_entry,
    read_settings,
    scale_of,
    stored_alphas,
    stored_ranks,
)
from kolors_course.lora.naming import TensorName
from kolors_course.lora.origin import folding_exporter, lasting_entries, telling_origin
from kolors_course.lora.storage import about, read_tensors
from kolors_course.lora.uniform import expand_cores, layer_ranks, make_uniform

ADAPTER_CONFIG = "adapter_config.json"


@dataclass(frozen=True)
class OpenedLora:
    """A LoRA file as it is, before an alpha that it may lack is known.

    Attributes:
        path, layout, state_dict, text_encoder: as in `LoraFile`; ranks and scales may differ.
        foreign: what other programs wrote beside them.
        ranks: by layer; None where neither tensors nor metadata tell it.
        alphas: by layer; None where nothing tells them.
        has_alpha_tensors: whether kohya's `.alpha` lies beside each layer.
        folded_by: the program that wrote the file, if its files lack alpha because their scale is 1.
        adapter: the `peft.LoraConfig` beside the tensors, if any.
        course: what the course wrote beside them, if anything.
        names: of each layer, one of its tensors' names in the file.
    """

    path: Path
    layout: str
    state_dict: dict[str, Tensor] = field(repr=False)
    ranks: dict[str, int | None]
    alphas: dict[str, float] | None
    has_alpha_tensors: bool
    folded_by: str
    adapter: dict[str, Any]
    course: dict[str, Any]
    text_encoder: dict[str, Tensor] = field(repr=False)
    foreign: dict[str, str] = field(repr=False)
    names: dict[str, TensorName] = field(repr=False)

    @property
    def alpha(self) -> float | None:
        """The largest alpha; None where nothing tells it."""
        return None if self.alphas is None else max(self.alphas.values())

    @property
    def rank(self) -> int | None:
        """The largest rank that is told."""
        return max((rank for rank in self.ranks.values() if rank), default=None)

    @property
    def is_uneven(self) -> bool:
        """Whether its layers differ in rank or alpha."""
        return len(set(self.ranks.values())) > 1 or len(set((self.alphas or {}).values())) > 1


def read_lora(path: str | Path, *, alpha: float | None = None, unet: nn.Module | None = None) -> LoraFile:
    """Read and check a LoRA file in any of the `LAYOUTS`.

    Layers of different ranks and alphas are brought to one (see `lora.uniform`).

    Args:
        path: a safetensors file, or a pickle of torch (.ckpt, .bin, ...), of which only tensors are read.
        alpha: the alpha of training, only for a file that does not say it; the scale is then alpha/rank.
        unet: the U-Net it belongs to, which may be one without weights; only names of diffusers can be read without
            it.

    Raises:
        CourseError: the file is missing, cut short or of another kind; holds no LoRA, half a pair, or numbers that
            are not finite; does not say its alpha and none was given, or says another; or uses a feature that
            `LoraSettings` cannot express.
        MisfitError: its names are those of layers that `unet` does not have.
    """
    return settle_alpha(open_lora(path, unet), alpha)


def open_lora(path: str | Path, unet: nn.Module | None = None) -> OpenedLora:
    """The first half of `read_lora`: everything but the alpha."""
    path = Path(path)
    if not path.is_file():
        raise CourseError(f"there is no LoRA file {path}; check the path")
    tensors, metadata = read_tensors(path)
    with about(path):
        tensors, text = split_parts(tensors)
        with telling_origin(metadata):
            decoded = decode(tensors, None if unet is None else adaptable_layers(unet))
        adapter = _adapter_beside(path) or read_adapter(metadata)
        check_features(adapter)
        state = expand_cores(decoded.state)
        ranks = stored_ranks(adapter, layer_ranks(state))
        alphas = stored_alphas(adapter, decoded.alphas, ranks)
        foreign = {key: value for key, value in metadata.items() if key not in OWN_KEYS}
        folded_by = folding_exporter(metadata) if alphas is None else ""
        if folded_by and None not in ranks.values():
            alphas = {layer: float(rank) for layer, rank in ranks.items() if rank is not None}
        course = read_json_entry(metadata, COURSE_METADATA_KEY)
    return OpenedLora(
        path=path,
        layout=decoded.layout,
        state_dict=state,
        ranks=ranks,
        alphas=alphas,
        has_alpha_tensors=bool(decoded.alphas),
        folded_by=folded_by,
        adapter=adapter,
        course=course,
        text_encoder=text,
        foreign=foreign,
        names=decoded.names,
    )


def settle_alpha(opened: OpenedLora, alpha: float | None) -> LoraFile:
    """The second half of `read_lora`: the alpha of the file, or else the one given."""
    with about(opened.path):
        alphas = _alphas(opened, alpha)
        state, kind = opened.state_dict, kind_of(opened.state_dict)
        use_dora = bool(opened.adapter.get("use_dora", any("magnitude" in name for name in state)))
        check_tensors(state, kind, use_dora, opened.ranks)
        state, settings = _one_rank(opened, kind, alphas)
        if opened.text_encoder:
            layers = (split_tensor_name(name)[0] for name in opened.text_encoder)
            check_tensors(opened.text_encoder, kind, use_dora, dict.fromkeys(layers, settings.rank))
    return LoraFile(
        path=opened.path,
        state_dict=state,
        settings=settings,
        metadata=opened.course,
        layout=opened.layout,
        text_encoder=opened.text_encoder,
        foreign=lasting_entries(opened.foreign),
    )


def _adapter_beside(path: Path) -> dict[str, Any]:
    """What peft wrote beside its adapter_model.safetensors."""
    beside = path.with_name(ADAPTER_CONFIG)
    if path.stem != "adapter_model" or not beside.is_file():
        return {}
    try:
        text = beside.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CourseError(f"{ADAPTER_CONFIG} beside it cannot be read ({error}); copy it again") from error
    return read_json_entry({ADAPTER_CONFIG: text}, ADAPTER_CONFIG)


def _alphas(opened: OpenedLora, alpha: float | None) -> dict[str, float]:
    """The alpha of each layer."""
    if opened.alphas is None:
        if alpha is None:
            raise CourseError(_ask_for_alpha(opened))
        return dict.fromkeys(opened.ranks, check_alpha(alpha))
    if alpha is not None and set(opened.alphas.values()) != {alpha}:
        said = " and ".join(
            f"{one:g}" if one != int(one) else f"{one:.1f}" for one in sorted(set(opened.alphas.values()))[:3]
        )
        origin = (
            f"a file of {opened.folded_by} has alpha = rank"
            if opened.folded_by
            else f"the file says alpha {said}"
        )
        raise CourseError(f"{origin}, not {alpha}; leave alpha out, and use the strength to weaken it")
    return opened.alphas


def _ask_for_alpha(opened: OpenedLora) -> str:
    hint = ""
    if said := opened.foreign.get("ss_network_alpha"):
        hint = f"; its metadata speak of ss_network_alpha {brief(said, 20)}"
    if opened.layout != "diffsynth":
        rank = opened.rank or "its rank"
        hint += (
            f"; or {rank}, the rank, if the program that wrote it multiplied alpha into the tensors, as OneTrainer's "
            "diffusers format and ai-toolkit's peft format do"
        )
    return (
        "the file does not say its alpha, and a wrong one changes its strength in silence; give the one used in "
        "training: alpha= in Python, --alpha on the command line, alpha of the ComfyUI node (the camp's "
        f"command used 4){hint}"
    )


def _one_rank(
    opened: OpenedLora, kind: Kind, alphas: Mapping[str, float]
) -> tuple[dict[str, Tensor], LoraSettings]:
    """The tensors and settings of the LoRA, with one rank and one scale."""
    state, use_rslora = opened.state_dict, bool(opened.adapter.get("use_rslora", False))
    ranks = set(opened.ranks.values())
    rank = next(iter(ranks), None)
    if rank is not None and len(ranks) == 1 and len(set(alphas.values())) == 1:
        alpha = next(iter(alphas.values()))
        return state, read_settings(state, opened.adapter, opened.course, rank, alpha, use_rslora)
    if None in ranks and not LAYOUTS[opened.layout][1]:
        raise CourseError(
            "its tensors do not tell its rank, on which its strength depends; put the adapter_config.json that peft "
            "saved with it beside it, and call it adapter_model.safetensors"
        )
    # LyCORIS and ComfyUI: a LoKr of two whole matrices has scale 1, whatever its alpha.
    scales = {
        layer: 1.0 if rank is None else scale_of(rank, alphas[layer], use_rslora)
        for layer, rank in opened.ranks.items()
    }
    rank = opened.rank or max(max(tensor.shape[:2]) for tensor in state.values())
    uniform = make_uniform(state, kind, opened.ranks, scales, rank)
    settings = read_settings(uniform.state, {}, opened.course, rank, uniform.scale * rank, use_rslora=False)
    return uniform.state, settings
