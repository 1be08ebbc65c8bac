"""Kolors-mini as a folder that stock diffusers loads."""

import json
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

from diffusers import KolorsPipeline

from kolors_course.kolors import KolorsModel, write_sampling
from kolors_course.mini.networks import kolors_scheduler


def save_mini(model: KolorsModel, folder: Path) -> None:
    """Write the diffusers directory: U-Net and VAE in half precision, and how the model is sampled.

    The text encoder stays in single precision: transformers loads it in the type it finds, and stock
    `KolorsPipeline.from_pretrained(folder)` would otherwise mix half and single precision.
    """
    parts = replace(
        model, unet=deepcopy(model.unet).half(), vae=deepcopy(model.vae).half()
    )  # half() works in place
    KolorsPipeline(
        vae=parts.vae,
        text_encoder=parts.text_encoder,
        tokenizer=parts.tokenizer,
        unet=parts.unet,
        scheduler=kolors_scheduler(),
        force_zeros_for_empty_prompt=False,
    ).save_pretrained(folder)
    write_sampling(folder, model.sampling)
    for path in folder.glob("*/config.json"):  # where a part was loaded from is nobody else's path
        config = json.loads(path.read_text(encoding="utf-8"))
        if config.pop("_name_or_path", None) is not None:
            path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
