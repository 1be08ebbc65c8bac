"""From a picture file to the tensor and the micro-conditioning one training step needs."""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from kolors_course.dataset.colour import foreign_profile, to_srgb
from kolors_course.errors import CourseError

# Pillow turns these into RGB without losing range. 16- and 32-bit grey (I;16, I, F) would be clipped at
# 255 without a word, which makes most such pictures plain white.
EIGHT_BIT_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV")

# More pixels than this must be there in the file: about so many fit into a byte of a picture of one colour.
MOST_PIXELS_UNSEEN, MOST_PIXELS_A_BYTE = 32_000_000, 1000


@dataclass(frozen=True)
class MicroConditions:
    """What SDXL (and Kolors) is told about the picture's history (arXiv 2307.01952, section 2.2).

    Attributes:
        original_size: (height, width) of the upright picture before any resizing, in pixels.
        crop_top_left: (top, left) corner of the crop, measured in the resized picture, in pixels.
        target_size: (height, width) of the training picture, in pixels.
    """

    original_size: tuple[int, int]
    crop_top_left: tuple[int, int]
    target_size: tuple[int, int]

    def time_ids(self) -> torch.Tensor:
        """The six numbers as float32 of shape (6,), in the order of diffusers' `add_time_ids`."""
        return torch.tensor(self.original_size + self.crop_top_left + self.target_size, dtype=torch.float32)


def open_picture(path: str | Path) -> Image.Image:
    """Open and decode the whole picture, upright and in RGB; the file is closed again.

    Raises:
        CourseError: the file is missing, unreadable, damaged, too large, not a picture, or none of `EIGHT_BIT_MODES`.
    """
    path = Path(path)
    if not os.path.isfile(path):  # unlike Path.is_file, also False for a name the system finds too long
        fault = "is a folder" if os.path.isdir(path) else "does not exist"
        raise CourseError(f"picture {path} {fault}; put it there, or correct its path")
    try:
        with _quiet(), Image.open(path) as image:
            _check_claim(image, path.stat().st_size)
            _load(image)
            return upright_rgb(image)
    except CourseError as error:
        raise CourseError(f"picture {path}: {error}") from error
    except UnidentifiedImageError as error:
        raise CourseError(f"{path} is not a picture Pillow can open; replace it by a PNG or JPEG") from error
    except Image.DecompressionBombError as error:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6  # without a limit there is no such error
        raise CourseError(f"picture {path} has more than {most:.0f} million pixels; scale it down") from error
    except MemoryError as error:
        raise CourseError(f"picture {path} needs more memory than there is; scale it down") from error
    except Exception as error:
        # On damaged files decoders raise whatever their libraries do: OSError, ValueError, RuntimeError, …
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise CourseError(
            f"picture {path} cannot be decoded ({reason}); the file is damaged or cut short: copy it again"
        ) from error


def storage_quirks(path: str | Path) -> tuple[str, ...]:
    """What another reader may show differently than `open_picture`; only the file's header is read.

    Args:
        path: a picture that `open_picture` has opened before.
    """
    with _quiet(), Image.open(path) as image:
        quirks = {
            "to be turned (EXIF)": _is_to_be_turned(image),
            "transparent": image.has_transparency_data,
            "CMYK": image.mode == "CMYK",
            "in another colour space than sRGB": foreign_profile(image) is not None,
            # A phone's MPO holds further views of the same moment, and every reader shows the first.
            "animated": image.format != "MPO" and _is_animated(image),
        }
    return tuple(name for name, present in quirks.items() if present)


def _check_claim(image: Image.Image, size: int) -> None:
    """Refuse a file of a few bytes that would take hundreds of megabytes of memory,

    A program that draws a picture is refused, too.
    """
    if image.format == "EPS":  # Pillow would run it with Ghostscript
        raise CourseError("is a program in PostScript; save it as a PNG")
    pixels = image.width * image.height
    if pixels > MOST_PIXELS_UNSEEN and pixels > MOST_PIXELS_A_BYTE * size:
        raise CourseError(
            f"claims {pixels / 1e6:.0f} million pixels in {size} bytes; replace it by a real picture"
        )


def _load(image: Image.Image) -> None:
    """Decode. libtiff's own complaints, which it writes past Python, are kept from the screen: ours says enough."""
    try:
        screen = os.dup(2) if image.format == "TIFF" else None
    except OSError:  # a program without a console
        screen = None
    if screen is None:
        image.load()
        return
    try:
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        image.load()
    finally:
        os.dup2(screen, 2)
        os.close(screen)


def _is_animated(image: Image.Image) -> bool:
    try:
        return getattr(image, "is_animated", False)
    except Exception:  # a second picture that is damaged; nobody will show it
        return False


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Pillow's warnings and complaints: what matters to us is an error or a quirk."""
    logger = logging.getLogger("PIL")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _is_to_be_turned(image: Image.Image) -> bool:
    """Whether the EXIF orientation is one of those that mean something: 2 to 8."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation) in range(2, 9)
    except Exception:  # damaged EXIF says nothing, and other readers show such a picture, too
        return False


def upright_rgb(image: Image.Image) -> Image.Image:
    """The picture in RGB and sRGB, turned as its EXIF orientation says, transparent parts on white.

    White, because that is what line art, stickers and logos are drawn for; dropping the alpha channel
    instead shows whatever colour lies hidden under it, usually black.

    Raises:
        CourseError: the pixel format is none of `EIGHT_BIT_MODES`.
    """
    if image.mode not in EIGHT_BIT_MODES:
        raise CourseError(
            f"pixel format {image.mode} cannot become 8-bit RGB without loss; save it as an 8-bit RGB PNG"
        )
    if _is_to_be_turned(image):
        image = ImageOps.exif_transpose(image)
    if not image.has_transparency_data:
        return to_srgb(image, "RGB")
    image = to_srgb(image, "RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def prepare_image(
    image: Image.Image,
    width: int,
    height: int,
    center_crop: bool,
    random_flip: bool,
    generator: torch.Generator,
) -> tuple[torch.Tensor, MicroConditions]:
    """Resize to cover `width` x `height`, crop, perhaps mirror: the camp's preparation, with true ids.

    The camp tells the model [H, W, 0, 0, H, W] for every picture; here the ids say what was really done,
    so that the model is not taught that cut-off heads are normal (arXiv 2307.01952, section 2.2).
    The picture is mirrored before it is cropped, so that the crop corner is true of what the model sees.

    Args:
        image: any 8-bit Pillow picture.
        width, height: size of the training picture in pixels.
        center_crop: crop the middle; otherwise a place drawn uniformly.
        random_flip: mirror left-right with probability 1/2.
        generator: on the CPU; drawn from only for a random flip or crop.

    Returns:
        pixel_values of shape (3, height, width), float32 in [-1, 1], and the micro-conditions.

    Raises:
        CourseError: the pixel format is none of `EIGHT_BIT_MODES`.
    """
    image = upright_rgb(image)
    original_size = (image.height, image.width)
    image = _resize_to_cover(image, width, height)
    if random_flip and torch.rand((), generator=generator) < 0.5:
        image = ImageOps.mirror(image)
    spare = (image.height - height, image.width - width)
    if center_crop:
        top, left = spare[0] // 2, spare[1] // 2
    else:
        top, left = (int(torch.randint(size + 1, (), generator=generator)) for size in spare)
    image = image.crop((left, top, left + width, top + height))
    pixel_values = torch.from_numpy(np.array(image, dtype=np.float32)).permute(2, 0, 1) / 127.5 - 1
    return pixel_values.contiguous(), MicroConditions(original_size, (top, left), (height, width))


def cover_picture(image: Image.Image, width: int, height: int) -> Image.Image:
    """The picture, upright and in RGB, scaled to cover `width` x `height` and cropped in the middle.

    Raises:
        CourseError: the pixel format is none of `EIGHT_BIT_MODES`.
    """
    image = _resize_to_cover(upright_rgb(image), width, height)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _resize_to_cover(image: Image.Image, width: int, height: int) -> Image.Image:
    """Scale, keeping the aspect ratio, until the picture just covers `width` x `height`.

    Bilinear is the camp's filter. Pillow widens it when shrinking, so there is no aliasing; and, unlike
    bicubic or Lanczos, it never overshoots, so flat colours beside hard outlines get no halo.
    """
    scale = max(width / image.width, height / image.height)
    size = (max(width, round(image.width * scale)), max(height, round(image.height * scale)))
    return image.resize(size, Image.Resampling.BILINEAR)


def check_divisible(width: int, height: int, multiple: int) -> None:
    """Refuse a training size whose sides are not positive multiples of `multiple` (the VAE's factor).

    Raises:
        CourseError: names each wrong side and the nearest valid lengths.
    """
    faults = []
    for name, length in (("width", width), ("height", height)):
        if length <= 0 or length % multiple:
            below = max(length, 0) // multiple * multiple
            nearest = [str(size) for size in (below, below + multiple) if size > 0]
            faults.append(f"{name} {length} (use {' or '.join(nearest)})")
    if faults:
        raise CourseError(f"picture sides must be multiples of {multiple}: {', '.join(faults)}")
