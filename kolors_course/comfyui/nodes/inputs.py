"""Types of the wires, and inputs that several nodes share."""

from collections.abc import Callable
from typing import Any

from comfy_api.v0_0_2 import io

from kolors_course.diffusion import SAMPLERS, SPACINGS, STOCHASTIC_SAMPLERS
from kolors_course.errors import CourseError
from kolors_course.kolors import KolorsModel, Sampling
from kolors_course.ranges import SEEDS

CATEGORY = "Kolors course"
KolorsModelWire = io.Custom("KOLORS_MODEL")
KolorsPromptWire = io.Custom("KOLORS_PROMPT")
# What leaves a setting to the model.
OWN: dict[str, Any] = {"steps": 0, "guidance_scale": -1.0, "sampler": "auto", "spacing": "auto"}


def model_input() -> io.Input:
    return KolorsModelWire.Input("model", tooltip="A Kolors model, with or without LoRAs.")


def seed_input() -> io.Input:
    return io.Int.Input(
        "seed",
        default=0,
        min=0,
        max=SEEDS - 1,
        control_after_generate=True,
        tooltip="Of the noise. The same seed and inputs give the same picture, here, in Python and on the command "
        "line.",
    )


def sampling_inputs() -> list[io.Input]:
    """How to sample; the fields of `kolors_course.kolors.Sampling`, each of which may be left to the model."""
    return [
        io.Int.Input(
            "steps",
            default=OWN["steps"],
            min=0,
            max=1000,
            tooltip="More steps, finer detail, more time. 0 is what the model, or its LoRA, wants.",
        ),
        io.Float.Input(
            "guidance_scale",
            default=OWN["guidance_scale"],
            min=-1.0,
            max=30.0,
            step=0.1,
            tooltip="How strictly the prompt is followed; 1 is no guidance, -1 what the model, or its LoRA, wants.",
        ),
        io.Combo.Input(
            "sampler",
            options=[OWN["sampler"], *SAMPLERS, *STOCHASTIC_SAMPLERS],
            default=OWN["sampler"],
            tooltip="auto is what the model, or its LoRA, wants.",
        ),
        io.Combo.Input(
            "spacing",
            options=[OWN["spacing"], *SPACINGS],
            default=OWN["spacing"],
            tooltip="Which noise levels the steps visit. auto is what the model, or its LoRA, wants.",
        ),
    ]


def size_inputs() -> list[io.Input]:
    return [
        io.Int.Input(name, default=0, min=0, max=4096, step=8, tooltip="Pixels; 0 is the model's own size.")
        for name in ("width", "height")
    ]


def complaint(check: Callable[[str], object], value: str | None) -> bool | str:
    """For `validate_inputs`: True, or what `check` says against a value. One from another node is not known yet."""
    try:
        if value is not None:
            check(value)
    except CourseError as error:
        return str(error)
    return True


def sampling_with(model: KolorsModel, width: int, height: int, **fields: Any) -> Sampling:
    """The settings that the inputs say; a side of 0, and a value of `OWN`, are the model's own."""
    own = model.default_size
    if OWN["guidance_scale"] < fields.get("guidance_scale", 0) < 0:
        raise CourseError(
            f"guidance_scale is {fields['guidance_scale']:g}; give 0 or more, or -1 for the model's own"
        )
    chosen = {name: value for name, value in fields.items() if name not in OWN or value != OWN[name]}
    return model.sampling.but(size=(width or own, height or own), **chosen)
