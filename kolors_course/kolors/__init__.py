"""Kolors itself: loading it (mini or full), reading prompts, drawing pictures."""

from kolors_course.kolors.generate import (
    Sampling,
    draw_latents,
    generate,
    initial_latents,
    prompt_denoiser,
    sample_latents,
    time_ids,
)
from kolors_course.kolors.latents import (
    decode_latents,
    encode_pictures,
    preview_picture,
    vae_decode,
    vae_encode,
)
from kolors_course.kolors.model import KolorsModel, ModelPaths, diffusers_layout, load_model, three_paths
from kolors_course.kolors.profiles import Profile, current_profile, load_profile
from kolors_course.kolors.prompts import PromptEmbeds, encode_prompts, encode_prompts_padded

__all__ = [
    "KolorsModel",
    "ModelPaths",
    "Profile",
    "PromptEmbeds",
    "Sampling",
    "current_profile",
    "decode_latents",
    "diffusers_layout",
    "draw_latents",
    "encode_pictures",
    "encode_prompts",
    "encode_prompts_padded",
    "generate",
    "initial_latents",
    "load_model",
    "load_profile",
    "preview_picture",
    "prompt_denoiser",
    "sample_latents",
    "three_paths",
    "time_ids",
    "vae_decode",
    "vae_encode",
]
