"""Colour profiles: pictures in other colour spaces than sRGB, which Kolors and every trainer take for granted."""

from contextlib import suppress
from io import BytesIO

from PIL import Image, ImageCms


def foreign_profile(image: Image.Image) -> ImageCms.ImageCmsProfile | None:
    """The profile that says what the picture's numbers mean, if it is readable and not that of sRGB."""
    data = image.info.get("icc_profile")
    if not data:
        return None
    try:
        profile = ImageCms.ImageCmsProfile(BytesIO(data))
        name = ImageCms.getProfileDescription(profile)
    except (ImageCms.PyCMSError, OSError):
        return None
    return None if "srgb" in name.lower() else profile


def to_srgb(image: Image.Image, mode: str) -> Image.Image:
    """The picture in `mode`, "RGB" or "RGBA", and in sRGB, which needs no profile any more.

    A profile that is damaged or meant for another kind of picture is ignored.
    """
    profile = foreign_profile(image)
    if image.mode in ("1", "P", "PA"):  # profiles are about colours, not about their numbers in a palette
        image = image.convert(mode)
    if profile:
        with suppress(ImageCms.PyCMSError):
            srgb = ImageCms.createProfile("sRGB")
            image = ImageCms.profileToProfile(image, profile, srgb, outputMode=mode) or image
    image = image.convert(mode)
    image.info.pop("icc_profile", None)  # saving would put it into the file
    return image
