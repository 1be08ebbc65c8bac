"""How pictures are drawn, and the small file in which a model says how it wants to be drawn.

`sampling.json` lies beside `model_index.json` in a model's folder:

    {"steps": 30, "guidance_scale": 4.5, "sampler": "unipc", "spacing": "trailing", "made_by": {…}}

What it was made by is for people and may be left out. A LoRA may say the same, all or some of it, in its metadata
(`lora/wishes.py`).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kolors_course.diffusion.choices import SAMPLERS, SPACINGS, STOCHASTIC_SAMPLERS
from kolors_course.diffusion.samplers import has_spacing
from kolors_course.errors import CourseError, brief
from kolors_course.files import atomic_path, json_text, read_text
from kolors_course.ranges import GUIDANCE, STEPS
from kolors_course.untrusted import parse_json

SAMPLING_FILE = "sampling.json"
MADE_BY = "made_by"
# What a model or a LoRA may say; all else belongs to what is being drawn.
NUMBERS = {"steps": STEPS, "guidance_scale": GUIDANCE}
NAMES = {"sampler": (*SAMPLERS, *STOCHASTIC_SAMPLERS), "spacing": SPACINGS}
SAID = (*NUMBERS, *NAMES)
_LARGEST = 2**16  # bytes


@dataclass(frozen=True)
class Sampling:
    """How pictures are drawn: sampler, steps, guidance, size and how many at a time.

    Without arguments it is how full Kolors is published: Kwai's README and sample scripts, and after them diffusers'
    `KolorsPipeline`, draw with Euler, 50 steps and guidance 5, and its scheduler_config.json says "leading". What a
    loaded model wants is `KolorsModel.sampling`; `replace(model.sampling, steps=4)` changes one number of that.

    Attributes:
        sampler: a name of `SAMPLERS` or `STOCHASTIC_SAMPLERS`.
        spacing: which timesteps are visited, see `NoiseSchedule.timesteps`.
        size: (width, height) in pixels; None means the model's own size.
        denoise: how much of a given picture is drawn anew; 1 is everything. `strength` of diffusers' pipelines.
        batch_size: pictures at a time; it does not change them.

    `guidance_rescale` and `guidance_interval` are the `rescale` and `interval` of `kolors_course.diffusion.guided`.

    Raises:
        CourseError: a number is out of range.
    """

    steps: int = 50
    guidance_scale: float = 5.0
    sampler: str = "euler"
    spacing: str = "leading"
    size: tuple[int, int] | None = None
    negative_prompt: str = ""
    denoise: float = 1.0
    batch_size: int = 8
    guidance_rescale: float = 0.0
    guidance_interval: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size"):
            if getattr(self, name) < 1:
                raise CourseError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not math.isfinite(self.guidance_scale):
            raise CourseError(f"guidance_scale must be a finite number, not {self.guidance_scale}")
        if not 0 <= self.denoise <= 1 or self.first_step == self.steps:
            raise CourseError(
                f"denoise {self.denoise:g} of {self.steps} steps: give a number from {1 / self.steps:.2g}, which is "
                "one step, to 1, which is all"
            )

    @property
    def first_step(self) -> int:
        """How many of the steps image-to-image leaves out, counted as `KolorsImg2ImgPipeline` does."""
        return self.steps - int(self.steps * self.denoise)

    @property
    def said(self) -> dict[str, Any]:
        """Of these settings what a model or a LoRA may say."""
        return {name: getattr(self, name) for name in SAID}

    def but(self, **changes: Any) -> "Sampling":
        """These settings with some of them changed.

        A sampler with timesteps of its own cannot take over another's spacing, and then has the "leading" that stands
        for none; `dataclasses.replace` leaves that to the caller.

        Raises:
            CourseError: a number is out of range, or there is no such sampler.
        """
        if "sampler" in changes and "spacing" not in changes and not has_spacing(changes["sampler"]):
            changes["spacing"] = "leading"
        return replace(self, **changes)


PUBLISHED = Sampling()


def check_said(value: Any, where: str) -> dict[str, Any]:
    """What a model or a LoRA says of its sampling, as it came out of JSON, without what it was made by.

    Args:
        where: what says it, at the start of messages.

    Raises:
        CourseError: it is no object, or names something else, a number out of range, a sampler or spacing that there
            is not, or two that do not go together.
    """
    if not isinstance(value, dict):
        raise CourseError(f"{where} is no JSON object; it names some of {', '.join(SAID)}")
    said = {name: entry for name, entry in value.items() if name != MADE_BY}
    for name, entry in said.items():
        if name in NUMBERS:
            NUMBERS[name].check(f"{where}: {name}", entry)
        elif name not in NAMES:
            raise CourseError(f"{where}: there is no {brief(name, 24)}; it names some of {', '.join(SAID)}")
        elif entry not in NAMES[name]:
            raise CourseError(f"{where}: {name} {brief(entry, 24)} is not one of {', '.join(NAMES[name])}")
    if said.get("spacing", "leading") != "leading" and not has_spacing(said.get("sampler", "euler")):
        raise CourseError(f"{where}: {said['sampler']} has timesteps of its own; let spacing be leading")
    return {name: float(entry) if name == "guidance_scale" else entry for name, entry in said.items()}


def read_sampling(path: Path | None) -> Sampling:
    """What a model's `sampling.json` says; the published settings where there is none.

    Raises:
        CourseError: it cannot be read, is no JSON, or does not say exactly what it should.
    """
    if path is None or not path.exists():
        return PUBLISHED
    said = check_said(parse_json(read_text(path, _LARGEST, "that of the model"), str(path)), str(path))
    if missing := [name for name in SAID if name not in said]:
        raise CourseError(f"{path} does not say {', '.join(missing)}; write all of {', '.join(SAID)}")
    return Sampling(**said)


def write_sampling(folder: str | Path, sampling: Sampling, made_by: Mapping[str, Any] | None = None) -> Path:
    """Write `sampling.json` into a model's folder.

    Args:
        made_by: how the numbers were found.

    Raises:
        CourseError: the file cannot be written.
    """
    path = Path(folder) / SAMPLING_FILE
    with atomic_path(path) as temporary:
        temporary.write_text(json_text(said_by(sampling, made_by), indent=2) + "\n", encoding="utf-8")
    return path


def said_by(sampling: Sampling, made_by: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What stands in `sampling.json`, or in a LoRA's metadata, for these settings."""
    return sampling.said | ({MADE_BY: dict(made_by)} if made_by else {})
