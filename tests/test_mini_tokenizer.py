"""Carrying word embeddings from one tokenizer to another."""

import pytest
import torch

from kolors_course.mini import tokenizer as made
from kolors_course.mini.tokenizer import build_tokenizer, carry_embeddings


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return build_tokenizer(tmp_path_factory.mktemp("tokenizer"), captions=2000)


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """Made from other captions, and with a word of its own."""
    words = made._chinese_words()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(made, "_chinese_words", lambda: [*words, "兔子风格"])
        return build_tokenizer(tmp_path_factory.mktemp("other"), captions=3000, seed=1)


@pytest.fixture
def weight(tokenizer):
    return torch.randn(tokenizer.vocab_size, 4, generator=torch.Generator().manual_seed(0))


def test_the_same_tokenizer_changes_nothing(tokenizer, weight):
    assert torch.equal(carry_embeddings(weight, tokenizer, tokenizer), weight)


def test_known_pieces_keep_their_rows_and_new_ones_are_spelt(tokenizer, other, weight):
    before, after = tokenizer.tokenizer.sp_model, other.tokenizer.sp_model
    carried = carry_embeddings(weight, tokenizer, other)
    for word in ("兔子", "风格", "▁rabbit", "<s>"):
        assert torch.equal(carried[after.piece_to_id(word)], weight[before.piece_to_id(word)])
    spelt = [before.piece_to_id(piece) for piece in before.encode("兔子风格", out_type=str)]
    assert torch.equal(carried[after.piece_to_id("兔子风格")], weight[spelt].mean(0))
    assert torch.equal(carried[after.vocab_size() :], weight[before.vocab_size() :])  # [gMASK], sop, ...
