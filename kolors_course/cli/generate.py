"""`kolors-course generate`: what it does once its flags are read."""

import argparse
from collections.abc import Sequence

import numpy as np
from diffusers.utils import make_image_grid
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from kolors_course.cli import options
from kolors_course.cli.flags.generate import PICTURES
from kolors_course.dataset.pixels import open_picture
from kolors_course.errors import CourseError, printable
from kolors_course.files import atomic_path
from kolors_course.hints import AskedHint, parse_hint
from kolors_course.kolors import Control, KolorsModel, Sampling, generate, load_controlnet
from kolors_course.kolors.sampling import check_drawing, check_seeds, check_size
from kolors_course.platform.paths import data_dir
from kolors_course.prompting import all_prompts, check_prompts, no_words, read_template, words_in

# Sides in pixels that the formats can hold.
LIMITS = {".webp": 16383, ".jpg": 65500, ".jpeg": 65500}


def _check(arguments: argparse.Namespace, model: KolorsModel, sampling: Sampling, count: int) -> None:
    """Whether model, memory and file format hold what is asked for.

    Raises:
        CourseError: they do not.
    """
    factor, suffix = arguments.scale, arguments.output.suffix.lower()
    width, height = check_size(model, sampling)
    sheet = (width * count * factor, height * factor)
    limit = LIMITS.get(suffix)
    if limit and max(sheet) > limit:
        raise CourseError(
            f"--output {arguments.output}: the sheet would have {sheet[0]}x{sheet[1]} pixels, and a {suffix} has at "
            f"most {limit} on a side; write a .png, or lower --size, --scale or the number of pictures"
        )
    # The sheet, and the enlarged one with what resizing takes besides.
    sheet_bytes = 3 * width * count * height * (1 + (2 * factor**2 if factor > 1 else 0))
    check_drawing(model, sampling, count, sheet_bytes)


def _prompts(arguments: argparse.Namespace) -> list[str]:
    """One for each picture.

    Raises:
        CourseError: a template that is wrong or makes too many, or flags that go with none.
    """
    if arguments.template is None:
        if arguments.words or arguments.each:
            raise CourseError("--words and --each need a --template")
        return [arguments.prompt] * arguments.count
    template = read_template(arguments.template, words_in(arguments.words) if arguments.words else no_words)
    if not arguments.each:
        seeds = range(arguments.seed, arguments.seed + arguments.count)
        check_seeds(seeds)
        return [template.draw(np.random.default_rng(seed)) for seed in seeds]
    if arguments.count != 1:
        raise CourseError("--each and --count both say how many pictures there are; give one of them")
    return all_prompts(template, PICTURES)


def _controls(
    arguments: argparse.Namespace,
    hints: Sequence[AskedHint],
    shown: Sequence[Image.Image],
    model: KolorsModel,
) -> list[Control]:
    """The hints with the ControlNet that reads them.

    Raises:
        CourseError: there is none for this model, or --controlnet without a hint.
    """
    if not hints:
        if arguments.controlnet:
            raise CourseError("--controlnet without --control changes nothing; give it a hint to read")
        return []
    net = load_controlnet(arguments.controlnet or data_dir() / "kolors-mini-control", model)
    return [
        Control(net, [picture], hint.scale, hint.start, hint.end)
        for hint, picture in zip(hints, shown, strict=True)
    ]


def _facts(
    arguments: argparse.Namespace, prompts: Sequence[str], model: KolorsModel, sampling: Sampling
) -> PngInfo:
    """How the picture was made, as the file says it."""
    facts = PngInfo()
    facts.add_itxt("model", printable(model.name))
    said = {"guidance" if name == "guidance_scale" else name: value for name, value in sampling.said.items()}
    asked = {key: getattr(arguments, key) for key in ("negative", "seed", "denoise")}
    read = {"prompt": arguments.prompt}
    if arguments.template is not None:
        read = {"template": arguments.template, "prompt": "\n".join(prompts)}
    for key, value in {**read, **asked, **said}.items():
        facts.add_itxt(key, str(value))
    for key, file in (("image", arguments.image), ("mask", arguments.mask)):
        facts.add_itxt(key, printable(file.name) if file else "")
    facts.add_itxt("control", printable(" ".join(arguments.control)))
    facts.add_itxt("lora", printable(" ".join(arguments.lora)))
    return facts


def run(arguments: argparse.Namespace) -> int:
    prompts = _prompts(arguments)
    check_prompts(prompts)
    sampling = options.sampling_of(arguments)
    if arguments.mask and not arguments.image:
        raise CourseError("--mask needs the --image that it is painted on")
    picture, mask = (open_picture(file) if file else None for file in (arguments.image, arguments.mask))
    hints = [parse_hint(text) for text in arguments.control]
    shown = [hint.picture() for hint in hints]
    model = options.model_of(arguments)
    controls = _controls(arguments, hints, shown, model)
    count, factor = len(prompts), arguments.scale
    _check(arguments, model, sampling, count)
    options.tell_unknown_words(model, arguments, prompts)
    seeds = range(arguments.seed, arguments.seed + count)
    if arguments.template is not None:
        print("\n".join(f"seed {seed}: {prompt}" for seed, prompt in zip(seeds, prompts, strict=True)))
    progress = options.picture_progress(count, "drawing")
    pictures = generate(
        model, prompts, seeds, sampling, progress, picture=picture, mask=mask, controls=controls
    )
    sheet = make_image_grid(pictures, 1, count)
    if factor > 1:
        sheet = sheet.resize((sheet.width * factor, sheet.height * factor), Image.Resampling.LANCZOS)
    facts = _facts(arguments, prompts, model, sampling)
    with atomic_path(arguments.output) as path:
        sheet.save(path, pnginfo=facts if path.suffix.lower() == ".png" else None)
    print(f"wrote {arguments.output}")
    return 0
