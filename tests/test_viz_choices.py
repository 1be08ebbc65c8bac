"""The test of two alternatives: sides by lot, choices read back, and buttons as a person presses them."""

import pytest
import torch
from PIL import Image

from kolors_course.errors import CourseError
from kolors_course.evaluation import Interval, wilson
from kolors_course.viz import Pair, TwoAlternatives, first_wins, plan_trials, session_line
from kolors_course.viz.choices import AskedPair
from kolors_course.viz.shares import share_plot

RED, BLUE = (Image.new("RGB", (32, 32), colour) for colour in ("red", "blue"))


def lot(seed=0):
    return torch.Generator().manual_seed(seed)


def session(count=6):
    return TwoAlternatives([Pair(f"<prompt> {i}", RED, BLUE) for i in range(count)], lot(), "A", "B")


def test_every_pair_is_asked_once_and_half_of_them_swapped():
    trials = plan_trials(200, lot())
    assert sorted(trial.pair for trial in trials) == list(range(200))
    assert sum(trial.swapped for trial in trials) == 100
    assert trials == plan_trials(200, lot()) != plan_trials(200, lot(1))


def test_choices_are_counted_for_the_model_and_not_for_the_side():
    trials = (AskedPair(0, False), AskedPair(1, True), AskedPair(2, False))
    assert first_wins(trials, ("left", "right", "left")) == 3
    assert first_wins(trials, ("left", "left", "left")) == 2
    assert first_wins(trials, ("right",)) == 0


@pytest.mark.parametrize("choices", [("middle",), ("left", "left")])
def test_what_is_no_choice_is_refused(choices):
    with pytest.raises(CourseError, match="at most 1 choices"):
        first_wins((AskedPair(0, False),), choices)


def test_who_always_finds_the_first_picture_is_seen_by_the_buttons():
    asked = session()
    for trial in asked.trials:
        assert "&lt;prompt&gt;" in asked.question.value
        assert "A" not in asked.question.value  # who drew what is told at the end
        asked.buttons["right" if trial.swapped else "left"].click()
    assert first_wins(asked.trials, asked.choices) == 6
    assert asked.question.value == session_line(6, 6, "A", "B")
    assert all(button.disabled for button in asked.buttons.values())
    asked.choose("left")
    assert len(asked.choices) == 6


def test_each_side_shows_the_picture_that_it_stands_for():
    asked = session()
    seen = {bytes(asked.picture.value)}
    for _ in range(5):
        asked.choose("left")
        seen.add(bytes(asked.picture.value))
    assert len(seen) == 2  # the same two pictures, this way and that


def test_a_saved_notebook_shows_the_first_pair():
    data, _ = session()._repr_mimebundle_()
    assert data["image/png"]
    assert "application/vnd.jupyter.widget-view+json" in data


def test_the_line_knows_chance():
    assert "more than chance" in session_line(9, 10, "A", "B")
    assert "chance explains it" in session_line(8, 10, "A", "B")
    assert session_line(0, 0, "A", "B") == "no choice yet"


def test_no_pairs_no_test():
    with pytest.raises(CourseError, match="at least one pair"):
        TwoAlternatives([], lot())


def test_intervals_stand_in_rows_and_can_be_read():
    shares = {"subject": wilson(58, 60), "place": wilson(40, 60)}
    figure = share_plot({"one": shares, "two": shares}, title="facts", xlabel="share")
    figure.drawn()
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["subject", "place"]
    assert not figure.faults()
    with pytest.raises(CourseError, match="same things"):
        share_plot({"one": shares, "two": {"place": Interval(0.5, 0.4, 0.6, 9)}}, title="", xlabel="")
