"""Whether pictures fit into memory, asked before the first is drawn."""

import torch

from kolors_course.errors import CourseError
from kolors_course.kolors.model import KolorsModel
from kolors_course.kolors.skeleton import skeleton_of
from kolors_course.platform.device import free_memory
from kolors_course.platform.machine import GIB
from kolors_course.platform.meter import FusedAttention, Meter

# A CPU's convolutions take room besides their tensors: measured, Kolors-mini's decoder takes 1.2 to 1.5 times these.
CPU_WORKSPACE = 1.5


@torch.no_grad()
def decoding_bytes(model: KolorsModel, size: tuple[int, int]) -> int:
    """Working bytes of the VAE for one picture of `size` (width, height), counted on the meta device.

    It is the worst moment of drawing: the U-Net, which computes on cells of latents, takes about a tenth of it.
    """
    vae, factor = skeleton_of(model.vae), model.vae_scale_factor
    cells = (1, vae.config.latent_channels, size[1] // factor, size[0] // factor)
    with FusedAttention(), Meter() as meter:
        vae.decode(torch.empty(cells, dtype=vae.dtype, device="meta"))
    return meter.peak


def check_memory(model: KolorsModel, size: tuple[int, int], count: int, batch: int, kept: int = 0) -> None:
    """Refuse to draw what does not fit into the memory that is free now.

    Args:
        size: (width, height) of each picture.
        count: pictures in all; they stay in main memory.
        batch: pictures at a time.
        kept: bytes of main memory that whoever asked needs besides, such as for a sheet of all pictures.

    Raises:
        CourseError: it does not fit; the message says what it would take, what there is, and what to lower.
    """
    width, height = size
    batch = min(batch, count)
    one = decoding_bytes(model, size) * (CPU_WORKSPACE if model.device.type == "cpu" else 1)
    kept += count * width * height * 3
    needs: dict[str, float] = {"cpu": kept}
    needs[model.device.type] = needs.get(model.device.type, 0) + batch * one
    for device, needed in needs.items():
        free = free_memory(torch.device(device) if device == "cpu" else model.device)
        if needed > free:
            few = f", or the batch size (one at a time: {(kept + one) / GIB:.1f} GiB)" if batch > 1 else ""
            fewer = ", or the number of pictures" if kept > free else few
            raise CourseError(
                f"{count} pictures of {width}x{height}, {batch} at a time, take about {needed / GIB:.1f} GiB of "
                f"memory, and {free / GIB:.1f} GiB are free on {device}; lower the size{fewer}"
            )
