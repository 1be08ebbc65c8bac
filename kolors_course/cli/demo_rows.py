"""The two rows of the demo: what a model draws of the story, and how it scores.

The base model's is kept with the storyboard, so that nobody waits for it.
`moon_rabbit.base/` beside the storyboard holds the panels and `base.json`, which says by a hash what they were made
of: the weights of the model and of the probe, prompts, seeds and sampling. With anything else they are made anew.
"""

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from PIL import Image

from kolors_course.art.choices import LORA_STYLES
from kolors_course.dataset.pixels import open_picture
from kolors_course.errors import CourseError
from kolors_course.evaluation import HeldOutPrompt, Probe, Scores, evaluate
from kolors_course.files import atomic_path, ensure_folder, json_text, read_text
from kolors_course.kolors import KolorsModel, Sampling
from kolors_course.kolors.fingerprint import hash_of_weights
from kolors_course.story import Storyboard, draw_story
from kolors_course.untrusted import parse_json, read_as

INDEX = "base.json"
_LARGEST = 2**16  # bytes

Progress = Callable[[int], None]


@dataclass(frozen=True)
class KeptBase:
    """What `base.json` says: the hash of what all was made of, and the scores by style."""

    made_of: str
    scores: dict[str, Scores]


@dataclass(frozen=True)
class StoryRow:
    """What a model makes of the story: its panels, and its scores as they count for each style."""

    panels: tuple[Image.Image, ...]
    scores: dict[str, Scores]


@dataclass(frozen=True)
class StoryRowWork:
    """All that a row is made of; the model with the LoRAs that are on it."""

    model: KolorsModel
    probe: Probe
    storyboard: Storyboard
    prompts: tuple[HeldOutPrompt, ...]
    sampling: Sampling

    @property
    def key(self) -> str:
        """A hash of it; the size of batches does not change pictures."""
        networks = (self.model.unet, self.model.text_encoder, self.model.vae, self.probe)
        panels = [(panel.prompt, panel.seed) for panel in self.storyboard.panels]
        asked = [(each.prompt, each.seed) for each in self.prompts]
        rest = [
            *(hash_of_weights(network) for network in networks),
            *(panels, self.storyboard.negative_prompts(""), asked),
            {name: value for name, value in asdict(self.sampling).items() if name != "batch_size"},
        ]
        return hashlib.sha256(json_text(rest).encode()).hexdigest()

    def make(self, panels: Progress, scores: Progress) -> StoryRow:
        """Draw the panels and measure; each callback is told of its own pictures."""
        drawn = draw_story(self.model, self.storyboard, self.sampling, panels)
        found = evaluate(self.model, self.probe, self.prompts, self.sampling, scores)
        return StoryRow(tuple(drawn), {style: found.scores(style) for style in LORA_STYLES})


def base_folder(storyboard: Path) -> Path:
    """Where the base model's row of a storyboard is kept."""
    return storyboard.with_suffix(".base")


def read_base(folder: Path, key: str, panels: int) -> StoryRow | None:
    """What is kept in `folder`, if it was made of the same; else None.

    Args:
        panels: how many the storyboard has.

    Raises:
        CourseError: it was, but something of it is missing or damaged.
    """
    index = folder / INDEX
    if not index.exists():
        return None
    kept = read_as(KeptBase, parse_json(read_text(index, _LARGEST, "of a story"), str(index)), str(index))
    if kept.made_of != key:
        return None
    files = sorted(folder.glob("*.png"))
    if kept.scores.keys() != set(LORA_STYLES) or len(files) != panels:
        raise CourseError(f"{folder} is not whole; restore it with: git checkout {folder}")
    return StoryRow(tuple(open_picture(file).convert("RGB") for file in files), kept.scores)


def write_base(folder: Path, key: str, row: StoryRow) -> None:
    """Keep a base model's row; what was kept before is replaced.

    Raises:
        CourseError: a file cannot be written.
    """
    ensure_folder(folder)
    (folder / INDEX).unlink(missing_ok=True)  # while pictures change there is no whole row
    for file in folder.glob("*.png"):
        file.unlink()
    for i, panel in enumerate(row.panels, start=1):
        with atomic_path(folder / f"{i:02}.png") as path:
            panel.save(path, "png", optimize=True)
    with atomic_path(folder / INDEX) as path:
        path.write_text(json_text(asdict(KeptBase(key, row.scores)), indent=2) + "\n", encoding="utf-8")
