"""What a model's VAE makes of a picture: what is lost there, no LoRA can learn to draw."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image

from kolors_course.kolors.layouts import diffusers_layout
from kolors_course.kolors.parts import PartLoader


@dataclass(frozen=True)
class RoundTrip:
    """A model's VAE, and the model's name."""

    vae: AutoencoderKL
    name: str

    @torch.no_grad()
    def psnr(self, pictures: Sequence[Image.Image]) -> list[float]:
        """How like each picture is to itself after the VAE and back: peak signal to noise, in dB.

        Args:
            pictures: in RGB, of one size, which the VAE's factor divides; all go through at once.
        """
        arrays = np.stack([np.asarray(picture, dtype=np.float32) for picture in pictures])
        pixels = (torch.from_numpy(arrays) / 127.5 - 1).permute(0, 3, 1, 2).contiguous().to(self.vae.device)
        again = self.vae.decode(self.vae.encode(pixels).latent_dist.mean).sample.clamp(-1, 1)
        error = ((again - pixels) / 2).square().mean((1, 2, 3))
        return (-10 * error.clamp(min=1e-10).log10()).tolist()


def load_round_trip(folder: str | Path, device: str | torch.device = "cpu") -> RoundTrip:
    """Load the VAE alone of a model in diffusers layout, in float32, in which Kolors' own does not overflow.

    Raises:
        CourseError: it is missing or damaged.
    """
    paths = diffusers_layout(folder)
    vae = PartLoader(paths, torch.device(device), torch.float32).load("vae")
    return RoundTrip(vae, paths.name)
