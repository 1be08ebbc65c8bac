"""Pictures of fixed prompts with fixed seeds, drawn while training; the prompts are encoded only once."""

from dataclasses import dataclass, replace

import torch
from diffusers.utils import make_image_grid
from PIL import Image

from kolors_course.kolors.latents import decode_latents
from kolors_course.kolors.model import KolorsModel
from kolors_course.kolors.prompts import LivePrompts, PromptEmbeds
from kolors_course.kolors.sampling import draw_latents
from kolors_course.kolors.settings import Sampling
from kolors_course.training.cache import Encoder
from kolors_course.training.sample_prompts import SamplePrompt


@dataclass(frozen=True)
class SampleSheet:
    """The sample prompts of a training run, encoded, and how their pictures are drawn.

    Attributes:
        samples: what is asked for.
        prompts, negatives: the same encoded, and their negative prompts, row by row.
    """

    samples: tuple[SamplePrompt, ...]
    prompts: PromptEmbeds | LivePrompts
    negatives: PromptEmbeds | LivePrompts
    sampling: Sampling

    @classmethod
    def encode(cls, encoder: Encoder, samples: tuple[SamplePrompt, ...], sampling: Sampling) -> "SampleSheet":
        """Encode the prompts, or leave that to each drawing if the encoder says so."""
        prompts = encoder.prompts([sample.prompt for sample in samples])
        return cls(samples, prompts, encoder.prompts([sample.negative for sample in samples]), sampling)

    @torch.no_grad()
    def draw(self, model: KolorsModel) -> Image.Image:
        """All pictures side by side. A VAE that waits on another device is fetched, and sent back."""
        home = model.vae.device
        model.vae.to(model.device)
        pictures: dict[int, Image.Image] = {}
        for rows in self._batches():
            first = self.samples[rows[0]]
            guidance = self.sampling.guidance_scale if first.guidance is None else first.guidance
            latents = draw_latents(
                model,
                self.prompts.rows(rows),
                self.negatives.rows(rows[:1]),
                [self._seed(row) for row in rows],
                replace(self.sampling, guidance_scale=guidance),
            )
            pictures |= zip(rows, decode_latents(model, latents.to(model.vae.dtype)), strict=True)
        model.vae.to(home)
        return make_image_grid([pictures[row] for row in range(len(pictures))], 1, len(pictures))

    def _seed(self, row: int) -> int:
        seed = self.samples[row].seed
        return row if seed is None else seed

    def _batches(self) -> list[list[int]]:
        """Rows that can be drawn together: of the same negative prompt and guidance, and not too many."""
        alike: dict[tuple, list[int]] = {}
        for row, sample in enumerate(self.samples):
            alike.setdefault((sample.negative, sample.guidance), []).append(row)
        size = self.sampling.batch_size
        return [rows[start : start + size] for rows in alike.values() for start in range(0, len(rows), size)]
