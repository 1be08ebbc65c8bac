"""The probe network: its questions, its truth, its verdicts and its file."""

import pytest
import torch
from PIL import Image

from kolors_course.art import STYLES, TIMELESS, Scene, find_subject, render, subject_index, subjects
from kolors_course.errors import CourseError
from kolors_course.evaluation import Probe, Verdict, agreement, load_probe, look
from kolors_course.evaluation.probes import (
    CLASSES,
    pixels_of,
    probabilities,
    save_probe,
)
from kolors_course.mini.probe import probe_loss
from kolors_course.mini.truth import truth_tensors

CAT, DOG, OWL = (find_subject(name) for name in ("cat", "dog", "owl"))
SINGLE = Scene((CAT,), "snow", "night", "big", "left")
PAIR = Scene((DOG, CAT), "space", TIMELESS)


@pytest.fixture(scope="module")
def probe() -> Probe:
    torch.manual_seed(0)
    return Probe().eval()


def verdict(*ranking: str, **changes) -> Verdict:
    """A verdict that gets everything about SINGLE right, but for `changes`."""
    right = {"place": "snow", "time": "night", "size": "big", "position": "left", "count": 1}
    said = right | {"style": "colour"} | changes
    return Verdict(ranking[: said["count"]], ranking, **said)


def logits_of(truth: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Logits of a judge that is sure of the truth; where the truth is blank (-1) it says class 0."""
    return {"subject": 9 * truth["subject"]} | {
        key: 9.0 * torch.nn.functional.one_hot(truth[key].clamp(min=0), len(values))
        for key, values in CLASSES.items()
    }


def test_truth_by_hand():
    truth = truth_tensors([SINGLE, PAIR], ["ink", "colour"])
    index = subject_index()
    assert truth["subject"].shape == (2, len(subjects()))
    assert truth["subject"][0].nonzero().flatten().tolist() == [index["cat"]]
    assert truth["subject"][1].nonzero().flatten().tolist() == sorted((index["cat"], index["dog"]))
    by_hand = {
        "place": [1, 8],  # meadow, snow, … , space, room
        "time": [1, 3],  # day, night, dusk, timeless
        "size": [2, -1],  # small, normal, big; blank for pairs
        "position": [0, -1],
        "count": [0, 1],
        "style": [4, 0],  # colour, line-art, paper-cut, blueprint, ink, …
    }
    assert {key: truth[key].tolist() for key in CLASSES} == by_hand


def test_agreement_of_a_perfect_verdict():
    right = agreement(SINGLE, verdict("cat", "dog"))
    assert right == dict.fromkeys(("subject", "place", "count", "time", "size", "position"), True)


@pytest.mark.parametrize(
    ("changes", "question"),
    [
        ({"place": "room"}, "place"),
        ({"time": "day"}, "time"),
        ({"size": "small"}, "size"),
        ({"position": "right"}, "position"),
        ({"count": 2}, "count"),
    ],
)
def test_agreement_finds_the_one_mistake(changes, question):
    right = agreement(SINGLE, verdict("cat", "dog", **changes))
    assert [key for key, value in right.items() if not value] == [question]


def test_the_style_is_no_fact_of_the_scene():
    assert all(agreement(SINGLE, verdict("cat", style="neon")).values())


@pytest.mark.parametrize(
    ("ranking", "right"),
    [
        (("dog", "cat", "owl"), True),
        (("cat", "dog", "owl"), True),
        (("dog", "owl", "cat"), False),
        (("owl", "dog", "cat"), False),
    ],
)
def test_a_pair_is_right_if_both_come_first(ranking, right):
    said = verdict(*ranking, place="space", time="day", count=2)
    # No time in space; size and position mean nothing for pairs.
    assert agreement(PAIR, said) == {"subject": right, "place": True, "count": True}


def test_a_single_subject_must_come_first():
    assert not agreement(SINGLE, verdict("dog", "cat"))["subject"]


def test_look_reads_logits():
    scenes, styles = [SINGLE, PAIR, Scene((OWL,), "room", "dusk")], ["ink", "colour", "neon"]
    logits = logits_of(truth_tensors(scenes, styles))
    asked = []

    def oracle(pixels):
        rows = slice(sum(asked), sum(asked) + len(pixels))
        asked.append(len(pixels))
        return {key: values[rows] for key, values in logits.items()}

    verdicts = look(oracle, [render(scene) for scene in scenes], batch_size=2)
    assert asked == [2, 1]
    assert verdicts[0].subjects == ("cat",)
    assert set(verdicts[1].subjects) == {"cat", "dog"}
    assert len(verdicts[1].ranking) == 5
    assert [v.style for v in verdicts] == styles
    assert [v.count for v in verdicts] == [1, 2, 1]
    for scene, said in zip(scenes, verdicts, strict=True):
        assert all(agreement(scene, said).values())


def test_the_network_answers_every_question(probe):
    logits = probe(torch.zeros(2, 3, 64, 64))
    sizes = {"subject": len(subjects())} | {key: len(values) for key, values in CLASSES.items()}
    assert {key: tuple(value.shape) for key, value in logits.items()} == {k: (2, n) for k, n in sizes.items()}
    assert CLASSES["style"] == STYLES
    assert 2e6 < sum(p.numel() for p in probe.parameters()) < 4e6


def test_pixels_are_resized_and_scaled():
    half = Image.new("RGBA", (128, 128), (255, 0, 0, 255))
    pixels = pixels_of([half, Image.new("L", (64, 64), 255)])
    assert pixels.shape == (2, 3, 64, 64)
    assert pixels[0, :, 5, 5].tolist() == [1, -1, -1]
    assert (pixels[1] == 1).all()


def test_loss_is_zero_for_the_truth_and_ignores_blanks():
    truth = truth_tensors([SINGLE], ["ink"])
    sure = {key: 100 * value for key, value in logits_of(truth).items()}
    assert probe_loss(sure, truth).item() == pytest.approx(0, abs=1e-6)
    blank = truth | {"size": torch.tensor([-1, 2])} | {"subject": truth["subject"].repeat(2, 1)}
    blank |= {key: truth[key].repeat(2) for key in CLASSES if key != "size"}
    twice = {key: value.repeat(2, 1) for key, value in sure.items()}
    twice["size"] = torch.tensor([[900.0, 0, 0], [0, 0, 900.0]])  # wrong, but only where nothing is asked
    assert probe_loss(twice, blank).item() == pytest.approx(0, abs=1e-6)


def test_loss_of_no_opinion_is_the_entropy_of_guessing():
    truth = truth_tensors([SINGLE], ["ink"])
    even = {key: torch.zeros_like(value) for key, value in logits_of(truth).items()}
    guesses = torch.tensor([len(subjects()) ** 2, *(len(values) for values in CLASSES.values())])
    assert probe_loss(even, truth).item() == pytest.approx(guesses.float().log().sum().item(), rel=1e-5)


def test_save_and_load(probe, tmp_path):
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = probe(pixels)
    save_probe(probe, tmp_path / "probe.safetensors", {"accuracy": 1.0})
    loaded = load_probe(tmp_path / "probe.safetensors")
    assert not loaded.training
    assert next(loaded.parameters()).dtype == next(probe.parameters()).dtype == torch.float32
    with torch.no_grad():
        after = loaded(pixels)
    for key, value in before.items():
        # Half precision keeps 11 bits of each weight.
        torch.testing.assert_close(after[key], value, atol=5e-3, rtol=5e-3)


@pytest.mark.parametrize("damage", ["missing", "truncated", "garbage"])
def test_a_damaged_file_is_one_clear_line(probe, tmp_path, damage):
    path = tmp_path / "probe.safetensors"
    if damage == "truncated":
        save_probe(probe, path, {})
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "garbage":
        path.write_bytes(b"not a probe")
    with pytest.raises(
        CourseError, match=r"cannot read the probe .*probe\.safetensors.*git checkout or make mini"
    ):
        load_probe(path)


def test_probabilities_add_up_and_agree_with_the_verdict(probe):
    pictures = [render(SINGLE, 64), render(PAIR, 64)]
    said = probabilities(probe, pictures, "place")
    torch.testing.assert_close(said.sum(dim=1), torch.ones(2))
    best = [CLASSES["place"][row] for row in said.argmax(dim=1)]
    assert best == [verdict.place for verdict in look(probe, pictures)]
