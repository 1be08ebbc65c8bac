"""Pictures of fixed prompts with fixed seeds, drawn while training; the prompts are encoded only once."""

from dataclasses import dataclass

import torch
from PIL import Image

from kolors_course.kolors.latents import decode_latents
from kolors_course.kolors.model import KolorsModel
from kolors_course.kolors.prompts import LivePrompts, PromptEmbeds
from kolors_course.kolors.sampling import Sampling, check_size, draw_latents
from kolors_course.training.cache import Encoder


@dataclass(frozen=True)
class SampleSheet:
    """Prompts, the empty prompt, and how to draw; picture i starts from seed i."""

    prompts: PromptEmbeds | LivePrompts
    empty: PromptEmbeds | LivePrompts
    sampling: Sampling

    @classmethod
    def encode(cls, encoder: Encoder, prompts: tuple[str, ...], sampling: Sampling) -> "SampleSheet":
        """Encode `prompts`, or leave that to each drawing if the encoder says so."""
        return cls(encoder.texts(prompts), encoder.texts([""]), sampling)

    @torch.no_grad()
    def draw(self, model: KolorsModel) -> Image.Image:
        """All pictures side by side. A VAE that waits on another device is fetched, and sent back."""
        width, height = check_size(model, self.sampling)
        home = model.vae.device
        model.vae.to(model.device)
        sheet = Image.new("RGB", (width * len(self.prompts), height))
        for start in range(0, len(self.prompts), self.sampling.batch_size):
            prompts = self.prompts.rows(slice(start, start + self.sampling.batch_size))
            seeds = range(start, start + len(prompts))
            latents = draw_latents(model, prompts, self.empty, seeds, self.sampling)
            for i, picture in enumerate(decode_latents(model, latents.to(model.vae.dtype)), start):
                sheet.paste(picture, (i * width, 0))
        model.vae.to(home)
        return sheet
