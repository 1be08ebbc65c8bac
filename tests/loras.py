"""LoRAs of random numbers, and files as other programs write them."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from kolors_course.lora import LoraFile, LoraSettings, adaptable_layers, layer_names, target_layers
from kolors_course.mini.networks import build_unet

ATTENTION = LoraSettings(rank=3, alpha=1.5)
# Every kind of layer that the pixel LoRA of data/loras has, and the rest.
WIDE_TARGETS = (
    *ATTENTION.target_modules,
    "ff.net.0.proj",
    "ff.net.2",
    "proj_in",
    "proj_out",
    "conv1",
    "conv2",
    "conv_shortcut",
    "time_emb_proj",
    "conv_in",
    "conv_out",
    "downsamplers.0.conv",
    "upsamplers.0.conv",
    "time_embedding.linear_1",
    "time_embedding.linear_2",
)
WIDE = LoraSettings(rank=3, alpha=1.5, target_modules=WIDE_TARGETS)


def small_unet(text_width: int = 48, blocks: tuple[int, int, int] = (32, 64, 64)) -> nn.Module:
    """A U-Net of Kolors' structure; the same weights at every call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_unet(text_width, blocks, (1, 1, 2), sample_size=8).eval()


def random_state(
    unet: nn.Module, settings: LoraSettings, seed: int = 0, dtype: torch.dtype = torch.float32
) -> dict[str, Tensor]:
    """Tensors of a LoRA that has an effect; 3 x 3 layers included, DoRA's lengths not."""
    generator, state = torch.Generator().manual_seed(seed), {}
    for name, layer in target_layers(unet, settings.target_modules).items():
        out, *rest = layer.weight.shape
        ones = (1,) * (len(rest) - 1)
        for factor, shape in (("A", (settings.rank, *rest)), ("B", (out, settings.rank, *ones))):
            tensor = torch.randn(shape, generator=generator) * 0.2
            state[f"{name}.lora_{factor}.weight"] = tensor.to(dtype)
    return state


def random_lora(unet: nn.Module, settings: LoraSettings, seed: int = 0, path: str = "random") -> LoraFile:
    return LoraFile(Path(path), random_state(unet, settings, seed), settings, {"base_model": "small"})


def foreign_names(
    layout: str, unet: nn.Module, state: dict[str, Tensor], alpha: float | None
) -> dict[str, Tensor]:
    """The tensors under the names that another program gives them, spelt out independently of the library."""
    names = layer_names(adaptable_layers(unet))
    sgm = {ours: theirs for theirs, ours in names.sgm.items()}
    tensors = {}
    for name, tensor in state.items():
        layer, factor = name.removesuffix(".weight").rsplit(".lora_", 1)
        direction = {"A": "down", "B": "up"}[factor]
        if layout == "diffusers":
            key = f"unet.{layer}.lora_{factor}.weight"
        elif layout == "peft":
            key = f"base_model.model.{layer}.lora_{factor}.weight"
        elif layout == "diffusers-legacy" and layer.split(".")[-1] in ("to_q", "to_k", "to_v", "0"):
            attention, word = layer.removesuffix(".0").rsplit(".", 1)
            key = f"unet.{attention}.processor.{word}_lora.{direction}.weight"
        elif layout.startswith("diffusers-"):
            key = f"unet.{layer}.lora.{direction}.weight"
        else:
            stem = layer.replace(".", "_") if layout == "kohya" else sgm[layer]
            key = f"lora_unet_{stem}.lora_{direction}.weight"
            if alpha is not None:
                tensors[f"lora_unet_{stem}.alpha"] = torch.tensor(alpha)
        tensors[key] = tensor
    return tensors


def write_foreign(
    folder: Path, layout: str, unet: nn.Module, state: dict[str, Tensor], alpha: float | None = None
) -> Path:
    """A file of another program; with `alpha` it says it in the way of its layout."""
    path = folder / ("adapter_model.safetensors" if layout == "peft" else f"{layout}.safetensors")
    rank = next(tensor.shape[0] for name, tensor in state.items() if name.endswith("lora_A.weight"))
    layers = dict.fromkeys(name.rsplit(".lora_", 1)[0] for name in state)
    entry, metadata = {"r": rank, "lora_alpha": alpha, "target_modules": list(layers)}, {"format": "pt"}
    if alpha is not None and layout == "peft":
        (folder / "adapter_config.json").write_text(json.dumps(entry), encoding="utf-8")
    elif alpha is not None and layout.startswith("diffusers"):
        entry |= {"rank_pattern": {}, "alpha_pattern": {}}  # diffusers up to 0.39 reads no entry without them
        prefixed = {f"unet.{key}": value for key, value in entry.items()}
        metadata["lora_adapter_metadata"] = json.dumps(prefixed)
    save_file(foreign_names(layout, unet, state, alpha), path, metadata=metadata)
    return path
