"""Prompts that change on the way: each step asks with the prompt of its share, to the bit."""

import pytest
import torch

from kolors_course.diffusion import get_sampler
from kolors_course.kolors import (
    Sampling,
    draw_latents,
    encode_prompts,
    generate,
    initial_latents,
    prompt_denoiser,
)
from kolors_course.kolors.stages import encode_stages, first_timesteps, join_stages, switched

STEPS = 5
SAMPLERS = ["euler", "heun", "dpm++2m", "unipc", "lcm"]


def settings(sampler: str = "euler", guidance: float = 3.0, **options) -> Sampling:
    return Sampling(STEPS, guidance, sampler, **options)


def pixels(model, prompt: str, sampling: Sampling | None = None, negative: str = "") -> bytes:
    return generate(model, [prompt], [5], sampling or settings(), negatives=[negative])[0].tobytes()


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_switch_at_either_end_is_a_prompt_alone_to_the_bit(tiny_model, sampler):
    drawn = {text: pixels(tiny_model, f"a {text}", settings(sampler)) for text in ("cat", "dog")}
    assert drawn["cat"] != drawn["dog"]
    for switch, alone in (("[cat:dog:1]", "cat"), ("[cat:dog:0]", "dog"), ("[cat:cat:0.5]", "cat")):
        assert pixels(tiny_model, f"a {switch}", settings(sampler)) == drawn[alone]
    # The last step is the one at 0.8; there is none from there to the end.
    assert pixels(tiny_model, "a [cat:dog:0.81]", settings(sampler)) == drawn["cat"]
    between = pixels(tiny_model, "a [cat:dog:0.5]", settings(sampler))
    assert between not in drawn.values()


@pytest.mark.parametrize("sampler", ["euler", "dpm++2m", "unipc"])
def test_each_step_asks_with_the_prompt_of_its_share(tiny_model, sampler):
    """Against a walk in which the prompt is changed by counting steps."""
    model, sampling = tiny_model, settings(sampler)
    encode = (model.tokenizer, model.text_encoder)
    with torch.no_grad():
        cat, dog, empty = (encode_prompts(*encode, [text]) for text in ("a cat", "a dog", ""))
        noise = initial_latents(model, [5], 32, 32)
        first, second = (prompt_denoiser(model, p, empty, sampling, (8, 8)) for p in (cat, dog))
        asked = []

        def denoise(sample, timestep):
            asked.append(float(timestep))
            return (first if len(asked) <= 2 else second)(sample, timestep)

        *_, by_hand = get_sampler(sampler)(denoise, noise, model.schedule, STEPS)
        staged = encode_stages(*encode, ["a [cat:dog:0.4]"])
        latents = draw_latents(model, staged, empty, [5], settings(sampler, size=(32, 32)))
    assert len(asked) == STEPS
    assert torch.equal(latents, by_hand.sample)


def test_a_negative_is_switched_on(tiny_model):
    plain, always = pixels(tiny_model, "a cat"), pixels(tiny_model, "a cat", negative="fox")
    assert plain != always
    assert pixels(tiny_model, "a cat", negative="[:fox:0]") == always
    assert pixels(tiny_model, "a cat", negative="[:fox:1]") == plain
    assert pixels(tiny_model, "a cat", negative="[:fox:0.4]") not in (plain, always)
    unguided = settings(guidance=1.0)
    assert pixels(tiny_model, "a cat", unguided, "[:fox:0.4]") == pixels(tiny_model, "a cat", unguided)


def test_a_picture_does_not_depend_on_its_neighbours(tiny_model):
    prompts, negatives = ["a [cat:dog:0.4]", "a fox", "[:a fox:0.7]"], ["", "[:snow:0.2]", "night"]
    together = generate(tiny_model, prompts, [1, 2, 3], settings(), negatives=negatives)
    for i, picture in enumerate(together):
        (alone,) = generate(tiny_model, [prompts[i]], [1 + i], settings(), negatives=[negatives[i]])
        difference = torch.tensor(list(alone.tobytes())) - torch.tensor(list(picture.tobytes()))
        assert difference.abs().max() <= 1  # batches of other sizes round otherwise


def test_joined_stages_change_whenever_one_of_them_does(tiny_model):
    encode = (tiny_model.tokenizer, tiny_model.text_encoder)
    with torch.no_grad():
        one, two = (encode_stages(*encode, [text]) for text in ("a [cat:dog:0.5]", "[a:b:0.2]"))
        joined = join_stages([one, two])
        assert joined.shares == (0, 0.2, 0.5)
        assert len(joined) == 2
        for share in (0, 0.1, 0.2, 0.4, 0.5, 0.9):
            for i, part in enumerate((one, two)):
                row, expected = joined.at(share).rows([i]), part.at(share)
                length = expected.text_bias.shape[1]
                assert torch.equal(row.prompt_embeds[:, -length:], expected.prompt_embeds)


def test_where_stages_begin(tiny_model):
    schedule = tiny_model.schedule
    ten = Sampling(10, spacing="trailing")
    points = schedule.timesteps(10, "trailing", 1).tolist()
    shares = (0, 0.05, 0.3, 0.35, 0.9, 0.95)
    inf = float("inf")
    assert first_timesteps(shares, ten, schedule) == [inf, points[1], points[3], points[4], points[9], -inf]
    # Of image-to-image the first steps are left out, and what would begin there begins with the drawing.
    half = Sampling(10, spacing="trailing", denoise=0.5)
    assert first_timesteps((0, 0.3, 0.5, 0.6), half, schedule) == [inf, inf, inf, points[6]]


def test_a_question_at_the_end_of_a_step_is_answered_by_the_next_stage():
    stages = [lambda sample, timestep, i=i: i for i in range(3)]
    denoise = switched(stages, [float("inf"), 500.0, 500.0])
    answers = {t: denoise(None, torch.tensor(t)) for t in (999.0, 501.0, 500.0, 1.0)}
    assert answers == {999.0: 0, 501.0: 0, 500.0: 2, 1.0: 2}
    assert switched(stages[:1], [float("inf")]) is stages[0]
