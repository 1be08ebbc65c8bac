"""ControlNet for Kolors (arXiv 2302.05543): a copy of the U-Net's encoder that reads a picture and adds to the U-Net.

Network and files are diffusers' `ControlNetModel`, so that the weights that Kwai published load. What its `from_unet`
and `forward` leave undone for Kolors is done here: `encoder_hid_proj`, which brings ChatGLM's rows to the width of
the attention, is copied from the U-Net and applied before the call; and the attention takes the text bias that
compacted and weighted prompts need. The control picture is RGB in 0 … 1, unlike pictures for the VAE.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from PIL import Image
from torch import Tensor, nn

from kolors_course.dataset.pixels import cover_picture
from kolors_course.diffusion import Conditioning, NoiseSchedule
from kolors_course.errors import CourseError
from kolors_course.files import ensure_folder
from kolors_course.kolors.calls import visited_timesteps
from kolors_course.kolors.compact import enable_text_bias
from kolors_course.kolors.layouts import find_weights, read_model_config
from kolors_course.kolors.model import KolorsModel
from kolors_course.kolors.parts import explained, load_part
from kolors_course.kolors.settings import Sampling

SHARED = (  # fields of the configuration that a ControlNet must have from the U-Net it belongs to
    "block_out_channels",
    "down_block_types",
    "layers_per_block",
    "transformer_layers_per_block",
    "cross_attention_dim",
    "encoder_hid_dim",
    "projection_class_embeddings_input_dim",
)

EMBEDDING = (16, 32, 96, 256)


@dataclass(frozen=True)
class Residuals:
    """What ControlNets add to the U-Net: one tensor for each of its skip connections, and one for its middle."""

    down: tuple[Tensor, ...]
    mid: Tensor

    def __add__(self, other: "Residuals") -> "Residuals":
        down = tuple(one + two for one, two in zip(self.down, other.down, strict=True))
        return Residuals(down, self.mid + other.mid)

    def below_zeros(self, rows: int) -> "Residuals":
        """The same for a batch with `rows` more rows before these, to which nothing is added."""

        def pad(x: Tensor) -> Tensor:
            return torch.cat([x.new_zeros(rows, *x.shape[1:]), x])

        return Residuals(tuple(pad(x) for x in self.down), pad(self.mid))


@dataclass(frozen=True, eq=False)
class Control:
    """A ControlNet and what it is shown.

    Attributes:
        net: see `new_controlnet` and `load_controlnet`.
        pictures: one for all that is drawn, or one for each; scaled to cover it and cropped in the middle.
        scale: what its residuals are multiplied by; 0 is without it. Kwai recommends 0.7.
        start, end: the share of the steps at which it begins and ends; a step counts if it lies wholly between.
        guess: for no prompt at all: only the half with the prompt is told, and deeper layers more than the first
            (arXiv 2302.05543, section 3.4, and `guess_mode` of diffusers).

    Raises:
        CourseError: no picture, a scale that is no finite number, or a share out of order.
    """

    net: ControlNetModel
    pictures: Sequence[Image.Image]
    scale: float = 1.0
    start: float = 0.0
    end: float = 1.0
    guess: bool = False

    def __post_init__(self) -> None:
        if not self.pictures:
            raise CourseError("a control without a picture; give one for all, or one for each")
        if not math.isfinite(self.scale):
            raise CourseError(f"the control's scale must be a finite number, not {self.scale}")
        if not 0 <= self.start < self.end <= 1:
            raise CourseError(
                f"a control from {self.start:g} to {self.end:g} of the steps: give two rising numbers from 0 to 1"
            )

    def rows(self, index: slice) -> "Control":
        """The same for the pictures at `index` of all that is drawn."""
        pictures = self.pictures if len(self.pictures) == 1 else self.pictures[index]
        return Control(self.net, pictures, self.scale, self.start, self.end, self.guess)

    def pixels(self, size: tuple[int, int]) -> Tensor:
        """(1 or B, 3, H, W) in 0 … 1, for a `size` of (width, height); where the network is."""
        arrays = np.stack([np.asarray(cover_picture(picture, *size)) for picture in self.pictures])
        pixels = torch.from_numpy(arrays).permute(0, 3, 1, 2).contiguous()
        return pixels.to(self.net.device, self.net.dtype) / 255

    def window(self, sampling: Sampling, schedule: NoiseSchedule) -> tuple[float, float]:
        """(highest, below): it is asked at timesteps t with highest ≥ t > below; at none if no step lies within."""
        steps, visited = sampling.steps, visited_timesteps(sampling, schedule)
        # A share such as 0.3 is a little more or less than three tenths.
        first, after = math.ceil(self.start * steps - 1e-9), math.floor(self.end * steps + 1e-9)
        highest = math.inf if first <= sampling.first_step else visited.get(first, -math.inf)
        below = -math.inf if after >= steps else visited.get(after, math.inf)
        return highest, below


def new_controlnet(model: KolorsModel, embedding: Sequence[int] | None = None) -> ControlNetModel:
    """A ControlNet that changes nothing yet: the U-Net's encoder, and zero convolutions behind it.

    Args:
        embedding: channels of the layers that read the control picture; each but the first halves it, down to the
            size of the latents. None is what the paper has for eighths: 16, 32, 96, 256.

    Raises:
        CourseError: the U-Net has LoRAs on it or is kept in few bits, or the layers do not lead to its latents.
    """
    unet = model.unet
    if getattr(unet, "peft_config", {}) or model.quantization:
        raise CourseError(
            "a ControlNet begins as a copy of the plain U-Net; take LoRAs off, and load it unquantised"
        )
    halvings = int(math.log2(model.vae_scale_factor))
    embedding = EMBEDDING[: halvings + 1] if embedding is None else embedding
    if len(embedding) != halvings + 1:
        raise CourseError(
            f"{len(embedding)} layers halve the control picture {len(embedding) - 1} times, and the VAE halves "
            f"{halvings} times; give {halvings + 1}"
        )
    net = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=tuple(embedding))
    net.encoder_hid_proj.load_state_dict(unet.encoder_hid_proj.state_dict())  # from_unet makes it anew
    return _ready(net.to(unet.device, unet.dtype))


def load_controlnet(folder: str | Path, model: KolorsModel, variant: str | None = None) -> ControlNetModel:
    """A ControlNet in diffusers' layout, for the U-Net of `model`.

    Args:
        variant: see `load_model`.

    Raises:
        CourseError: it is missing or damaged, no ControlNet, or of another kind of U-Net.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CourseError(
            f"there is no ControlNet folder {folder}; correct the path, or train one with train-mini --stage control"
        )
    check_controlnet(read_model_config(folder), model.unet, str(folder))
    with explained(str(folder)):
        found, variant = find_weights(folder, variant)
        options = {"torch_dtype": model.unet.dtype, "use_safetensors": True}
        net = load_part(ControlNetModel, found, variant, options)
    return _ready(net.to(model.device))


def check_controlnet(config: Mapping[str, Any], unet: UNet2DConditionModel, where: str) -> None:
    """Refuse what does not belong to this kind of U-Net.

    Args:
        where: what says it, at the start of messages.

    Raises:
        CourseError: it is no ControlNet, or of another kind of U-Net.
    """
    if config.get("_class_name") != "ControlNetModel":
        raise CourseError(f"{where} holds a {config.get('_class_name')}, not a ControlNetModel")
    for name in SHARED:
        own, wanted = (_plain(each.get(name)) for each in (config, unet.config))
        if own != wanted:
            raise CourseError(
                f"{where} is no ControlNet of this model: its {name} is {own}, the U-Net's {wanted}"
            )


def save_controlnet(net: ControlNetModel, folder: Path) -> None:
    """Write a ControlNet as diffusers has it: config.json and one safetensors file.

    Raises:
        CourseError: the folder cannot be written.
    """
    ensure_folder(folder)
    net.save_pretrained(folder)


def control_residuals(
    controls: Sequence[tuple[Control, Tensor]],
    sample: Tensor,
    timestep: Tensor,
    conditioning: Conditioning,
    text_memory: dict[Any, Any] | None = None,
) -> Residuals:
    """What some controls, each with its pixels, add together; see `residuals_of`."""
    parts = (
        residuals_of(
            control.net,
            pixels.repeat(len(sample) // len(pixels), 1, 1, 1),
            sample,
            timestep,
            conditioning,
            text_memory,
            scale=control.scale,
            guess=control.guess,
        )
        for control, pixels in controls
    )
    total = next(parts)
    for part in parts:
        total = total + part
    return total


def residuals_of(
    net: ControlNetModel,
    pixels: Tensor,
    sample: Tensor,
    timestep: Tensor,
    conditioning: Conditioning,
    text_memory: dict[Any, Any] | None = None,
    *,
    scale: float = 1.0,
    guess: bool = False,
) -> Residuals:
    """What a ControlNet adds at one call of the U-Net.

    Args:
        pixels: (B, 3, H, W) in 0 … 1.
        sample, timestep, conditioning, text_memory: as for `unet_noise`.
        scale, guess: see `Control`.
    """
    down, mid = net(
        sample,
        timestep,
        encoder_hidden_states=net.encoder_hid_proj(conditioning["prompt_embeds"]),
        controlnet_cond=pixels,
        conditioning_scale=scale,
        guess_mode=guess,
        added_cond_kwargs={
            "text_embeds": conditioning["pooled_prompt_embeds"],
            "time_ids": conditioning["add_time_ids"],
        },
        cross_attention_kwargs={"text_bias": conditioning["text_bias"], "text_memory": text_memory},
        return_dict=False,
    )
    return Residuals(tuple(down), mid)


def _ready(net: ControlNetModel) -> ControlNetModel:
    enable_text_bias(net)
    return nn.Module.eval(net).requires_grad_(False)


def _plain(value: Any) -> Any:
    """A value of a configuration as JSON has it: lists for tuples."""
    return list(value) if isinstance(value, tuple) else value
