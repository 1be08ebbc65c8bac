"""A human test: which of two pictures is better? Two buttons, sides and order by lot, and an exact verdict."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from io import BytesIO
from typing import Any

import torch
from ipywidgets import HTML, Button, HBox, Image, VBox
from PIL.Image import Image as Picture
from traitlets import Tuple

from kolors_course.errors import CourseError
from kolors_course.evaluation import clopper_pearson, sign_test
from kolors_course.viz.canvas import NotebookFigure
from kolors_course.viz.plots import picture_strip

SIDES = ("left", "right")
_NAMES = {"left": "← left 左边", "right": "right 右边 →"}
SHOWN = 1.6  # of the pictures, where 1 is 128 px
_WIDTH = "520px"


@dataclass(frozen=True)
class Pair:
    """The same prompt drawn by two models."""

    prompt: str
    first: Picture
    second: Picture


@dataclass(frozen=True)
class AskedPair:
    """One question of a session: which pair, and whether its first picture stands on the right."""

    pair: int
    swapped: bool


def plan_trials(pairs: int, generator: torch.Generator) -> tuple[AskedPair, ...]:
    """Every pair once; order by lot, and by lot half of them swapped: people prefer a side, and learn an order."""
    order = torch.randperm(pairs, generator=generator).tolist()
    swapped = (torch.randperm(pairs, generator=generator) % 2 == 1).tolist()
    return tuple(AskedPair(pair, swap) for pair, swap in zip(order, swapped, strict=True))


def first_wins(trials: Sequence[AskedPair], choices: Sequence[str]) -> int:
    """How often the first picture of a pair was chosen; `choices` are sides, of the first trials.

    Raises:
        CourseError: a choice is neither "left" nor "right", or there are more choices than trials.
    """
    if len(choices) > len(trials) or not set(choices) <= set(SIDES):
        raise CourseError(
            f"at most {len(trials)} choices of 'left' or 'right' belong to {len(trials)} trials"
        )
    judged = zip(trials[: len(choices)], choices, strict=True)
    return sum((choice == "right") == trial.swapped for trial, choice in judged)


def session_line(wins: int, count: int, first: str, second: str) -> str:
    """What `wins` of `count` choices say, in one line: the share, its exact interval, and how likely chance is."""
    if count == 0:
        return "no choice yet"
    share, p = clopper_pearson(wins, count), sign_test(wins, count)
    said = "more than chance" if p < 0.05 else "chance explains it"
    return (
        f"{first} chosen over {second} in {wins} of {count}: {share.value:.0%} "
        f"({share.low:.0%} – {share.high:.0%}), p = {p:.3f}: {said}"
    )


def trial_figure(pairs: Sequence[Pair], trial: AskedPair) -> NotebookFigure:
    """Both pictures of a trial, on their sides."""
    pair = pairs[trial.pair]
    shown = (pair.second, pair.first) if trial.swapped else (pair.first, pair.second)
    return picture_strip(shown, SIDES, side=SHOWN)


class TwoAlternatives(VBox):
    """Asks pair by pair which picture fits its prompt better, and says at the end what the choices say.

    Which model drew which picture is told only then. A saved notebook shows the first pair.

    Attributes:
        choices: "left" or "right" of every trial answered so far; it can be kept and read by `first_wins`.
        trials: the questions, in their order.
    """

    choices = Tuple(())

    def __init__(
        self, pairs: Sequence[Pair], generator: torch.Generator, first: str = "first", second: str = "second"
    ):
        """Show the first pair.

        Args:
            first, second: what the models are called, at the end.

        Raises:
            CourseError: there is no pair.
        """
        if not pairs:
            raise CourseError("a test of two alternatives needs at least one pair of pictures")
        self.pairs, self.names = tuple(pairs), (first, second)
        self.trials = plan_trials(len(pairs), generator)
        self.question, self.picture = HTML(layout={"width": _WIDTH}), Image(layout={"width": _WIDTH})
        self.buttons = {side: Button(description=name) for side, name in _NAMES.items()}
        for side, button in self.buttons.items():
            button.on_click(lambda _, side=side: self.choose(side))
        super().__init__([self.question, self.picture, HBox(list(self.buttons.values()))])
        self._still = trial_figure(self.pairs, self.trials[0])._repr_mimebundle_()
        self._show()

    def choose(self, side: str) -> None:
        """Answer the present question; what is said after the last one counts no more."""
        if len(self.choices) < len(self.trials):
            self.choices = (*self.choices, side)
            self._show()

    def _show(self) -> None:
        done, count = len(self.choices), len(self.trials)
        if done == count:
            wins = first_wins(self.trials, self.choices)
            self.question.value = escape(session_line(wins, count, *self.names))
            for button in self.buttons.values():
                button.disabled = True
            return
        trial = self.trials[done]
        self.question.value = f"{done + 1}/{count}: <b>{escape(self.pairs[trial.pair].prompt)}</b>"
        self.picture.value = _png(trial_figure(self.pairs, trial))

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        bundle = super()._repr_mimebundle_(**options)
        still, metadata = self._still
        text = {"text/plain": f"TwoAlternatives of {len(self.pairs)} pairs"}
        return bundle | still | text, metadata


def _png(figure: NotebookFigure) -> bytes:
    file = BytesIO()
    figure.drawn().save(file, "png")
    return file.getvalue()
