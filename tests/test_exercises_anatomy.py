"""The exercises of notebook 05: right answers pass, and each likely mistake gets its own explanation."""

import math
import re

import pytest

from kolors_course.exercises import Right, anatomy


def test_the_right_bias_passes():
    assert isinstance(anatomy.check_pad_bias.reply(anatomy.pad_bias), Right)
    assert isinstance(anatomy.check_pad_bias.reply(lambda pads, kept: math.log(pads) - math.log(kept)), Right)


@pytest.mark.parametrize(
    ("bias", "message"),
    [
        (lambda pads, kept: math.log(kept / pads), "wrong way round"),
        (lambda pads, kept: pads / kept, "factor after exp"),
        (lambda pads, kept: math.log(pads), "when one row is kept"),
        (lambda pads, kept: math.log(pads - kept + 1), "quotient"),
        (lambda pads, kept: math.log2(pads / kept), "natural"),
        (lambda pads, kept: 0.0, "Without a bias"),
        (lambda pads, kept: 1.0, "For"),
        (lambda pads, kept: None, "gives back None"),
    ],
)
def test_wrong_biases_are_explained(bias, message):
    assert re.search(message, anatomy.check_pad_bias.reply(bias))


def test_the_right_width_passes_and_is_the_models(tiny_model):
    width = tiny_model.unet.config.projection_class_embeddings_input_dim
    assert isinstance(anatomy.check_condition_width.reply(width, tiny_model), Right)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (6 * 32, "size numbers alone"),
        (96, "summary alone"),
        (96 + 6, "bare number"),
        (96 + 32, "There are 6"),
        (96 + 4 * 32, "three pairs"),
        (7, "not it"),
        ("288", "not a number"),
    ],
)
def test_wrong_widths_are_explained(answer, message, tiny_model):
    assert (tiny_model.unet.config.encoder_hid_dim, tiny_model.unet.config.addition_time_embed_dim) == (
        96,
        32,
    )
    assert re.search(message, anatomy.check_condition_width.reply(answer, tiny_model))
