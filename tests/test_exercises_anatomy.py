"""The exercises of notebook 05: right answers pass, and each likely mistake gets its own explanation."""

import math
import re

import pytest
import torch

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


def test_the_block_by_hand_is_the_blocks_own(tiny_model):
    block = tiny_model.unet.mid_block.attentions[0].transformer_blocks[0]
    x, words = torch.randn(2, 6, 64), torch.randn(2, 4, block.attn2.to_k.in_features)
    with torch.no_grad():
        own, by_hand = block(x, encoder_hidden_states=words), anatomy.transformer_block(block, x, words)
    torch.testing.assert_close(own, by_hand)
    assert isinstance(anatomy.check_transformer_block.reply(anatomy.transformer_block, tiny_model), Right)


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (anatomy._without_sums, "sums are missing"),
        (anatomy._without_norms, "norms are missing"),
        (anatomy._sums_of_norms, "only for the part"),
        (anatomy._cross_first, "The order"),
        (anatomy._side_by_side, "One after the other"),
        (anatomy._wordless, "words have no say"),
        (anatomy._without_feed_forward, "last part is missing"),
        (lambda block, x, words: x, "For"),
        (lambda block, x, words: None, "gives back None"),
        (lambda block, x, words: block.attention(x), "AttributeError"),
        (lambda block, x, words: words, "shape"),
        (lambda block, x: x, "It is called as"),
        (lambda block, x, words: ..., "Yours to write"),
    ],
)
def test_wrong_blocks_are_explained(forward, message, tiny_model):
    assert re.search(message, anatomy.check_transformer_block.reply(forward, tiny_model))
