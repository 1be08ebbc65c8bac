"""What a learner may do wrong: nothing of it stops a notebook or shows the checker from inside."""

import linecache
from fractions import Fraction

import numpy as np
import pytest
import torch
from pages import SCHEMAS, good_api

from kolors_course.art import Scene, find_subject
from kolors_course.diffusion import NoiseSchedule
from kolors_course.exercises import (
    Right,
    anatomy,
    comfyui,
    diffusion,
    generative,
    guidance,
    lora_maths,
    lora_training,
    own_model,
    own_schedule,
    setup,
    solvers,
)
from kolors_course.exercises.answers import is_open, number_of
from kolors_course.exercises.check import GOES_ON, exercise
from kolors_course.exercises.feedback import Mistake, Remark
from kolors_course.theory.ink import ink

RABBIT = Scene((find_subject("rabbit"),), "snow", "night")


def learners(source, name="f"):
    """A function as a notebook defines it: its source is known, line by line."""
    file, lesson = f"<cell {abs(hash(source))}>", {"torch": torch}
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    exec(compile(source, file, "exec"), lesson)
    return lesson[name]


@exercise(lambda limit: limit + 1, "more", "更大")
def check_more(answer, limit):
    """Whether `answer` is more than `limit`."""
    if number_of(answer) > limit:
        return Right("It is.", "是的。")
    raise Mistake("It is less.", "小了。")


def test_a_right_answer_stays_and_is_praised(capsys):
    assert check_more(7, limit=3) == 7
    assert capsys.readouterr().out == "Right. It is.\n对了。是的。\n"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (..., "Yours to write. Hint: more\n由你来写。提示：更大\n"),
        (2, "Not yet. It is less.\n还不对。小了。\n"),
    ],
)
def test_instead_of_another_the_librarys_is_taken_and_it_is_said(answer, said, capsys):
    assert check_more(answer, limit=3) == 4
    assert capsys.readouterr().out == f"{said}{GOES_ON}\n"


def test_a_check_keeps_its_name_and_what_it_says_of_itself():
    assert (check_more.__name__, check_more.__doc__) == (
        "check_more",
        "Whether `answer` is more than `limit`.",
    )


def test_remarks_are_shown_without_quotes():
    assert repr(Remark("so")) == "so"
    assert isinstance(Right("Good.", "好。"), Remark)


@pytest.mark.parametrize("answer", [..., [...], (1, ...), {"steps": 25, "cfg": ...}, {1: [2, (3, ...)]}])
def test_dots_mean_that_it_is_not_answered(answer):
    assert is_open(answer)


@pytest.mark.parametrize("answer", [None, 0, "...", [], {}, torch.zeros(2), np.zeros(2)])
def test_all_else_is_an_answer(answer):
    assert not is_open(answer)


@pytest.mark.parametrize("answer", [None, "1", True, [1], 1j, 2**70, torch.zeros(2), object()])
def test_only_numbers_are_numbers(answer):
    with pytest.raises(Mistake, match="not a number|far too large"):
        number_of(answer)


@pytest.mark.parametrize(
    "answer", [1.5, Fraction(3, 2), np.float32(1.5), torch.tensor(1.5), torch.tensor([1.5])]
)
def test_every_number_is_a_number(answer):
    assert number_of(answer) == 1.5


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (
            "import math\n\ndef f(mean, std):\n    square = meen**2\n    return square",
            "Line 4 of your cell, `square = meen**2`: NameError: name 'meen' is not defined",
        ),
        (
            "def f(mean, std):\n    return (mean**2 + std.lg()).sum(dim=-1)",
            "Line 2 of your cell, `return (mean**2 + std.lg()).sum(dim=-1)`: AttributeError: 'Tensor' object has no",
        ),
        (
            "def half(x):\n    return x / 0.0 + undefined\n\ndef f(mean, std):\n    return half(mean)",
            "Line 2 of your cell, `return x / 0.0 + undefined`: NameError",
        ),
        (
            "def f(mean):\n    return mean",
            "Line 1 of your cell, `def f(mean):`: It is called as f(mean, std), with 2 arguments: too many",
        ),
        (
            "def f(mean, std, beta):\n    return mean",
            "It is called as f(mean, std), with 2 arguments: missing a required argument: 'beta'",
        ),
        ("def f(mean, std):\n    mean + std", "The function gives back None: does every path return"),
        ("def f(mean, std):\n    return 'kl'", "The function gives back 'kl' where a tensor is wanted"),
        ("def f(mean, std):\n    return {}", "The function gives back {} where a tensor is wanted"),
        ("def f(mean, std):\n    return 0.5", r"The answer has the shape (), not (1,)"),
        ("def f(mean, std):\n    return mean.to(torch.complex64).sum(-1)", "The answer is complex"),
        ("def f(mean, std):\n    return ...", "Yours to write"),
        (
            "def f(mean, std):\n    return f(mean, std)",
            "Line 2 of your cell, `return f(mean, std)`: RecursionError",
        ),
        ("f = 42", "The answer is 42, not a function: it has to begin with def"),
        ("f = None", "The answer is None, not a function"),
    ],
)
def test_a_slip_shows_the_learners_own_line(source, said):
    reply = generative.check_kl.reply(learners(source))
    assert said in reply
    assert "formulas" not in reply
    assert "lambda" not in reply


def test_a_wrong_call_of_what_the_check_hands_over_names_it_as_the_learner_does():
    step = learners("def f(slope, x, sigma, sigma_next):\n    return x + slope(x)")
    reply = solvers.check_heun_step.reply(step)
    assert "Line 2 of your cell, `return x + slope(x)`: TypeError: slope() missing 1 required" in reply


def test_what_is_handed_over_may_be_changed():
    careless = learners(
        "def f(x0, noise, t):\n    x0 *= 1 - t\n    x0 += t * noise\n    return x0, noise - x0"
    )
    assert "Right" not in generative.check_straight_path.reply(careless)
    right = learners(
        "def f(x0, noise, t):\n    v = noise - x0\n    x0 *= 1 - t\n    return x0 + t * noise, v"
    )
    for _ in range(2):
        assert isinstance(generative.check_straight_path.reply(right), Right)


class Model:
    """The few things that the checks ask a model for."""

    vae_scale_factor = 8

    class unet:
        class config:
            in_channels, encoder_hid_dim, addition_time_embed_dim = 4, 64, 8

    @staticmethod
    def tokenizer(prompt, truncation, max_length):
        return {"input_ids": [1, 2, *range(len(prompt.split()))]}


CHECKS = {
    generative.check_kl: (),
    generative.check_change_of_variables: (),
    generative.check_straight_path: (),
    own_model.check_own_model: (ink("可", 2000, torch.Generator()), ink("可", 1000, torch.Generator())),
    diffusion.check_add_noise: (),
    diffusion.check_x0_from_v: (),
    diffusion.check_ddim_step: (),
    own_schedule.check_own_schedule: (),
    own_schedule.check_own_drawing: (NoiseSchedule.kolors(), 0.3),
    solvers.check_heun_step: (),
    solvers.check_order: (),
    solvers.check_leading_start: (),
    guidance.check_guidance: (),
    guidance.check_classifier_push: (),
    guidance.check_unet_rows: (25, 10),
    anatomy.check_pad_bias: (),
    anatomy.check_condition_width: (Model,),
    lora_maths.check_lora_forward: (),
    lora_maths.check_merge: (),
    lora_maths.check_rank_needed: (),
    lora_training.check_lora_scale: (),
    lora_training.check_repair_strength: (16, 4.0, 2.0),
    lora_training.check_steps_for_epochs: (),
    comfyui.check_widget_values: (),
    comfyui.check_rerun: (good_api(), "3"),
    setup.check_prompt: (RABBIT,),
    setup.check_latents_shape: (Model, 192, 128),
    setup.check_token_count: (Model, "one two three"),
}
JUNK = (
    *(None, True, 0, -1, 42, 1.5, float("nan"), float("inf"), 10**400, 1j, "", "456", "x" * 10_000, b"x"),
    *([], (), {}, set(), [None], [[1], 2], {"steps": torch.zeros(2)}, {1, "a"}, [float("nan")] * 4, range(3)),
    *(torch.zeros(0), torch.zeros(2, 2), torch.tensor(1j), np.zeros(3), np.array("a"), np.array(None)),
    *(object(), int, len, Model, lambda: None, lambda *all_of_it: all_of_it, lambda *_: None, lambda *_: "x"),
    *(
        lambda *_: 1 / 0,
        lambda *_: torch.zeros(0),
        lambda *_: 10**400,
        lambda *_: [[1], 2],
        lambda *_: np.array("a"),
    ),
    *(
        lambda *_: float("nan"),
        lambda *_: {1: 2},
        lambda *_: (None, None),
        lambda *_: object(),
        lambda *_: torch,
    ),
)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_no_answer_however_strange_breaks_a_check(check):
    for answer in (*JUNK, ..., *(dict.fromkeys(comfyui.CAMP_NAMES, answer) for answer in JUNK)):
        reply = check.reply(answer, *CHECKS[check])
        assert type(reply) is Remark, answer
        assert max(map(len, reply.splitlines())) < 500
        assert len(reply.splitlines()) == 2


def test_no_strange_repair_breaks_its_check():
    def repaired(graph, node):
        graph["3"]["inputs"]["cfg"] = node
        return graph

    broken = good_api()
    broken["3"]["inputs"]["steps"] = 0
    for strange in JUNK:
        for repair in (strange, lambda _, it=strange: it, lambda graph, it=strange: repaired(graph, it)):
            assert type(comfyui.check_mended.reply(repair, broken, SCHEMAS)) is Remark
