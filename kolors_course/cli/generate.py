"""`kolors-course generate`: what it does once its flags are read."""

import argparse

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from kolors_course.cli import options
from kolors_course.dataset.pixels import open_picture
from kolors_course.errors import CourseError
from kolors_course.files import atomic_path, ensure_folder
from kolors_course.kolors import generate
from kolors_course.kolors.sampling import check_size

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


def _check(arguments: argparse.Namespace) -> None:
    for name in ("count", "scale"):
        if getattr(arguments, name) < 1:
            raise CourseError(f"--{name} must be at least 1, not {getattr(arguments, name)}")
    if arguments.output.suffix.lower() not in SUFFIXES or arguments.output.is_dir():
        raise CourseError(f"--output {arguments.output}: give a file that ends in {', '.join(SUFFIXES)}")


def run(arguments: argparse.Namespace) -> int:
    _check(arguments)
    sampling = options.sampling_of(arguments)
    picture = open_picture(arguments.image) if arguments.image else None
    model = options.model_of(arguments)
    check_size(model, sampling)
    ensure_folder(arguments.output.parent)
    count = arguments.count
    seeds = range(arguments.seed, arguments.seed + count)
    prompts, progress = [arguments.prompt] * count, options.picture_progress(count, "drawing")
    pictures = generate(model, prompts, seeds, sampling, progress, picture=picture)
    width, height = pictures[0].size
    sheet = Image.new("RGB", (width * count, height))
    for i, picture in enumerate(pictures):
        sheet.paste(picture, (i * width, 0))
    if arguments.scale > 1:
        factor = arguments.scale
        sheet = sheet.resize((sheet.width * factor, sheet.height * factor), Image.Resampling.LANCZOS)
    facts = PngInfo()
    facts.add_itxt("model", model.name)
    for key in ("prompt", "negative", "seed", "steps", "guidance", "sampler", "spacing", "denoise"):
        facts.add_itxt(key, str(getattr(arguments, key)))
    facts.add_itxt("image", arguments.image.name if arguments.image else "")
    facts.add_itxt("lora", " ".join(arguments.lora))
    with atomic_path(arguments.output) as path:
        sheet.save(path, pnginfo=facts if path.suffix.lower() == ".png" else None)
    print(f"wrote {arguments.output}")
    return 0
