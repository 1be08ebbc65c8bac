"""Compacted prompts against padded ones and against the stock pipeline."""

from dataclasses import replace

import pytest
import torch
from diffusers import KolorsPipeline
from diffusers.pipelines.kolors.tokenizer import ChatGLMTokenizer

from kolors_course.kolors import PromptEmbeds, encode_prompts, encode_prompts_padded, time_ids
from kolors_course.kolors.compact import additive_attention, compact_inputs
from kolors_course.kolors.prompts import join, token_ids
from kolors_course.kolors.unet import conditioning_of, unet_noise

LONG = "a small cat and a big red car on the beach at sunset, " * 40  # far more than 256 tokens
BATCHES = {
    "different lengths": ["a rabbit", "夜晚雪地上的一只兔子", "a big car and a house in the city at sunset"],
    "empty": [""],
    "empty beside others": ["", "a cat"],
    "longer than 256 tokens": [LONG],
    "long beside short": [LONG, "a cat", ""],
}
TOLERANCE = 1e-5  # float32, sums of 256 terms in another order; the outputs are of size 1


@pytest.fixture(scope="module")
def pipe(tiny_folder):
    pipeline = KolorsPipeline.from_pretrained(tiny_folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def lengths_of(model, prompts):
    return [len(token_ids(model.tokenizer, prompt)) for prompt in prompts]


@torch.no_grad()
def noise_of(model, prompts: PromptEmbeds) -> torch.Tensor:
    """The U-Net's answer to the prompts at one fixed noisy sample."""
    sample = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(3)).expand(
        len(prompts), -1, -1, -1
    )
    ids = time_ids(32, 32).expand(len(prompts), -1)
    return unet_noise(model, sample, torch.tensor(500), conditioning_of(prompts, ids))


@torch.no_grad()
def both(model, prompts, length=256):
    arguments = (model.tokenizer, model.text_encoder, prompts, length)
    return encode_prompts(*arguments), encode_prompts_padded(*arguments)


@pytest.mark.parametrize("prompts", BATCHES.values(), ids=BATCHES.keys())
def test_compacted_prompts_equal_padded_ones(tiny_model, prompts):
    compact, padded = both(tiny_model, prompts)
    torch.testing.assert_close(
        compact.pooled_prompt_embeds, padded.pooled_prompt_embeds, atol=TOLERANCE, rtol=TOLERANCE
    )
    rows = compact.prompt_embeds.shape[1]
    assert rows == min(256, max(lengths_of(tiny_model, prompts)) + 1)
    for short, full, length in zip(
        compact.prompt_embeds, padded.prompt_embeds, lengths_of(tiny_model, prompts), strict=True
    ):
        torch.testing.assert_close(short[-length:], full[-length:], atol=TOLERANCE, rtol=TOLERANCE)
        pads = short[: rows - length]
        torch.testing.assert_close(pads, full[: len(pads)], atol=TOLERANCE, rtol=TOLERANCE)
    torch.testing.assert_close(
        noise_of(tiny_model, compact), noise_of(tiny_model, padded), atol=TOLERANCE, rtol=TOLERANCE
    )


@pytest.mark.parametrize("prompts", BATCHES.values(), ids=BATCHES.keys())
def test_padded_prompts_equal_the_stock_pipeline(tiny_model, pipe, prompts):
    _, padded = both(tiny_model, prompts)
    with torch.no_grad():
        embeds, _, pooled, _ = pipe.encode_prompt(list(prompts), do_classifier_free_guidance=False)
    # Torch 2.3 adds up in another order without a cache, which ours does not keep: 6e-7.
    torch.testing.assert_close(padded.prompt_embeds, embeds, atol=2e-6, rtol=1e-5)
    torch.testing.assert_close(padded.pooled_prompt_embeds, pooled, atol=2e-6, rtol=1e-5)


def test_the_unet_answers_compacted_prompts_as_the_stock_unet_answers_padded_ones(tiny_model, pipe):
    prompts = ["a cat", "夜晚雪地上的一只兔子"]
    sample = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(3)).expand(2, -1, -1, -1)
    with torch.no_grad():
        embeds, _, pooled, _ = pipe.encode_prompt(prompts, do_classifier_free_guidance=False)
        conditions = {"text_embeds": pooled, "time_ids": time_ids(32, 32).expand(2, -1)}
        stock = pipe.unet(sample, 500, embeds, added_cond_kwargs=conditions).sample
        compact, _ = both(tiny_model, prompts)
    torch.testing.assert_close(noise_of(tiny_model, compact), stock, atol=TOLERANCE, rtol=TOLERANCE)


def test_dropping_pad_rows_without_the_bias_is_noticed(tiny_model):
    """The naive shortening: the same rows, but every pad row counts only once."""
    prompts = BATCHES["different lengths"]
    compact, padded = both(tiny_model, prompts)
    naive = replace(compact, text_bias=torch.zeros_like(compact.text_bias))
    real = torch.zeros_like(compact.text_bias)
    for row, length in zip(real, lengths_of(tiny_model, prompts), strict=True):
        row[:-length] = float("-inf")
    for wrong in (naive, replace(compact, text_bias=real)):
        difference = (noise_of(tiny_model, wrong) - noise_of(tiny_model, padded)).abs().amax((1, 2, 3))
        assert (difference > 1000 * TOLERANCE).all()


def test_the_text_encoder_needs_the_bias_too(tiny_model):
    """Pad rows look at pad rows: cut without a bias they are other vectors."""
    compact, padded = both(tiny_model, ["a rabbit"])
    with torch.no_grad():
        short = encode_prompts_padded(
            tiny_model.tokenizer, tiny_model.text_encoder, ["a rabbit"], compact.prompt_embeds.shape[1]
        )
    assert (short.prompt_embeds[0, 0] - padded.prompt_embeds[0, 0]).abs().max() > 1e-2
    torch.testing.assert_close(
        short.prompt_embeds[0, 1:], padded.prompt_embeds[0, -len(short.text_bias[0]) + 1 :]
    )


@pytest.mark.parametrize("length", [8, 77, 255])
def test_other_sequence_lengths(tiny_model, length):
    prompts = ["", "a rabbit", LONG]
    for chosen in (prompts[:2], prompts):
        compact, padded = both(tiny_model, chosen, length)
        assert padded.prompt_embeds.shape[1] == length
        torch.testing.assert_close(
            noise_of(tiny_model, compact), noise_of(tiny_model, padded), atol=TOLERANCE, rtol=TOLERANCE
        )


def test_the_sequence_length_matters(tiny_model):
    """Training at 77 tokens and drawing at 256 are different models."""
    short, _ = both(tiny_model, ["a rabbit"], 77)
    full, _ = both(tiny_model, ["a rabbit"])
    assert (noise_of(tiny_model, short) - noise_of(tiny_model, full)).abs().max() > 1000 * TOLERANCE


def test_gradients_are_those_of_the_padded_encoding(tiny_model):
    """On a CPU with gradients another attention formula is used; values and gradients must agree."""
    gradients = []
    for encode in (encode_prompts, encode_prompts_padded):
        embedding = tiny_model.text_encoder.get_input_embeddings().weight.requires_grad_(True)
        prompts = encode(tiny_model.tokenizer, tiny_model.text_encoder, ["a rabbit", "夜晚"])
        ids = time_ids(32, 32).expand(2, -1)
        sample = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(3))
        noise = unet_noise(tiny_model, sample, torch.tensor(500), conditioning_of(prompts, ids))
        gradients.append(torch.autograd.grad(noise.square().mean(), embedding)[0])
        embedding.requires_grad_(False)
    assert gradients[0].abs().max() > 1e-3
    # Gradients add up over 256 rows and two networks; 1e-4 of the largest is float32 rounding.
    scale = float(gradients[1].abs().max())
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-4 * scale, rtol=0)


def test_the_bias_of_a_row_is_the_log_of_how_many_it_stands_for():
    real, bias, mask = compact_inputs(torch.tensor([2, 3, 5]), 6, 8)
    assert real.sum(1).tolist() == [2, 3, 5]
    # Six rows are kept: 4, 3 and 1 pads stand for 6, 5 and 3.
    expected = torch.tensor([6 / 4, 5 / 3, 3 / 1]).log()
    torch.testing.assert_close(bias[:, 0], expected)
    assert bias[real].eq(0).all()
    counts = bias.exp().sum(1)  # with the bias, every prompt has the weight of all 8 rows
    torch.testing.assert_close(counts, torch.full((3,), 8.0))
    assert mask.shape == (3, 1, 6, 6)
    assert mask[0, 0, 5].tolist() == [float("-inf")] * 4 + [0, 0]


def test_a_full_prompt_needs_no_bias():
    real, bias, _ = compact_inputs(torch.tensor([8, 3]), 8, 8)
    assert real[0].all()
    assert bias.eq(0).all()  # five pads stand for five


def test_joined_batches_answer_as_before(tiny_model):
    one, _ = both(tiny_model, ["a cat"])
    two, _ = both(tiny_model, ["夜晚雪地上的一只兔子", ""])
    joined = join([one, two])
    expected = torch.cat([noise_of(tiny_model, one), noise_of(tiny_model, two)])
    torch.testing.assert_close(noise_of(tiny_model, joined), expected, atol=TOLERANCE, rtol=TOLERANCE)
    torch.testing.assert_close(
        noise_of(tiny_model, joined.rows([2, 0])), expected[[2, 0]], atol=TOLERANCE, rtol=0
    )


def test_the_stock_attention_comes_back(tiny_model):
    stock = [layer.self_attention.core_attention for layer in tiny_model.text_encoder.encoder.layers]
    with pytest.raises(ZeroDivisionError), additive_attention(tiny_model.text_encoder):
        raise ZeroDivisionError
    assert [layer.self_attention.core_attention for layer in tiny_model.text_encoder.encoder.layers] == stock


ODD_PROMPTS = [
    "",
    " ",
    "  two  spaces ",
    "line\nbreak",
    "a </s> b",
    "<unk>",
    "[gMASK] sop",
    "🦊 狐狸",
    "<|user|> hi",
]


@pytest.mark.parametrize("prompt", [*ODD_PROMPTS, "夜晚雪地上的一只兔子", LONG])
@pytest.mark.parametrize("length", [4, 256])
def test_token_ids_are_the_tokenizers(tiny_model, prompt, length):
    ids = token_ids(tiny_model.tokenizer, prompt, length)
    encoded = tiny_model.tokenizer([prompt], padding="max_length", max_length=length, truncation=True)
    mask = encoded["attention_mask"][0]
    assert ids == [i for i, real in zip(encoded["input_ids"][0], mask, strict=True) if real]
    assert ids[:2] == tiny_model.tokenizer.get_prefix_tokens()


def test_a_piece_called_like_a_special_token_is_read_as_the_stock_tokenizer_reads_it(tmp_path):
    """ChatGLMTokenizer goes from text to pieces to ids, and takes a piece "sop" for the special token."""
    import sentencepiece

    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["philosophy of sop sopa"] * 20),
        model_prefix=str(tmp_path / "tokenizer"),
        vocab_size=40,
        model_type="bpe",
        user_defined_symbols=["sop"],
        unk_id=0,
        bos_id=1,
        eos_id=2,
        pad_id=-1,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    tokenizer = ChatGLMTokenizer(str(tmp_path / "tokenizer.model"))
    ids = token_ids(tokenizer, "philosophy")
    assert ids == tokenizer(["philosophy"])["input_ids"][0]
    assert ids[2:].count(tokenizer.get_command("sop")) == 1
    assert tokenizer.get_command("sop") not in tokenizer.tokenizer.encode("philosophy")
