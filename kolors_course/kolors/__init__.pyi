from .control import Control, Residuals, load_controlnet, new_controlnet, save_controlnet
from .denoiser import Steering, prompt_denoiser
from .inpainting import Hole, cut_hole
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
from .roundtrip import RoundTrip, load_round_trip
from .sampling import (
    draw_latents,
    generate,
    initial_latents,
    sample_latents,
)
from .settings import PUBLISHED, Sampling, read_sampling, write_sampling
from .stages import StagedPrompts, encode_stages
from .unet import conditioning_of, time_ids, unet_noise

__all__ = [
    "PUBLISHED",
    "Control",
    "Hole",
    "KolorsModel",
    "ModelPaths",
    "Profile",
    "PromptEmbeds",
    "Residuals",
    "RoundTrip",
    "Sampling",
    "StagedPrompts",
    "Steering",
    "conditioning_of",
    "current_profile",
    "cut_hole",
    "decode_latents",
    "diffusers_layout",
    "draw_latents",
    "encode_pictures",
    "encode_prompts",
    "encode_prompts_padded",
    "encode_stages",
    "generate",
    "initial_latents",
    "load_controlnet",
    "load_model",
    "load_profile",
    "load_round_trip",
    "new_controlnet",
    "preview_picture",
    "prompt_denoiser",
    "read_sampling",
    "sample_latents",
    "save_controlnet",
    "three_paths",
    "time_ids",
    "unet_noise",
    "vae_decode",
    "vae_encode",
    "write_sampling",
]
