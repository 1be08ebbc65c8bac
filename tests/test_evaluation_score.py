"""Scores and sheets, with a judge that knows the truth."""

import pytest
from PIL import Image

from kolors_course.art import Scene, find_subject, render
from kolors_course.evaluation import (
    Evaluation,
    HeldOutPrompt,
    Scores,
    Verdict,
    evaluate,
    picture_sheet,
    score_table,
)
from kolors_course.evaluation import score as score_module

CAT, DOG = find_subject("cat"), find_subject("dog")
SINGLE = Scene((CAT,), "snow", "night", "big", "left")
PAIR = Scene((DOG, CAT), "space", "timeless")
PROMPTS = tuple(
    HeldOutPrompt(scene, language, f"{language} {i}", 10_000 + i)
    for i, scene in enumerate((SINGLE, PAIR))
    for language in ("en", "zh")
)
SAW_CAT = Verdict(("cat",), ("cat", "dog"), "snow", "night", "big", "left", 1, "ink")
SAW_DOG = Verdict(("dog",), ("dog", "owl"), "snow", "day", "big", "left", 1, "colour")
SAW_BOTH = Verdict(("cat", "dog"), ("cat", "dog"), "space", "timeless", "big", "left", 2, "ink")
# English: all right. Chinese: the cat is taken for a dog by day, the pair for one dog in the snow.
VERDICTS = (SAW_CAT, SAW_DOG, SAW_BOTH, SAW_DOG)


@pytest.fixture
def evaluation() -> Evaluation:
    pictures = tuple(render(prompt.scene) for prompt in PROMPTS)
    return Evaluation(PROMPTS, pictures, VERDICTS)


def test_scores_by_hand(evaluation):
    both = evaluation.scores("ink")
    assert both.prompts == 4
    assert both.style == 0.5
    assert both.accuracy == {
        "subject": 2 / 4,
        "place": 3 / 4,
        "time": 1 / 2,  # asked of the two snow pictures only
        "size": 1.0,
        "position": 1.0,
        "count": 3 / 4,
    }


def test_scores_of_one_language(evaluation):
    assert set(evaluation.scores("ink", "en").accuracy.values()) == {1.0}
    chinese = evaluation.scores("ink", "zh")
    assert (chinese.prompts, chinese.style, chinese.accuracy["subject"]) == (2, 0.0, 0.0)


def test_scores_as_plain_data():
    assert Scores(2, {"place": 0.5}, 1.0).to_dict() == {
        "prompts": 2,
        "accuracy": {"place": 0.5},
        "style": 1.0,
        "fidelity": {},
    }


def test_score_table():
    table = score_table({"base": Scores(4, {"subject": 0.5}, 0), "ink": Scores(8, {"subject": 2 / 3}, 0.123)})
    assert table[:3] == ["| | base | ink |", "|---|---:|---:|", "| subject | 50.0% | 66.7% |"]
    assert table[3:8] == [f"| {key} | – | – |" for key in ("place", "time", "size", "position", "count")]
    assert table[8:] == ["| style | 0.0% | 12.3% |", "| prompts | 4 | 8 |"]


def test_score_table_with_shape_fidelity():
    measured = Scores(4, {}, 0, {"model": 0.7654, "vae": 0.87})
    table = score_table({"base": measured, "unmeasured": Scores(4, {}, 0)})
    assert table[-3:-1] == ["| shape fidelity | 0.765 | – |", "| shape fidelity, VAE alone | 0.870 | – |"]


def test_evaluate_draws_every_prompt_with_its_seed(monkeypatch):
    asked = {}

    def generate(model, prompts, seeds, sampling, progress):
        asked.update(zip(prompts, seeds, strict=True))
        return [Image.new("RGB", (64, 64))] * len(prompts)

    monkeypatch.setattr(score_module, "generate", generate)
    monkeypatch.setattr(score_module, "look", lambda probe, pictures: VERDICTS[: len(pictures)])
    result = evaluate("model", "probe", PROMPTS, "sampling")
    assert asked == {prompt.prompt: prompt.seed for prompt in PROMPTS}
    assert result.prompts == PROMPTS
    assert result.verdicts == VERDICTS


def test_the_sheet_frames_missed_subjects_in_red(evaluation):
    sheet = picture_sheet(evaluation, columns=2)
    assert sheet.size == (2 * (128 + 6), 2 * (128 + 6))
    corners = [sheet.getpixel((x, y)) for y in (0, 134) for x in (0, 134)]
    red, white = (214, 40, 40), (255, 255, 255)
    assert corners == [white, red, white, red]
    assert picture_sheet(evaluation, count=1, columns=2).size == (2 * 134, 134)
