"""The aesthetic predictor of the LAION people, as what it is: a linear map of a CLIP embedding.

sac+logos+ava1-l14-linearMSE.pth holds layers 768 → 1024 → 128 → 64 → 16 → 1, with dropout and *no* activation between
them. Linear layers one after the other are one linear layer: W = W₅W₄W₃W₂W₁. All that it can say of a picture is how
far its embedding of length 1 lies in one direction.

The embedding comes from CLIP ViT-L/14 of transformers, read from a folder of one's own; nothing is downloaded here.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from kolors_course.errors import CourseError, brief
from kolors_course.platform.pickles import DAMAGED, load_pickle

WIDTHS = (768, 1024, 128, 64, 16, 1)
LARGEST = 64 * 2**20  # bytes; the published file has 3.7 MB
_NAME = re.compile(r"(?:layers\.)?(?:(\d{1,2})\.)?(weight|bias)")


@dataclass(frozen=True)
class AestheticHead:
    """Score = weight · embedding + bias. `weight`: (768,) for CLIP ViT-L/14."""

    weight: Tensor
    bias: float

    def scores(self, embeddings: Tensor) -> list[float]:
        """Scores, mostly 4 to 7, of embeddings (N, d) of any length; they are brought to length 1."""
        return (F.normalize(embeddings.double(), dim=1) @ self.weight + self.bias).tolist()


def multiply_out(layers: Sequence[tuple[Tensor, Tensor]]) -> AestheticHead:
    """The one linear map that layers (weight, bias) one after the other are.

    Raises:
        ValueError: they do not fit to each other, or do not end in one number.
    """
    (total, shift), *rest = ((weight.detach().double(), bias.detach().double()) for weight, bias in layers)
    for weight, bias in rest:
        if weight.shape[1] != total.shape[0]:
            raise ValueError(f"a layer of {weight.shape[1]} inputs follows {total.shape[0]} outputs")
        total, shift = weight @ total, weight @ shift + bias
    if total.shape[0] != 1:
        raise ValueError(f"the last layer has {total.shape[0]} outputs, not 1")
    return AestheticHead(total[0], float(shift))


def load_aesthetic(path: str | Path) -> AestheticHead:
    """Read the predictor's own file (.pth) or the same tensors as .safetensors: five layers, or one (version 1).

    Raises:
        CourseError: it cannot be read, or holds anything but these layers.
    """
    path = Path(path)
    layers = _layers(path, _tensors(path))
    shapes = [tuple(weight.shape) for weight, _ in layers]
    known = [list(zip(WIDTHS[1:], WIDTHS[:-1], strict=True)), [(1, WIDTHS[0])]]
    if shapes not in known or any(bias.shape != weight.shape[:1] for weight, bias in layers):
        raise CourseError(
            f"{path} is no aesthetic predictor for CLIP ViT-L/14: its layers are {brief(str(shapes), 80)}; give "
            "sac+logos+ava1-l14-linearMSE.pth, or the same tensors as .safetensors"
        )
    if not all(tensor.isfinite().all() for layer in layers for tensor in layer):
        raise CourseError(f"{path} holds numbers that are not finite; download it again")
    return multiply_out(layers)


def _tensors(path: Path) -> Mapping[str, Tensor]:
    try:
        if path.stat().st_size > LARGEST:
            raise CourseError(
                f"{path} has more than {LARGEST >> 20} MiB, too many for an aesthetic predictor"
            )
        tensors = load_file(path) if path.suffix == ".safetensors" else load_pickle(path)
    except (SafetensorError, *DAMAGED) as error:
        raise CourseError(
            f"cannot read the aesthetic predictor {path}: {brief(str(error), 160)}; download it again"
        ) from error
    if not isinstance(tensors, Mapping) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise CourseError(f"{path} holds other things than tensors; give the predictor's own file")
    return tensors


def _layers(path: Path, tensors: Mapping[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Weights and biases, in the order of their numbers; dropout has a number and no tensors."""
    found: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        match = _NAME.fullmatch(str(name))
        if not match or not tensor.is_floating_point() or tensor.ndim != (2 if match[2] == "weight" else 1):
            raise CourseError(f"{path} holds '{brief(name)}', which no aesthetic predictor has")
        found.setdefault(int(match[1] or 0), {})[match[2]] = tensor
    if not found or any(len(layer) != 2 for layer in found.values()):
        raise CourseError(f"{path}: a layer without weight or bias; download it again")
    return [(found[i]["weight"], found[i]["bias"]) for i in sorted(found)]


@torch.no_grad()
def clip_embeddings(folder: str | Path, pictures: Sequence[Image.Image], batch_size: int = 16) -> Tensor:
    """CLIP's embeddings (N, d) of pictures, with the model and the image processor in `folder`.

    Raises:
        CourseError: there is no such model in it.
    """
    from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

    try:
        processor = CLIPImageProcessor.from_pretrained(folder, local_files_only=True)
        clip = CLIPVisionModelWithProjection.from_pretrained(folder, local_files_only=True).eval()
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise CourseError(
            f"{folder} holds no CLIP model of transformers: {brief(str(error), 160)}; give the folder of "
            "clip-vit-large-patch14"
        ) from error
    found = []
    for start in range(0, len(pictures), batch_size):
        batch = [picture.convert("RGB") for picture in pictures[start : start + batch_size]]
        found.append(clip(**processor(images=batch, return_tensors="pt")).image_embeds)
    return torch.cat(found)
