"""`kolors-course generate`: what it does once its flags are read."""

import argparse

from diffusers.utils import make_image_grid
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from kolors_course.cli import options
from kolors_course.dataset.pixels import open_picture
from kolors_course.errors import CourseError, printable
from kolors_course.files import atomic_path
from kolors_course.kolors import KolorsModel, Sampling, generate
from kolors_course.kolors.sampling import check_drawing, check_size
from kolors_course.prompting import check_prompts

# Sides in pixels that the formats can hold.
LIMITS = {".webp": 16383, ".jpg": 65500, ".jpeg": 65500}


def _check(arguments: argparse.Namespace, model: KolorsModel, sampling: Sampling) -> None:
    """Whether model, memory and file format hold what is asked for.

    Raises:
        CourseError: they do not.
    """
    count, factor, suffix = arguments.count, arguments.scale, arguments.output.suffix.lower()
    width, height = check_size(model, sampling)
    sheet = (width * count * factor, height * factor)
    limit = LIMITS.get(suffix)
    if limit and max(sheet) > limit:
        raise CourseError(
            f"--output {arguments.output}: the sheet would have {sheet[0]}x{sheet[1]} pixels, and a {suffix} has at "
            f"most {limit} on a side; write a .png, or lower --size, --count or --scale"
        )
    # The sheet, and the enlarged one with what resizing takes besides.
    sheet_bytes = 3 * width * count * height * (1 + (2 * factor**2 if factor > 1 else 0))
    check_drawing(model, sampling, count, sheet_bytes)


def run(arguments: argparse.Namespace) -> int:
    check_prompts([arguments.prompt])
    sampling = options.sampling_of(arguments)
    picture = open_picture(arguments.image) if arguments.image else None
    model = options.model_of(arguments)
    _check(arguments, model, sampling)
    options.tell_unknown_words(model, arguments, [arguments.prompt])
    count, factor = arguments.count, arguments.scale
    seeds = range(arguments.seed, arguments.seed + count)
    prompts, progress = [arguments.prompt] * count, options.picture_progress(count, "drawing")
    pictures = generate(model, prompts, seeds, sampling, progress, picture=picture)
    sheet = make_image_grid(pictures, 1, count)
    if factor > 1:
        sheet = sheet.resize((sheet.width * factor, sheet.height * factor), Image.Resampling.LANCZOS)
    facts = PngInfo()
    facts.add_itxt("model", printable(model.name))
    said = {"guidance" if name == "guidance_scale" else name: value for name, value in sampling.said.items()}
    asked = {key: getattr(arguments, key) for key in ("prompt", "negative", "seed", "denoise")}
    for key, value in {**asked, **said}.items():
        facts.add_itxt(key, str(value))
    facts.add_itxt("image", printable(arguments.image.name) if arguments.image else "")
    facts.add_itxt("lora", printable(" ".join(arguments.lora)))
    with atomic_path(arguments.output) as path:
        sheet.save(path, pnginfo=facts if path.suffix.lower() == ".png" else None)
    print(f"wrote {arguments.output}")
    return 0
