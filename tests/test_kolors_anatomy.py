"""Taking Kolors apart: recorded attention, counted costs, and the skeleton of the full model."""

import pytest
import torch

from kolors_course.errors import CourseError
from kolors_course.kolors import encode_prompts
from kolors_course.kolors.attention import AttentionRecord, attention_maps, prompt_words, record_attention
from kolors_course.kolors.budget import decoder_cost, text_encoder_cost, unet_costs
from kolors_course.kolors.prompts import encode_prompts_padded
from kolors_course.kolors.skeleton import (
    kolors_skeleton,
    kolors_text_encoder_skeleton,
    kolors_vae_skeleton,
    skeleton_of,
)
from kolors_course.kolors.unet import conditioning_of, time_ids, unet_noise

PROMPT = "夜晚雪地上的一只兔子"


@torch.no_grad()
def predict(model, encoded):
    ids = time_ids(32, 32)[None]
    sample = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    return unet_noise(model, sample, torch.tensor(500.0), conditioning_of(encoded, ids))


def test_recording_changes_nothing_and_is_undone(tiny_model):
    encoded = encode_prompts(tiny_model.tokenizer, tiny_model.text_encoder, [PROMPT])
    plain = predict(tiny_model, encoded)
    before = dict(tiny_model.unet.attn_processors)
    with record_attention(tiny_model.unet) as records:
        torch.testing.assert_close(predict(tiny_model, encoded), plain)
    assert tiny_model.unet.attn_processors == before
    assert len(records) == sum(".attn2." in name for name in before)
    for record in records:
        torch.testing.assert_close(record.weights.sum(dim=2), torch.ones(record.weights.shape[:2]))


def test_words_get_the_same_attention_compacted_or_padded(tiny_model):
    maps = []
    for encode in (encode_prompts, encode_prompts_padded):
        encoded = encode(tiny_model.tokenizer, tiny_model.text_encoder, [PROMPT])
        with record_attention(tiny_model.unet) as records:
            predict(tiny_model, encoded)
        maps.append(attention_maps(records, (8, 8)))
    words = prompt_words(tiny_model.tokenizer, PROMPT)
    assert maps[0].shape[2:] == (8, 8)
    for word in words:
        torch.testing.assert_close(maps[0][:, word.row], maps[1][:, word.row], rtol=1e-3, atol=1e-5)


def test_words_are_the_prompt(tiny_model):
    words = prompt_words(tiny_model.tokenizer, PROMPT)
    assert "".join(word.text for word in words) == PROMPT
    assert [word.row for word in words] == list(range(-len(words), 0))


def test_maps_keep_their_place():
    weights = torch.zeros(1, 4, 2)
    weights[0, 1, 1] = 1.0  # upper right cell of a 2 x 2 grid
    (grid,) = attention_maps([AttentionRecord("layer", weights)], (2, 2))
    assert grid[1].tolist() == [[0.0, 1.0], [0.0, 0.0]]
    oblong = attention_maps([AttentionRecord("layer", torch.rand(1, 8, 3))], (4, 8))
    assert oblong.shape == (1, 3, 4, 8)


def test_no_records_are_refused():
    with pytest.raises(CourseError, match="record_attention"):
        attention_maps([], (8, 8))


def test_the_parts_add_up_to_the_whole(tiny_model):
    costs = unet_costs(tiny_model.unet)
    assert sum(cost.parameters for cost in costs) == sum(p.numel() for p in tiny_model.unet.parameters())
    assert [cost.name for cost in costs][:4] == [
        "time_embedding",
        "add_embedding",
        "encoder_hid_proj",
        "conv_in",
    ]
    assert costs[-1].name == "conv_out"


def test_operations_are_counted_right(tiny_model):
    costs = {cost.name: cost for cost in unet_costs(tiny_model.unet, text_rows=10)}
    projection = tiny_model.unet.encoder_hid_proj
    assert costs["encoder_hid_proj"].flops == 2 * 10 * projection.in_features * projection.out_features
    width = tiny_model.unet.config.block_out_channels[0]
    assert costs["conv_in"].flops == 2 * 8 * 8 * 4 * 9 * width
    assert unet_costs(tiny_model.unet, 20)[2].flops == 2 * costs["encoder_hid_proj"].flops


def test_full_kolors_costs_what_is_published():
    costs = unet_costs(kolors_skeleton())
    assert sum(cost.parameters for cost in costs) == 2_579_458_820
    assert 6.5e12 < sum(cost.flops for cost in costs) < 7.5e12
    vae, reader = kolors_vae_skeleton(), kolors_text_encoder_skeleton()
    assert sum(p.numel() for p in vae.parameters()) == 83_653_863
    cost = text_encoder_cost(reader)
    assert cost.parameters == 6_243_584_000
    assert cost.flops == pytest.approx(2 * 28 * 203_960_832 * 256, rel=0.02)  # two for each weight and row
    assert decoder_cost(vae, 128).flops > 5e12


def test_meta_copies_leave_the_model_alone(tiny_model):
    copy = skeleton_of(tiny_model.unet)
    assert next(copy.parameters()).device.type == "meta"
    assert tiny_model.unet.device.type == "cpu"
