"""Regional prompts: exact where one can say what they must do."""

import pytest
import torch

from kolors_course.errors import CourseError
from kolors_course.kolors import Region, Sampling, encode_prompts, generate, read_region, time_ids
from kolors_course.kolors.attention import attention_maps, record_attention
from kolors_course.kolors.prompts import PromptEmbeds, join
from kolors_course.kolors.regions import coverage, region_weights, with_regions
from kolors_course.kolors.unet import conditioning_of, unet_noise

PROMPT, OTHER = "a rabbit in the forest", "a cat on the beach"
ALL = (0.0, 0.0, 1.0, 1.0)
LATENT = (8, 8)
TOLERANCE = 1e-5
QUICK = Sampling(2, 3.0)


@torch.no_grad()
def encoded(model, prompt: str, regions=(), share: float = 0.3) -> PromptEmbeds:
    plain = encode_prompts(model.tokenizer, model.text_encoder, [prompt])
    return with_regions(model.tokenizer, model.text_encoder, plain, [regions], LATENT, share)


@torch.no_grad()
def noise_of(model, prompts: PromptEmbeds) -> torch.Tensor:
    sample = torch.randn(1, 4, *LATENT, generator=torch.Generator().manual_seed(3))
    ids = time_ids(32, 32).expand(len(prompts), -1)
    return unet_noise(
        model, sample.expand(len(prompts), -1, -1, -1), torch.tensor(500), conditioning_of(prompts, ids)
    )


def close(one: torch.Tensor, two: torch.Tensor) -> None:
    torch.testing.assert_close(one, two, atol=TOLERANCE, rtol=TOLERANCE)


def test_a_box_covers_the_exact_part_of_each_cell():
    covered = coverage((0.25, 0.0, 0.625, 0.5), (2, 4))
    assert covered.tolist() == [[0, 1, 0.5, 0], [0, 0, 0, 0]]
    box = (0.13, 0.2, 0.77, 0.91)
    assert coverage(box, (16, 8)).sum() / 128 == pytest.approx(0.64 * 0.71)


def test_weights_add_up_to_one_also_where_boxes_overlap():
    regions = [Region("a", (0, 0, 0.6, 1)), Region("b", (0.4, 0.2, 1, 0.7))]
    weights = region_weights(regions, LATENT, 0.25)
    assert weights.shape == (3, *LATENT)
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(0), torch.ones(LATENT))
    assert weights[:, 0, 0].tolist() == [0.25, 0.75, 0]  # only the first is there
    assert weights[:, 4, 3].tolist() == pytest.approx(
        [0.25, 0.75 / 1.8, 0.6 / 1.8]
    )  # 1 and 0.8 of it covered
    assert weights[:, 0, 7].tolist() == [1, 0, 0]


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("boxes", [[ALL], [(0, 0, 0.37, 0.8), (0.2, 0.1, 1, 1)]])
def test_regions_with_the_pictures_own_prompt_change_nothing(tiny_model, boxes, share):
    regional = encoded(tiny_model, PROMPT, [Region(PROMPT, box) for box in boxes], share)
    close(noise_of(tiny_model, regional), noise_of(tiny_model, encoded(tiny_model, PROMPT)))


def test_one_region_that_covers_all_is_its_prompt(tiny_model):
    regional = encoded(tiny_model, PROMPT, [Region(OTHER, ALL)], 0.0)
    other = encoded(tiny_model, OTHER)
    expected = PromptEmbeds(
        other.prompt_embeds, encoded(tiny_model, PROMPT).pooled_prompt_embeds, other.text_bias
    )
    close(noise_of(tiny_model, regional), noise_of(tiny_model, expected))
    assert not torch.allclose(
        noise_of(tiny_model, regional), noise_of(tiny_model, encoded(tiny_model, PROMPT)), atol=1e-3
    )


def test_outside_its_box_a_region_weighs_nothing_and_all_without_a_base_inside(tiny_model):
    box = (0.0, 0.0, 0.5, 1.0)  # on the edges of the cells of every layer
    regional = encoded(tiny_model, PROMPT, [Region(OTHER, box)], 0.0)
    rows = regional.prompt_embeds.shape[1] // 2  # of each prompt
    with record_attention(tiny_model.unet) as records:
        noise_of(tiny_model, regional)
    assert {record.weights.shape[1] for record in records} >= {16, 4}
    for record in records:
        side = round(record.weights.shape[1] ** 0.5)
        shares = record.weights[0].unflatten(0, (side, side))
        close(shares.sum(-1), torch.ones(side, side))
        assert (shares[:, side // 2 :, rows:] == 0).all()
        assert (shares[:, : side // 2, :rows] == 0).all()
    assert attention_maps(records, LATENT).shape == (1, 2 * rows, *LATENT)


def test_pictures_with_and_without_regions_go_in_one_batch(tiny_model):
    regions = [[Region(OTHER, (0, 0, 0.5, 1))], [], [Region("夜晚", (0.5, 0, 1, 1)), Region("a fox", ALL)]]
    together = join([encoded(tiny_model, PROMPT, each) for each in regions])
    for i, each in enumerate(regions):
        close(
            noise_of(tiny_model, together)[i : i + 1], noise_of(tiny_model, encoded(tiny_model, PROMPT, each))
        )


def test_generate_draws_with_regions_and_without_them_as_ever(tiny_model):
    def drawn(prompt=PROMPT, **more):
        return generate(tiny_model, [prompt], [1], QUICK, **more)[0].tobytes()

    assert drawn(regions=[[]]) == drawn()
    assert drawn(regions=[[Region(OTHER, (0, 0, 0.5, 1))]]) != drawn()
    switched = "a rabbit in the [forest:city:0.5]"
    assert drawn(switched, regions=[[Region(OTHER, (0, 0, 0.5, 1))]]) != drawn(switched)
    with pytest.raises(CourseError, match="1 prompts but regions for 2"):
        drawn(regions=[[], []])


def test_the_grammar():
    assert read_region("a cat@0.1,0.4,0.5,0.9") == Region("a cat", (0.1, 0.4, 0.5, 0.9))
    assert read_region(" 一只猫@家 @ 0, 0 ,1,1").prompt == "一只猫@家"


@pytest.mark.parametrize(
    "text", ["", "a cat", "a cat@", "@0,0,1,1", "a cat@0,0,1", "a cat@0,0,1,1,1", "a cat@a,b,c,d"]
)
def test_a_text_that_is_no_region(text):
    with pytest.raises(CourseError, match="PROMPT@LEFT,TOP,RIGHT,BOTTOM"):
        read_region(text)


@pytest.mark.parametrize(
    "box", [(0.5, 0, 0.5, 1), (0, 1, 1, 0), (-0.1, 0, 1, 1), (0, 0, 1.1, 1), (float("nan"), 0, 1, 1)]
)
def test_a_box_that_is_none(box):
    with pytest.raises(CourseError, match="left < right"):
        Region("a cat", box)


def test_what_else_is_refused(tiny_model):
    with pytest.raises(CourseError, match="changes on the way"):
        Region("a [cat:dog:0.4]", ALL)
    with pytest.raises(CourseError, match="at most 16 regions"):
        encoded(tiny_model, PROMPT, [Region("a", ALL)] * 17)
    with pytest.raises(CourseError, match="share"):
        encoded(tiny_model, PROMPT, [Region("a", ALL)], 1.5)
