"""The shape of a LoRA: rank, alpha, and the layers it is attached to."""

import math
from dataclasses import dataclass
from typing import Any, TypeGuard

from kolors_course.errors import CourseError, brief
from kolors_course.lora.choices import ATTENTION_TARGETS, INITIALISATIONS
from kolors_course.lora.kind import Kind
from kolors_course.lora.kinds import KINDS
from kolors_course.lora.maths import lora_scale

MAX_RANK = 2**16  # no layer of Kolors is as wide; more is a slip of the pen or a damaged file
_PEFT_INITS = {"gaussian": "gaussian", "kaiming": True}


@dataclass(frozen=True)
class LoraSettings:
    """What has to be known, besides the tensors, to use a LoRA at the strength it was trained at.

    Attributes:
        rank: r, the inner size of the two factors A (r x in) and B (out x r).
        alpha: the numerator of the scale.
        target_modules: names of the layers to adapt: whole names, or endings that begin after a dot.
        use_rslora: scale alpha/sqrt(r) instead of alpha/r (rsLoRA, arXiv 2312.03732).
        use_dora: learn the length of each weight row apart from its direction (DoRA, arXiv 2402.09353).
        init: how A starts; B always starts at zero. "gaussian" has a standard deviation of 1/r, "kaiming"
            is the uniform distribution that `torch.nn.Linear` uses. LoKr and LoHa start as peft has it.
        adapter: the kind, a key of `KINDS` (see `lora.kinds`).

    Raises:
        CourseError: a value is out of range, or rsLoRA or DoRA is asked of another kind of adapter.
    """

    rank: int = 16
    alpha: float = 16.0
    target_modules: tuple[str, ...] = ATTENTION_TARGETS
    use_rslora: bool = False
    use_dora: bool = False
    init: str = "gaussian"
    adapter: str = "lora"

    def __post_init__(self) -> None:
        check_rank(self.rank)
        check_alpha(self.alpha)
        if self.init not in INITIALISATIONS:
            raise CourseError(
                f"LoRA init must be one of {', '.join(INITIALISATIONS)}, not {brief(self.init)}"
            )
        if self.adapter not in KINDS:
            raise CourseError(f"adapter must be one of {', '.join(KINDS)}, not {brief(self.adapter)}")
        asked = {option for option in ("use_rslora", "use_dora") if getattr(self, option)}
        if not asked <= self.kind.peft_names.keys():
            raise CourseError(f"rsLoRA and DoRA change a LoRA; a {self.kind.label} has neither")
        _check_targets(self.target_modules)
        # A list is accepted, but a frozen value must not change when the caller's list does.
        object.__setattr__(self, "target_modules", tuple(self.target_modules))
        object.__setattr__(self, "alpha", float(self.alpha))

    @property
    def kind(self) -> Kind:
        """What `adapter` names."""
        return KINDS[self.adapter]

    @property
    def label(self) -> str:
        """What people call it: "DoRA", "rsLoRA", or the label of its kind."""
        if self.use_dora or self.use_rslora:
            return "DoRA" if self.use_dora else "rsLoRA"
        return self.kind.label

    @property
    def scale(self) -> float:
        """The factor in front of B @ A: alpha/r, or alpha/sqrt(r) for rsLoRA."""
        return lora_scale(self.rank, self.alpha, self.use_rslora)

    @property
    def plain_alpha(self) -> float:
        """The alpha of the same scale without rsLoRA, for files that cannot say rsLoRA.

        Without it this is alpha itself, and not scale · rank, which rounding makes another number.
        """
        return self.scale * self.rank if self.use_rslora else self.alpha

    def peft_fields(self) -> dict[str, Any]:
        """The same in the words of peft's configuration (`Kind.peft`), as JSON can hold it."""
        ours = vars(self) | {"init": _PEFT_INITS[self.init]}
        named = {theirs: ours[name] for name, theirs in self.kind.peft_names.items()}
        return {"r": self.rank, "target_modules": list(self.target_modules)} | named


def parse_target_modules(text: str) -> tuple[str, ...]:
    """Read the value of `--lora_target_modules`, a comma-separated list such as "to_q,to_k,to_v,to_out".

    The camp's command says `to_out` because that is a linear layer in the U-Net of DiffSynth-Studio. In a
    diffusers U-Net `to_out` is a `ModuleList` of a linear layer and a dropout, which cannot be adapted, so
    `to_out` becomes `to_out.0`, the same linear layer.

    Raises:
        CourseError: the list, or a name in it, is empty.
    """
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise CourseError(f"target modules {text!r}: a name is empty; write them as to_q,to_k,to_v,to_out")
    names = [f"{name}.0" if name.split(".")[-1] == "to_out" else name for name in names]
    return tuple(dict.fromkeys(names))


def check_rank(rank: object) -> int:
    """Return `rank`.

    Raises:
        CourseError: it is not a whole number from 1 to `MAX_RANK`.
    """
    if not isinstance(rank, int) or isinstance(rank, bool) or not 1 <= rank <= MAX_RANK:
        raise CourseError(
            f"LoRA rank must be a whole number of at least 1 and at most {MAX_RANK}, not {brief(rank)}"
        )
    return rank


def check_alpha(alpha: object) -> float:
    """Return `alpha` as a float.

    Raises:
        CourseError: it is not a finite number above 0.
    """
    if not _is_number(alpha) or alpha <= 0:
        raise CourseError(f"LoRA alpha must be a finite number above 0, not {brief(alpha)}")
    return float(alpha)


def check_strength(strength: float) -> float:
    """Return `strength` as a float; 1 is the trained strength, 0 none, and negative values push away.

    Raises:
        CourseError: it is not a finite number.
    """
    if not _is_number(strength):
        raise CourseError(f"LoRA strength must be a finite number such as 0.8, not {brief(strength)}")
    return float(strength)


def _is_number(value: object) -> TypeGuard[float]:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:  # a whole number beyond every float
        return False


def _check_targets(target_modules: object) -> None:
    names = target_modules if isinstance(target_modules, (tuple, list)) else ()
    if not names or not all(isinstance(name, str) and name for name in names):
        raise CourseError(
            f"target_modules must be names such as {', '.join(ATTENTION_TARGETS)}, not {brief(target_modules)}"
        )
