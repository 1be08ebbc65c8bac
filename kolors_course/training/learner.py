"""What learns in a LoRA training run: new matrices beside the U-Net's and, if asked for, the text encoder's."""

from dataclasses import replace
from typing import Any

from peft import get_peft_model_state_dict
from torch import Tensor, nn

from kolors_course.kolors.model import KolorsModel
from kolors_course.lora import (
    LoraSettings,
    add_lora,
    join_parts,
    load_lora_state_dict,
    lora_state_dict,
    split_parts,
    text_settings,
)
from kolors_course.lora.adapter import named_lora_parameters
from kolors_course.training.dropout import LoraDropout
from kolors_course.training.optimizers import LearningRates, parameter_groups
from kolors_course.training.randomness import INIT, generator_for
from kolors_course.training.recipe import LoraTraining


def learning_rates(recipe: LoraTraining) -> LearningRates:
    """How fast what learns, by the recipe."""
    text = recipe.text_learning_rate or recipe.learning_rate
    return LearningRates(recipe.learning_rate, text, recipe.loraplus_ratio or 1.0)


class LoraLearner:
    """A LoRA on `model`, new and drawn from the recipe's seed.

    Attributes:
        own: the model as it came, with the LoRA in it.
        model: the same with the U-Net as `wrap` got it.
        dropout: of what goes into the LoRA.
    """

    def __init__(self, model: KolorsModel, recipe: LoraTraining):
        self.own = self.model = model
        self.recipe = recipe
        for i, (module, settings) in enumerate(self._adapted()):
            key = (i,) if i else ()  # the U-Net's start is the same with and without a text encoder beside it
            add_lora(module, settings, generator=generator_for(recipe.seed, INIT, *key))
        if recipe.gradient_checkpointing:
            model.unet.enable_gradient_checkpointing()
        self.dropout = LoraDropout([module for module, _ in self._adapted()], recipe.lora_dropout)

    @property
    def module(self) -> nn.Module:
        """The U-Net, wrapped where several devices share it."""
        return self.model.unet

    def wrap(self, unet: nn.Module) -> None:
        """Run `unet`, which holds the own one: accelerate's mixed precision, or a part of it on each device."""
        self.model = replace(self.own, unet=unet)

    def groups(self) -> list[dict[str, Any]]:
        """The LoRA's tensors in groups of one learning rate each; FSDP cuts them up when the U-Net is wrapped."""
        return parameter_groups(self.networks(), learning_rates(self.recipe))

    def networks(self) -> list[dict[str, nn.Parameter]]:
        """What learns, by name, of each network."""
        return [named_lora_parameters(module) for module, _ in self._adapted()]

    def state(self) -> dict[str, Tensor]:
        """A copy of the LoRA's tensors as they are now."""
        parts = [lora_state_dict(module) for module, _ in self._adapted()]
        state = join_parts(parts[0], parts[1] if len(parts) > 1 else {})
        return {name: tensor.clone() for name, tensor in state.items()}

    def gathered(self, whole: dict[str, Tensor]) -> dict[str, Tensor]:
        """The LoRA's tensors out of all weights of the U-Net, which sharded devices have put together."""
        return get_peft_model_state_dict(self.own.unet, state_dict=whole)

    def load(self, state: dict[str, Tensor]) -> None:
        """Take over the tensors of a LoRA."""
        parts = [part for part in split_parts(state) if part]
        for (module, _), part in zip(self._adapted(), parts, strict=True):
            load_lora_state_dict(module, part)

    def _adapted(self) -> list[tuple[nn.Module, LoraSettings]]:
        """What learns, and how: the U-Net, and the text encoder if the recipe says so."""
        settings, text = self.recipe.settings, self.own.text_encoder
        beside = [(text, text_settings(settings))] if self.recipe.text_encoder_lora else []
        return [(self.own.unet, settings), *beside]
