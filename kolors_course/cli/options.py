"""From flags that several commands share to what they mean, and what commands print alike."""

import argparse
from collections.abc import Callable, Iterable
from dataclasses import replace

from tqdm.auto import tqdm

from kolors_course.errors import CourseError
from kolors_course.kolors import (
    KolorsModel,
    Sampling,
    current_profile,
    diffusers_layout,
    load_model,
    load_profile,
    read_sampling,
)
from kolors_course.kolors.words import unknown_note
from kolors_course.lora import load_lora, parse_lora_argument, with_wishes
from kolors_course.lora.origin import is_foreign
from kolors_course.lora.triggers import trigger_words
from kolors_course.lora.wishes import sampling_wish, wish_text
from kolors_course.platform.device import limit_threads, pick_device
from kolors_course.prompting import check_prompts


def present_sampling(arguments: argparse.Namespace) -> Sampling:
    """How --model (or the profile's) with every --lora is drawn where no flag says otherwise; nothing is loaded.

    Raises:
        CourseError: there is no such model, or it or a LoRA says it wrongly.
    """
    folder = arguments.model or current_profile().present_folder()
    loras = [parse_lora_argument(text)[0] for text in arguments.lora]
    return with_wishes(read_sampling(diffusers_layout(folder).sampling), loras)


def sampling_of(arguments: argparse.Namespace) -> Sampling:
    """The sampling that the flags ask for; what they leave open is `present_sampling`.

    Raises:
        CourseError: numbers that do not go together, wrong weights in --negative, a flag that would have no effect,
            or see `present_sampling`.
    """
    flags = {
        "steps": arguments.steps,
        "guidance_scale": arguments.guidance,
        "sampler": arguments.sampler,
        "spacing": arguments.spacing,
        "size": getattr(arguments, "size", None),
    }
    check_prompts([getattr(arguments, "negative", "")])
    sampling = present_sampling(arguments).but(
        **{name: value for name, value in flags.items() if value is not None},
        negative_prompt=getattr(arguments, "negative", ""),
        denoise=getattr(arguments, "denoise", 1.0),
        batch_size=arguments.batch_size,
    )
    if sampling.negative_prompt and sampling.guidance_scale <= 1:
        raise CourseError("--negative has no effect at a --guidance of 1 or less; give more guidance")
    return sampling


def model_of(arguments: argparse.Namespace) -> KolorsModel:
    """Load --model (or the profile's) with every --lora, telling what was applied."""
    limit_threads()
    profile = current_profile()
    loras = [parse_lora_argument(text) for text in getattr(arguments, "lora", [])]
    if arguments.model:
        model = load_model(arguments.model, pick_device(arguments.device), profile.dtype)
    else:
        model = load_profile(profile, arguments.device)
    for path, strength in loras:
        report = load_lora(model.unet, path, strength, text_encoder=model.text_encoder)
        origin = f", made for {report.made_for}" if is_foreign(report.made_for) else ""
        wish = wish_text(sampling_wish(path))
        print(
            f"LoRA {path}: {report.matched} of {report.expected} tensors, strength {strength:g}{origin}"
            f"{wish and f', wants {wish}'}"
        )
    return replace(model, sampling=with_wishes(model.sampling, [path for path, _ in loras]))


def tell_unknown_words(model: KolorsModel, arguments: argparse.Namespace, prompts: Iterable[str]) -> None:
    """Say which words of the prompts neither Kolors-mini knows nor a --lora calls its own."""
    known = [word for lora in arguments.lora for word in trigger_words(parse_lora_argument(lora)[0])]
    if note := unknown_note(model, prompts, known):
        print(note)


def picture_progress(total: int, description: str) -> Callable[[int], None]:
    """A progress bar and the callback that moves it."""
    bar = tqdm(total=total, desc=description, unit="picture", disable=None)

    def advance(done: int) -> None:
        bar.update(done - bar.n)
        if done >= total:
            bar.close()

    return advance
