"""Prompts that change while a picture is drawn: what is read at which step."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from diffusers.pipelines.kolors.text_encoder import ChatGLMModel
from diffusers.pipelines.kolors.tokenizer import ChatGLMTokenizer
from torch import Tensor

from kolors_course.diffusion import Denoise, NoiseSchedule
from kolors_course.kolors.calls import visited_timesteps
from kolors_course.kolors.prompts import PromptEmbeds, encode_prompts, join
from kolors_course.kolors.settings import Sampling
from kolors_course.prompting import read_stages


@dataclass(frozen=True)
class StagedPrompts:
    """An encoded batch of prompts, as it is from each of some shares of the steps on; the first share is 0."""

    shares: tuple[float, ...]
    stages: tuple[PromptEmbeds, ...]

    def __len__(self) -> int:
        return len(self.stages[0])

    def at(self, share: float) -> PromptEmbeds:
        """What is read at a share of the steps."""
        return self.stages[bisect_right(self.shares, share) - 1]

    def rows(self, index: Sequence[int]) -> "StagedPrompts":
        """The prompts at `index`, as a batch."""
        return StagedPrompts(self.shares, tuple(stage.rows(index) for stage in self.stages))


def encode_stages(
    tokenizer: ChatGLMTokenizer, text_encoder: ChatGLMModel, prompts: Sequence[str]
) -> StagedPrompts:
    """Prompts to what the U-Net reads of them on the way; each that has no switch is the same at every stage.

    Raises:
        CourseError: see `read_stages` and `encode_prompts`.
    """
    read = [read_stages(prompt) for prompt in prompts]
    shares = sorted({stage.share for stages in read for stage in stages})
    texts = ([[s.prompt for s in stages if s.share <= share][-1] for stages in read] for share in shares)
    return StagedPrompts(
        tuple(shares), tuple(encode_prompts(tokenizer, text_encoder, batch) for batch in texts)
    )


def join_stages(batches: Sequence[StagedPrompts]) -> StagedPrompts:
    """One batch out of several, which changes whenever one of them does."""
    shares = sorted({share for batch in batches for share in batch.shares})
    return StagedPrompts(
        tuple(shares), tuple(join([batch.at(share) for batch in batches]) for share in shares)
    )


def first_timesteps(shares: Sequence[float], sampling: Sampling, schedule: NoiseSchedule) -> list[float]:
    """The timestep of the first step at each share of the steps: step i of N stands at i/N.

    Infinity for a stage that begins with the drawing or before it, minus infinity for one without a step.
    """
    visited = visited_timesteps(sampling, schedule)
    # A share such as 0.3 is a little more or less than three tenths.
    first = [math.ceil(share * sampling.steps - 1e-9) for share in shares]
    return [math.inf if step <= sampling.first_step else visited.get(step, -math.inf) for step in first]


def switched(stages: Sequence[Denoise], starts: Sequence[float]) -> Denoise:
    """A `denoise` that is each of several from a timestep on.

    A solver that asks again at the end of a step asks at the timestep where the next begins, and is answered by that.

    Args:
        starts: of each, falling; the first is infinity.
    """
    if len(stages) == 1:
        return stages[0]

    def denoise(sample: Tensor, timestep: Tensor) -> Tensor:
        t = float(timestep)  # looking at it makes the host wait for a GPU
        # Timesteps are told in float32.
        now = max(i for i, start in enumerate(starts) if t <= start + 1e-3)
        return stages[now](sample, timestep)

    return denoise
