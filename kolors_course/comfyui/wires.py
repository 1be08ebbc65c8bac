"""What travels between the nodes: models and prompts of our own, pictures and latents as ComfyUI has them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from kolors_course.errors import CourseError
from kolors_course.kolors import KolorsModel
from kolors_course.kolors.stages import StagedPrompts, encode_stages
from kolors_course.kolors.words import unknown_note
from kolors_course.lora import LoadReport, load_lora, share_weights, with_wishes
from kolors_course.lora.triggers import trigger_words


@dataclass(frozen=True)
class StyledModel:
    """A model as it is with its LoRAs, and as it was loaded.

    Attributes:
        model: with the LoRAs.
        base: without them; the weights of both are the same memory.
        loras: file and strength of each.
    """

    model: KolorsModel
    base: KolorsModel
    loras: tuple[tuple[Path, float], ...] = ()

    def with_lora(
        self, path: Path, strength: float, alpha: float | None = None
    ) -> tuple["StyledModel", LoadReport]:
        """This model with one LoRA more, sampled as that wants; this one itself, which ComfyUI keeps, stays as it is.

        Raises:
            CourseError: see `load_lora` and `with_wishes`.
        """
        unet, text_encoder = share_weights(self.model.unet), share_weights(self.model.text_encoder)
        report = load_lora(unet, path, strength, alpha=alpha, text_encoder=text_encoder)
        sampling = with_wishes(self.model.sampling, [path])
        model = replace(self.model, unet=unet, text_encoder=text_encoder, sampling=sampling)
        return replace(self, model=model, loras=(*self.loras, (path, strength))), report

    def unknown_words(self, prompts: Iterable[str]) -> str:
        """One line about the words that neither Kolors-mini nor a LoRA here knows, or ""; see `unknown_note`."""
        known = [word for path, _ in self.loras for word in trigger_words(path)]
        return unknown_note(self.model, prompts, known)


@dataclass(frozen=True)
class PromptPair:
    """What to draw and what to keep away from, one row each."""

    prompt: StagedPrompts
    negative: StagedPrompts

    def rows_for(self, model: KolorsModel, count: int) -> StagedPrompts:
        """The prompt `count` times, for a model that understands it.

        Raises:
            CourseError: another kind of model read it.
        """
        width, needed = self.prompt.at(0).prompt_embeds.shape[-1], model.unet.config.encoder_hid_dim
        if width != needed:
            raise CourseError(
                f"the prompt was read by another model ({width} numbers a token, this one needs {needed}): connect "
                "Kolors Prompt to the Load Kolors node that the sampler's model comes from"
            )
        return self.prompt.rows([0] * count)


@torch.no_grad()
def encode_pair(model: KolorsModel, prompt: str, negative_prompt: str) -> PromptPair:
    """Both prompts, encoded one by one as `generate` does."""
    pair = (encode_stages(model.tokenizer, model.text_encoder, [text]) for text in (prompt, negative_prompt))
    return PromptPair(*pair)


def pictures_to_image(pictures: Sequence[Image.Image]) -> Tensor:
    """ComfyUI's IMAGE: (B, H, W, 3), float32 in [0, 1]. Its Save Image makes the same bytes of it again."""
    return torch.from_numpy(np.stack([np.asarray(picture.convert("RGB")) for picture in pictures])) / 255


def image_to_pictures(image: Tensor) -> list[Image.Image]:
    """The reverse of `pictures_to_image`; the alpha channel that some nodes add is dropped."""
    pixels = (image[..., :3].clamp(0, 1) * 255).round().byte().cpu().numpy()
    return [Image.fromarray(array) for array in pixels]


def to_latent(latents: Tensor) -> dict[str, Tensor]:
    """ComfyUI's LATENT: latents in the VAE's own scale, float32 on the CPU; what its VAE nodes take."""
    return {"samples": latents.float().cpu()}


def from_latent(model: KolorsModel, latent: dict[str, Any]) -> Tensor:
    """The samples of a LATENT in the VAE's own scale, where the model is and in its type.

    Raises:
        CourseError: they are of another kind of model or of a size that the U-Net cannot halve, or have a mask.
    """
    samples, channels = latent["samples"], model.latent_channels
    if samples.ndim != 4 or samples.shape[1] != channels:
        raise CourseError(
            f"the latent has shape {tuple(samples.shape)}, but Kolors needs (pictures, {channels}, height, width): "
            "it comes from another kind of model; make it with Kolors Encode Image"
        )
    if "noise_mask" in latent:
        raise CourseError("the latent has a mask, but Kolors Sampler draws whole pictures; remove the mask")
    multiple = model.size_multiple // model.vae_scale_factor
    if any(side % multiple for side in samples.shape[2:]):
        height, width = (side * model.vae_scale_factor for side in samples.shape[2:])
        raise CourseError(
            f"the latent is of a picture {width}x{height}: both sides must be multiples of {model.size_multiple}"
        )
    return samples.to(model.device, model.unet.dtype)
