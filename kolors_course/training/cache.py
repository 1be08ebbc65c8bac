"""What does not change during LoRA training is computed once: latents and encoded captions."""

from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from kolors_course.dataset import Dataset, check_divisible, open_picture, prepare_image
from kolors_course.kolors.model import KolorsModel
from kolors_course.kolors.prompts import PromptEmbeds, encode_prompts, join


@dataclass(frozen=True)
class TrainingCache:
    """A data set ready for the U-Net.

    Attributes:
        latents: (V, N, 4, h, w) scaled posterior means; V = 2 when a mirrored version is kept, else 1.
        add_time_ids: (V, N, 6) true micro-conditions of each version.
        prompts: N + 1 encoded prompts: the captions, and the empty prompt for caption dropout.
    """

    latents: Tensor
    add_time_ids: Tensor
    prompts: PromptEmbeds

    def __len__(self) -> int:
        return self.latents.shape[1]

    def batch(
        self, rows: Tensor, generator: torch.Generator, caption_dropout: float
    ) -> tuple[Tensor, PromptEmbeds, Tensor]:
        """Latents, prompts and time ids of `rows`; mirrored versions and empty captions are drawn at random."""
        version = torch.randint(len(self.latents), rows.shape, generator=generator)
        dropped = torch.rand(len(rows), generator=generator) < caption_dropout
        prompts = self.prompts.rows(torch.where(dropped, len(self), rows))
        return self.latents[version, rows], prompts, self.add_time_ids[version, rows]


@torch.no_grad()
def build_cache(
    model: KolorsModel,
    dataset: Dataset,
    size: tuple[int, int],
    center_crop: bool,
    random_flip: bool,
    generator: torch.Generator,
    batch_size: int = 8,
) -> TrainingCache:
    """Encode every picture (and its mirror image) and every caption.

    A random crop is drawn once for each picture and then kept, since the cache holds latents, not pixels.

    Args:
        size: (width, height) in pixels.

    Raises:
        CourseError: the size is not divisible by what the model needs, or a picture cannot be read.
    """
    width, height = size
    check_divisible(width, height, model.size_multiple)
    latents, ids = [], []
    for mirrored in (False, True)[: 2 if random_flip else 1]:
        version_latents, version_ids = [], []
        for start in range(0, len(dataset), batch_size):
            pixels = []
            for sample in dataset.samples[start : start + batch_size]:
                picture = open_picture(sample.path)
                if mirrored:
                    picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
                values, conditions = prepare_image(picture, width, height, center_crop, False, generator)
                pixels.append(values)
                version_ids.append(conditions.time_ids())
            stack = torch.stack(pixels).to(model.device, model.vae.dtype)
            mean = model.vae.encode(stack).latent_dist.mean
            version_latents.append((mean * model.vae.config.scaling_factor).float())
        latents.append(torch.cat(version_latents))
        ids.append(torch.stack(version_ids).to(model.device))
    captions = [*(sample.text for sample in dataset.samples), ""]
    prompts = [
        encode_prompts(model.tokenizer, model.text_encoder, captions[i : i + batch_size])
        for i in range(0, len(captions), batch_size)
    ]
    return TrainingCache(torch.stack(latents), torch.stack(ids), join(prompts))
