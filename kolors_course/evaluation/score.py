"""How well does a model follow prompts, and whose style does it draw in?"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field

from diffusers.utils import make_image_grid
from PIL import Image, ImageOps

from kolors_course.art import BASE_STYLE
from kolors_course.errors import CourseError
from kolors_course.evaluation.probes import Probe, Verdict, agreement, look
from kolors_course.evaluation.prompts import HeldOutPrompt
from kolors_course.kolors.model import KolorsModel
from kolors_course.kolors.sampling import generate
from kolors_course.kolors.settings import Sampling

QUESTIONS = ("subject", "place", "time", "size", "position", "count")
FIDELITIES = {
    "model": "shape fidelity",
    "vae": "shape fidelity, VAE alone",
    "world": "shape fidelity, world drawn anew",
}


@dataclass(frozen=True)
class Scores:
    """Shares of right answers (0..1) by question, and the share of pictures in the wanted style.

    `fidelity` is the mean shape fidelity by kind, see `Fidelity.means`; empty where it was not measured.
    """

    prompts: int
    accuracy: dict[str, float]
    style: float
    fidelity: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict:
        return asdict(self)


@dataclass(frozen=True)
class Evaluation:
    """Pictures with what was asked and what the probe saw."""

    prompts: tuple[HeldOutPrompt, ...]
    pictures: tuple[Image.Image, ...]
    verdicts: tuple[Verdict, ...]

    def scores(self, style: str = BASE_STYLE, language: str | None = None) -> Scores:
        """Scores over all prompts or one language's.

        Raises:
            CourseError: there is no such prompt.
        """
        rows = [i for i, p in enumerate(self.prompts) if language in (None, p.language)]
        if not rows:
            raise CourseError(f"there is no test prompt in language '{language}' to score")
        answers = [agreement(self.prompts[i].scene, self.verdicts[i]) for i in rows]
        accuracy = {}
        for question in QUESTIONS:
            known = [answer[question] for answer in answers if question in answer]
            if known:
                accuracy[question] = sum(known) / len(known)
        in_style = sum(self.verdicts[i].style == style for i in rows)
        return Scores(len(rows), accuracy, in_style / len(rows))


def evaluate(
    model: KolorsModel,
    probe: Probe,
    prompts: Sequence[HeldOutPrompt],
    sampling: Sampling | None = None,
    progress: Callable[[int], None] | None = None,
) -> Evaluation:
    """Draw every test prompt and let the probe look at the pictures.

    Args:
        sampling: None for the model's own.
    """
    pictures = generate(model, [p.prompt for p in prompts], [p.seed for p in prompts], sampling, progress)
    return Evaluation(tuple(prompts), tuple(pictures), tuple(look(probe, pictures)))


def score_table(columns: dict[str, Scores]) -> list[str]:
    """A Markdown table: a row for each question and each kind of shape fidelity measured, a column for each entry."""
    lines = ["| | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    for question in QUESTIONS:
        cells = (s.accuracy.get(question) for s in columns.values())
        lines.append(f"| {question} | " + " | ".join("–" if c is None else f"{c:.1%}" for c in cells) + " |")
    lines.append("| style | " + " | ".join(f"{s.style:.1%}" for s in columns.values()) + " |")
    for kind, name in FIDELITIES.items():
        values = [s.fidelity.get(kind) for s in columns.values()]
        if any(value is not None for value in values):
            lines.append(f"| {name} | " + " | ".join("–" if v is None else f"{v:.3f}" for v in values) + " |")
    lines.append("| prompts | " + " | ".join(str(s.prompts) for s in columns.values()) + " |")
    return lines


def picture_sheet(evaluation: Evaluation, count: int = 48, columns: int = 12) -> Image.Image:
    """The first pictures, with a red frame where the probe misses a subject."""
    framed = []
    for i, picture in enumerate(evaluation.pictures[:count]):
        right = agreement(evaluation.prompts[i].scene, evaluation.verdicts[i])["subject"]
        framed.append(ImageOps.expand(picture, 3, "white" if right else (214, 40, 40)))
    empty = [Image.new("RGB", framed[0].size, "white")] * (-len(framed) % columns)
    return make_image_grid([*framed, *empty], -(-len(framed) // columns), columns)
