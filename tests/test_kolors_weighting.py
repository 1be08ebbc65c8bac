"""Weighted words against attention in which their exponentials are multiplied, as the definition has it."""

import pytest
import torch

from kolors_course.errors import CourseError
from kolors_course.kolors import Sampling, encode_prompts, encode_prompts_padded, generate, time_ids
from kolors_course.kolors.attention import prompt_words
from kolors_course.kolors.compact import TextBiasAttnProcessor, enable_text_bias
from kolors_course.kolors.prompts import PromptEmbeds, encode_texts, token_ids
from kolors_course.kolors.unet import conditioning_of, unet_noise
from kolors_course.kolors.weighting import token_weights
from kolors_course.kolors.words import unknown_note
from kolors_course.prompting import read_weights
from kolors_course.training.cache import Encoder
from kolors_course.training.sample_prompts import SamplePrompt, parse_sample_prompt

WEIGHTED = ["a (rabbit:1.7) in the [forest]", "夜晚雪地上的一只（兔子：0.4）"]
PLAIN = ["a rabbit in the forest", "夜晚雪地上的一只兔子"]
TOLERANCE = 1e-5  # as in test_kolors_prompts
QUICK = Sampling(2, 3.0)


class MultipliedExponentials(TextBiasAttnProcessor):
    """Attention by its definition: each share is w·exp(s), over the sum of all."""

    def __init__(self, multipliers: torch.Tensor):
        self.multipliers = multipliers  # (B, L)

    def mix(self, query, key, value, bias):
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
        if bias is None:  # self-attention
            return scores.softmax(-1) @ value
        shares = self.multipliers[:, None, None] * (scores - scores.amax(-1, keepdim=True)).exp()
        return shares / shares.sum(-1, keepdim=True) @ value


@torch.no_grad()
def encoded(model, prompts, encode=encode_prompts) -> PromptEmbeds:
    return encode(model.tokenizer, model.text_encoder, prompts)


@torch.no_grad()
def noise_of(model, prompts: PromptEmbeds) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    sample = torch.randn(1, 4, 8, 8, generator=generator).expand(len(prompts), -1, -1, -1)
    ids = time_ids(32, 32).expand(len(prompts), -1)
    return unet_noise(model, sample, torch.tensor(500), conditioning_of(prompts, ids))


def far(one: torch.Tensor, two: torch.Tensor) -> bool:
    return bool(((one - two).abs().amax((1, 2, 3)) > 100 * TOLERANCE).all())


def row_weights(model, prompts, rows: int = 256) -> torch.Tensor:
    """(B, 256): what each padded row weighs, from the words themselves."""
    table = {"▁rabbit": 1.7, "▁forest": 1 / 1.1, "兔子": 0.4}
    weights = torch.ones(len(prompts), rows)
    for row, prompt in zip(weights, prompts, strict=True):
        pieces = model.tokenizer.convert_ids_to_tokens(token_ids(model.tokenizer, prompt))
        assert set(table) & set(pieces)
        row[-len(pieces) :] = torch.tensor([table.get(piece, 1.0) for piece in pieces])
    return weights


@pytest.mark.parametrize("encode", [encode_prompts, encode_prompts_padded])
def test_a_weight_multiplies_the_words_share_before_shares_add_up_to_one(tiny_model, encode):
    weighted = noise_of(tiny_model, encoded(tiny_model, WEIGHTED, encode))
    padded = encoded(tiny_model, PLAIN, encode_prompts_padded)
    assert far(weighted, noise_of(tiny_model, padded))
    tiny_model.unet.set_attn_processor(MultipliedExponentials(row_weights(tiny_model, PLAIN)))
    try:
        explicit = noise_of(tiny_model, padded)
    finally:
        enable_text_bias(tiny_model.unet)
    torch.testing.assert_close(weighted, explicit, atol=TOLERANCE, rtol=TOLERANCE)


def test_weight_one_changes_no_bit(tiny_model):
    ones = ["a (rabbit:1) in the [(forest)]", "（夜晚雪地上的一只兔子:1.0）"]
    for encode in (encode_prompts, encode_prompts_padded):
        plain, weighted = (encoded(tiny_model, prompts, encode) for prompts in (PLAIN, ones))
        for name, tensor in vars(plain).items():
            assert torch.equal(tensor, vars(weighted)[name])


def test_weight_zero_removes_the_row_and_weight_two_doubles_it(tiny_model):
    plain = encoded(tiny_model, PLAIN[:1])
    place = [word.text for word in prompt_words(tiny_model.tokenizer, PLAIN[0])].index("rabbit")
    row = prompt_words(tiny_model.tokenizer, PLAIN[0])[place].row
    rows = list(range(plain.prompt_embeds.shape[1]))
    for weight, kept in ((0, [i for i in rows if i != len(rows) + row]), (2, [*rows, len(rows) + row])):
        by_hand = PromptEmbeds(
            plain.prompt_embeds[:, kept], plain.pooled_prompt_embeds, plain.text_bias[:, kept]
        )
        weighted = noise_of(tiny_model, encoded(tiny_model, [f"a (rabbit:{weight}) in the forest"]))
        torch.testing.assert_close(weighted, noise_of(tiny_model, by_hand), atol=TOLERANCE, rtol=TOLERANCE)


def test_rows_and_pooled_vector_stay_as_they_are(tiny_model):
    plain, weighted = encoded(tiny_model, PLAIN), encoded(tiny_model, WEIGHTED)
    assert torch.equal(plain.prompt_embeds, weighted.prompt_embeds)
    assert torch.equal(plain.pooled_prompt_embeds, weighted.pooled_prompt_embeds)
    assert torch.equal(weighted.with_length(40).text_bias[:, -4:], weighted.text_bias[:, -4:])


# Tokens


def weights_of(model, prompt: str, length: int = 256) -> list[tuple[str, float]]:
    read = read_weights(prompt)
    ids = token_ids(model.tokenizer, read.text, length)
    weights = token_weights(model.tokenizer, read, ids)
    pieces = model.tokenizer.convert_ids_to_tokens(ids)
    assert weights[:2] == (1, 1)
    return list(zip(pieces, weights, strict=True))[2:]


def test_a_token_that_is_cut_has_the_mean_of_its_characters(tiny_model):
    (_, first), (piece, weight) = weights_of(tiny_model, "a r(abb:2)it")
    assert (first, piece, weight) == (1, "▁rabbit", 1.5)


def test_all_bytes_of_a_character_weigh_what_it_does(tiny_model):
    found = weights_of(tiny_model, "(🦊:3) é(é:2)")
    assert [weight for piece, weight in found if piece.startswith("<0x")] == [3] * 4 + [1] * 2 + [2] * 2
    assert found[0] == ("▁", 1)


def test_what_the_tokenizer_rewrites_keeps_its_weight(tiny_model):
    assert dict(weights_of(tiny_model, "two   (ﬁelds:2)\nin  (snow:3)"))["▁snow"] == 3


def test_weights_behind_the_last_token_that_is_read_are_cut_as_well(tiny_model):
    assert weights_of(tiny_model, "a (cat:2) (dog:3)", 4) == weights_of(tiny_model, "a (cat:2) (dog:3)")[:2]
    long = encoded(tiny_model, ["a cat, " * 300 + "(dog:3)"])
    assert long.text_bias.eq(0).all()


def test_tokens_of_another_text_are_not_weighted_at_random(tiny_model):
    """As where a version of transformers takes </s> in a prompt for a special token."""
    for text, other in (("(cat:2)", "dog"), ("(a:2) </s> b", "a b")):
        with pytest.raises(CourseError, match="special token"):
            token_weights(tiny_model.tokenizer, read_weights(text), token_ids(tiny_model.tokenizer, other))


# Where prompts go


def pixels(model, prompt, **options):
    return generate(model, [prompt], [5], QUICK, **options)[0].tobytes()


def test_pictures_and_negatives_follow_weights(tiny_model):
    plain = pixels(tiny_model, PLAIN[0])
    assert pixels(tiny_model, "a (rabbit:1) in the forest") == plain
    assert pixels(tiny_model, "a (rabbit:4) in the forest") != plain
    away = [pixels(tiny_model, PLAIN[0], negatives=[text]) for text in ("a dog", "a (dog:1)", "a (dog:5)")]
    assert away[0] == away[1] != away[2]


def test_a_wrong_weight_is_refused_before_anything_is_drawn(tiny_model):
    drawn = []
    for prompts, negatives in ((["a cat", "a (dog"], None), (["a cat"] * 2, ["", "a :)"])):
        with pytest.raises(CourseError, match="at character [34], "):
            generate(
                tiny_model, prompts, [0, 1], Sampling(1, batch_size=1), drawn.append, negatives=negatives
            )
    assert drawn == []


def test_captions_are_letters_and_sample_prompts_are_prompts(tiny_model):
    text = "a (cat:2)"
    model = (tiny_model.tokenizer, tiny_model.text_encoder)
    with torch.no_grad():
        letters = encode_texts(*model, [text])
    for live in (False, True):
        encoder = Encoder(tiny_model, live_text=live)
        with torch.no_grad():
            caption, prompt = (encode([text]).rows([0]) for encode in (encoder.texts, encoder.prompts))
        torch.testing.assert_close(caption.prompt_embeds, letters.prompt_embeds)
        assert caption.text_bias[0, -1] == 0
        assert torch.equal(prompt.text_bias, encoded(tiny_model, [text]).text_bias)
        assert prompt.text_bias[0, -1] == pytest.approx(torch.tensor(2.0).log().item())


def test_sample_prompts_with_wrong_weights_are_refused_when_they_are_read():
    assert parse_sample_prompt("a (cat:2) --negative (dog)") == SamplePrompt("a (cat:2)", negative="(dog)")
    for text in ("a (cat", "a cat --negative a (dog"):
        with pytest.raises(CourseError, match="never closed"):
            parse_sample_prompt(text)


def test_words_are_known_with_weights_and_without(tiny_model):
    assert unknown_note(tiny_model, ["a (cat:1.3)", "[夜晚]"]) == ""
    assert "does not know: unicorn;" in unknown_note(tiny_model, ["a (unicorn:1.3)"])
    assert [word.text for word in prompt_words(tiny_model.tokenizer, "a (cat:1.3)")] == ["a", "cat"]
