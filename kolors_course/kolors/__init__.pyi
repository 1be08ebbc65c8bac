from .latents import (
    decode_latents,
    encode_pictures,
    preview_picture,
    vae_decode,
    vae_encode,
)
from .model import KolorsModel, ModelPaths, diffusers_layout, load_model, three_paths
from .profiles import Profile, current_profile, load_profile
from .prompts import PromptEmbeds, encode_prompts, encode_prompts_padded
from .regions import Region, read_region
from .roundtrip import RoundTrip, load_round_trip
from .sampling import (
    draw_latents,
    generate,
    initial_latents,
    prompt_denoiser,
    sample_latents,
)
from .settings import PUBLISHED, Sampling, read_sampling, write_sampling
from .stages import StagedPrompts, encode_stages
from .unet import conditioning_of, time_ids, unet_noise

__all__ = [
    "PUBLISHED",
    "KolorsModel",
    "ModelPaths",
    "Profile",
    "PromptEmbeds",
    "Region",
    "RoundTrip",
    "Sampling",
    "StagedPrompts",
    "conditioning_of",
    "current_profile",
    "decode_latents",
    "diffusers_layout",
    "draw_latents",
    "encode_pictures",
    "encode_prompts",
    "encode_prompts_padded",
    "encode_stages",
    "generate",
    "initial_latents",
    "load_model",
    "load_profile",
    "load_round_trip",
    "preview_picture",
    "prompt_denoiser",
    "read_region",
    "read_sampling",
    "sample_latents",
    "three_paths",
    "time_ids",
    "unet_noise",
    "vae_decode",
    "vae_encode",
    "write_sampling",
]
