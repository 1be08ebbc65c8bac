"""How well a VAE draws what it is shown."""

import torch
from diffusers import AutoencoderKL
from PIL import Image

from kolors_course.mini.pictures import to_model


def psnr(vae: AutoencoderKL, pictures: torch.Tensor) -> float:
    """Mean peak signal-to-noise ratio in dB of reconstructions (posterior mean) of uint8 pictures."""
    errors = []
    with torch.no_grad():
        for batch in pictures.split(50):
            pixels = to_model(batch.to(vae.device))
            decoded = vae.decode(vae.encode(pixels).latent_dist.mean).sample.clamp(-1, 1)
            errors.append(((decoded - pixels) / 2).square().mean((1, 2, 3)))
    return float((-10 * torch.log10(torch.cat(errors))).mean())


def reconstruction_sheet(vae: AutoencoderKL, pictures: torch.Tensor) -> Image.Image:
    """Originals above their reconstructions, one column each."""
    with torch.no_grad():
        decoded = vae.decode(vae.encode(to_model(pictures.to(vae.device))).latent_dist.mean).sample
    decoded = ((decoded.clamp(-1, 1) + 1) * 127.5).round().byte().cpu()
    rows = torch.cat([torch.cat(list(row), dim=2) for row in (pictures.cpu(), decoded)], dim=1)
    return Image.fromarray(rows.permute(1, 2, 0).numpy())
