"""Shape fidelity: how like its true drawing is a subject in a picture? A stricter eye than the probe's.

The world is drawn, so the true drawing of what was asked is known. Paste it over the picture P at a place u, which
gives Q: if P shows the subject there, nothing changes. How alike P and Q are is their normalised cross-correlation,
the colour channels c together:

    ρ(u) = (cov + ε) / √((var_P + ε)(var_Q + ε))
    cov = mean over c of Σ_x w(x) (P_c(x) − P̄_c)(Q_c(x) − Q̄_c), var_P and var_Q likewise, P̄_c = Σ_x w(x) P_c(x)

The weights w are even over the pixels that are the subject's own, and even, with a share of `RING_SHARE`, over a thin
ring around it. The fidelity is the largest ρ over a few sizes of the drawing, and over the places where the world
might have put it; 1 is the world itself, on any background: in the ring Q is the picture.

* Why a ring: a camel is nearly of one colour, and what makes it one is how its outline stands out. With the mask
  alone the best match was sometimes empty ground; a generated subject was more like its own drawing than like 32
  others in 63 % of 30 pictures, and with the ring in 80 %. A larger share lets every blob of the size look right.
* Why a mean for each channel: with one for all, the hue would be most of the likeness, and a brown blur much
  like a giraffe. How light or tinted the subject is beside its surroundings counts a little, by the ring.
* ε is the variance of a few grey levels, as if P and Q shared one more channel: noise of flat places is no
  shape, and a drawing of one colour on ground of the same colour has a value.
* The world never mirrors a drawing, so a mirrored one is a wrong one.

Correlation at all places at once, by Fourier transform: J. P. Lewis, "Fast Normalized Cross-Correlation", Vision
Interface 1995; with a mask: D. Padfield, "Masked Object Registration in the Fourier Domain", IEEE Transactions on
Image Processing 21 (2012).
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from scipy import ndimage
from torch import Tensor

from kolors_course.art import BASE_STYLE, Cutout, Scene, cutouts
from kolors_course.errors import CourseError

SIDE = 128  # pixels; pictures of other sizes are brought to it
SIZES = (0.94, 0.97, 1.0, 1.03, 1.06)  # of the drawing; the world has but three sizes, so a drawn one is near
# How far the same words may move a subject in the world, and a little: to each side, up and down, in parts of SIDE.
SHIFT = (0.08, 0.22)
OWN, FREE = 0.9, 0.05  # a pixel is the subject's own if so much of it is, and free of it if no more is
RING, RING_SHARE = 3, 0.13  # pixels; share of the weights
EPSILON = (4 / 255) ** 2
TRANSFORM = 144  # at least SIDE + 2·RING, of small factors


@dataclass(frozen=True)
class Match:
    """The best match of a drawing: its ρ, and where, in parts of the picture's side: left, top, width, height."""

    value: float
    box: tuple[float, float, float, float]


def shape_fidelity(picture: Image.Image, scene: Scene, style: str = BASE_STYLE) -> tuple[Match, ...]:
    """Match every subject of `scene`, as `style` draws it, with a square picture of it.

    Raises:
        CourseError: unknown style, or a picture that is not square.
    """
    return tuple(best_match(picture, cutout) for cutout in cutouts(scene, SIDE, style))


def best_match(picture: Image.Image, cutout: Cutout, anywhere: bool = False) -> Match:
    """The best match of `cutout`, cut out of a world picture of `SIDE` pixels, around its own place in `picture`.

    Args:
        anywhere: look in the whole picture, to find out where the subject stands.

    Raises:
        CourseError: the picture is not square.
    """
    shapes = [tuple(round(size * side) for side in cutout.alpha.shape) for size in SIZES]
    ρ = _correlation(_pixels(picture), [_kernels(cutout, *shape) for shape in shapes])
    for place, shape in zip(ρ, shapes, strict=True):
        forbidden = torch.ones_like(place, dtype=torch.bool)
        forbidden[_inside(*shape) if anywhere else _allowed(cutout, *shape)] = False
        place[forbidden] = -torch.inf
    size, top, left = np.unravel_index(int(ρ.argmax()), ρ.shape)
    height, width = shapes[size]
    x, y, wide, high = (float(length) / SIDE for length in (left, top, width, height))
    return Match(float(ρ[size, top, left]), (x, y, wide, high))


def _pixels(picture: Image.Image) -> Tensor:
    """A picture -> (3, SIDE, SIDE) in 0..1."""
    if picture.width != picture.height:
        raise CourseError(
            f"shape fidelity is measured in square pictures, not in {picture.width}x{picture.height}"
        )
    if picture.width != SIDE:
        picture = picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1) / 255


def _kernels(cutout: Cutout, height: int, width: int) -> Tensor:
    """The weights of mask and ring, and the drawing in the mask: (5, h + 2·RING, w + 2·RING)."""
    layers = [cutout.alpha, *np.moveaxis(cutout.colours / 255, 2, 0)]
    images = [Image.fromarray(layer.astype(np.float32)) for layer in layers]
    resized = np.stack([np.array(i.resize((width, height), Image.Resampling.BICUBIC)) for i in images])
    alpha, *colours = np.pad(resized.astype(np.float64), ((0, 0), (RING, RING), (RING, RING)))
    mask, touched = alpha > OWN, alpha > FREE
    ring = ndimage.binary_dilation(touched, iterations=RING) & ~touched
    weights = (1 - RING_SHARE) * mask / mask.sum(), RING_SHARE * ring / ring.sum()
    return torch.from_numpy(np.stack([*weights, *colours])).float()


def _correlation(pixels: Tensor, drawings: list[Tensor]) -> Tensor:
    """ρ (sizes, SIDE, SIDE) by the upper left corner of the drawing.

    Where a drawing leaves the picture it is wrapped around; such places mean nothing.
    """
    # Beyond its edge, where a ring may reach, the picture goes on.
    pixels = F.pad(pixels[None], (RING,) * 4, mode="replicate")[0]
    kernels = torch.stack(
        [F.pad(d, (0, TRANSFORM - d.shape[2], 0, TRANSFORM - d.shape[1])) for d in drawings]
    )
    mask, ring, colours = kernels[:, :1], kernels[:, 1:2], kernels[:, 2:]
    drawn = mask * colours
    seen = torch.fft.rfft2(torch.cat([pixels, (pixels**2).mean(0, keepdim=True)]), s=(TRANSFORM, TRANSFORM))

    def sums(values: Tensor, weights: Tensor) -> Tensor:
        """Weighted sums of `values` under the weights at every place."""
        return torch.fft.irfft2(values * torch.fft.rfft2(weights).conj())[..., :SIDE, :SIDE]

    in_mask, in_ring = sums(seen, mask), sums(seen, ring)  # of P (3 channels), and of P² (their mean)
    product = torch.fft.irfft2((seen[:3] * torch.fft.rfft2(drawn).conj()).sum(1) / 3)[..., :SIDE, :SIDE]
    mean_p = in_mask[:, :3] + in_ring[:, :3]
    mean_q = drawn.sum((2, 3), keepdim=True) + in_ring[:, :3]
    square_q = (drawn * colours).mean(1).sum((1, 2))[:, None, None] + in_ring[:, 3]
    cov = product + in_ring[:, 3] - (mean_p * mean_q).mean(1)
    var_p = in_mask[:, 3] + in_ring[:, 3] - (mean_p**2).mean(1)
    var_q = square_q - (mean_q**2).mean(1)
    return ((cov + EPSILON) / ((var_p + EPSILON) * (var_q + EPSILON)).sqrt()).clamp(max=1)


def _inside(height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns where the corner of a drawing of this size may be inside the picture."""
    return slice(0, SIDE - height + 1), slice(0, SIDE - width + 1)


def _allowed(cutout: Cutout, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns where the corner of a drawing of this size may be: inside the picture, its foot near the
    cutout's."""
    own_height, own_width = cutout.alpha.shape
    top, left = cutout.top + own_height - height, cutout.left + (own_width - width) / 2
    across, down = (part * SIDE for part in SHIFT)
    rows = max(0, round(top - down)), min(SIDE - height, round(top + down))
    columns = max(0, round(left - across)), min(SIDE - width, round(left + across))
    return slice(rows[0], rows[1] + 1), slice(columns[0], columns[1] + 1)
