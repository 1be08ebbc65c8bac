"""What the settings of a LoRA training run are called in config.yaml, and so on the command line and in messages.

These names stand here and not beside the flags: a training run writes config.yaml whoever starts it, a notebook too,
and what the file says is to be given to `train-lora --config`. Were they the command's, the library would have to
import the command that imports it. How a plan, a recipe or a model is said by flags is left to the command.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from kolors_course.training.differences import flatten
from kolors_course.training.recipe import LoraTraining

_OWN = {
    "steps": "--max_epochs x --steps_per_epoch",
    "warmup": "--warmup_steps",
    "gradient_accumulation": "--accumulate_grad_batches",
    "gradient_checkpointing": "--use_gradient_checkpointing",
    "settings.rank": "--lora_rank",
    "settings.alpha": "--lora_alpha",
    "settings.target_modules": "--lora_target_modules",
    "settings.init": "--init_lora_weights",
    "text_learning_rate": "--text_encoder_lr",
    "loraplus_ratio": "--loraplus_lr_ratio",
    "optimizer.name": "--optimizer",
    "optimizer.schedule": "--lr_schedule",
    "loss.kind": "--loss",
    "validation.share": "--validation_share",
    "validation.every": "--validate_every",
    "size": "--width, --height",
    "sample_prompts": "--sample_prompt",
    # what is not in the recipe
    "quantize": "--quantize",
    "processes": "number of processes",
    "data": "--dataset_path",
    "prior": "--prior_path",
    "pretrained": "--pretrained_lora_path",
    "model": "--model",
}
# path of a setting -> its flag, with the dashes that it has in messages
FLAGS = {path: f"--{path.split('.')[-1]}" for path, _ in flatten(asdict(LoraTraining()))} | _OWN

# flag -> what it does nothing without: another flag, and the value that has to have, if not just any
NEEDS: dict[str, tuple[str, str | None]] = {
    "prior_weight": ("prior_path", None),
    "huber_c": ("loss", "huber"),
    "validate_every": ("validation_share", None),
    "patience": ("validation_share", None),
    "sample_every": ("sample_prompt", None),
    "text_encoder_lr": ("text_encoder_lora", None),
    "init_lora_weights": ("adapter", "lora"),
    "tokenizer_path": ("pretrained_unet_path", None),
    "swanlab_mode": ("use_swanlab", None),
}


def has_what_it_needs(flag: str, values: Mapping[str, Any]) -> bool:
    """Whether `flag` does something beside `values`, by flag."""
    if flag not in NEEDS:
        return True
    other, wanted = NEEDS[flag]
    return values.get(other) == wanted if wanted else bool(values.get(other))


def flags_of(recipe: LoraTraining, precision: str, others: Mapping[str, Any]) -> dict[str, Any]:
    """The values of all flags that give `recipe` again, by the flag's name without dashes.

    Args:
        precision: what "auto" was decided to be.
        others: flags that are not in the recipe, such as dataset_path.
    """
    values = {FLAGS[path].removeprefix("--"): value for path, value in flatten(asdict(recipe))}
    for composed in ("max_epochs x --steps_per_epoch", "width, --height", "timesteps"):
        del values[composed]
    width, height = recipe.size or (None, None)
    values |= {
        "max_epochs": 1,
        "steps_per_epoch": recipe.steps * recipe.gradient_accumulation,
        "width": width,
        "height": height,
        "lora_target_modules": ",".join(recipe.settings.target_modules),
        "min_snr_gamma": recipe.loss.min_snr_gamma or 0,
        "precision": precision,
        "sample_prompt": [_plain(sample.to_dict()) for sample in recipe.sample_prompts],
    }
    values = {**others, **values}
    return {
        flag: value
        for flag, value in values.items()
        if value not in (None, "", [], ()) and has_what_it_needs(flag, values)
    }


def _plain(sample: dict[str, Any]) -> dict[str, Any] | str:
    return sample["prompt"] if len(sample) == 1 else sample
