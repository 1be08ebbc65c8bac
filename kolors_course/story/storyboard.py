"""A storyboard: the panels of a story, read strictly from a YAML file."""

from dataclasses import dataclass
from pathlib import Path

from kolors_course.art import TIMELESS, Scene, find_subject
from kolors_course.dataset.text import check_text
from kolors_course.errors import CourseError, brief
from kolors_course.prompting import check_prompts
from kolors_course.ranges import SEEDS
from kolors_course.yaml_files import parse_yaml, read_yaml

MAX_PANELS = 16
MAX_TEXT = 1000  # characters; a caption has about 40, and ChatGLM reads the first 256 tokens of a prompt
EXAMPLE = "a YAML file such as data/stories/moon_rabbit.yaml"


@dataclass(frozen=True)
class StoryPanel:
    """One picture of a story.

    Attributes:
        prompt: what the model reads.
        caption_zh, caption_en: what the reader reads under the picture.
        seed: of the initial noise.
        scene: the facts that the prompt asks for, with the panel's seed; None where they are not written
            down, and then the picture cannot be scored.
        negative: what this picture keeps away from; None where the panel says nothing of it, "" for nothing.
    """

    prompt: str
    caption_zh: str
    caption_en: str
    seed: int
    scene: Scene | None = None
    negative: str | None = None


@dataclass(frozen=True)
class Storyboard:
    """A title in two languages, the panels in their order, the file they come from, and what all panels keep away
    from.

    Raises:
        CourseError: no panels, or more than `MAX_PANELS`.
    """

    title_zh: str
    title_en: str
    panels: tuple[StoryPanel, ...]
    path: Path
    negative: str = ""

    def __post_init__(self) -> None:
        if not 1 <= len(self.panels) <= MAX_PANELS:
            raise CourseError(
                f"{self.path}: 'panels' holds {len(self.panels)} panels; a story has 1 to {MAX_PANELS}, usually 8"
            )

    def negative_prompts(self, given: str = "") -> list[str]:
        """What each panel keeps away from: its own `negative`, or else `given`, or else the story's."""
        common = given or self.negative
        return [common if panel.negative is None else panel.negative for panel in self.panels]


def read_storyboard(path: str | Path) -> Storyboard:
    """Read a story from YAML.

    The file holds `title_zh`, `title_en`, `panels` and optionally `seed` (0 if left out) and `negative`. Each panel
    holds `prompt`, `caption_zh`, `caption_en` and optionally `negative` (instead of the story's), `seed` (the
    story's seed plus the panel's place, counted from 0) and `scene`: `subjects` (one or two names), `place`, `time`,
    `size`, `position`. Line breaks and repeated spaces inside a text become one space.

    Raises:
        CourseError: no such file, not UTF-8, not the plain YAML that `kolors_course.yaml_files` reads, a key that is
            missing, unknown or written twice, a text that is empty or longer than `MAX_TEXT`, wrong weights in a
            prompt, a seed that is no whole number from 0, a scene outside the world, no panels.
    """
    path = Path(path)
    return _storyboard(read_yaml(path, EXAMPLE), path)


def parse_storyboard(text: str, path: str | Path) -> Storyboard:
    """A story from the text of such a file; errors name it `path`.

    Raises:
        CourseError: see `read_storyboard`.
    """
    return _storyboard(parse_yaml(text, str(path)), Path(path))


def _storyboard(values: object, path: Path) -> Storyboard:
    story = _Entry(values, str(path), ("title_zh", "title_en", "panels"), ("seed", "negative"))
    panels = story.values["panels"]
    if not isinstance(panels, list):
        raise CourseError(f"{path}: 'panels' must be a list; write one '- prompt: ...' for each picture")
    seed = story.seed("seed", 0)
    return Storyboard(
        story.text("title_zh"),
        story.text("title_en"),
        tuple(_panel(values, f"{path} panel {i + 1}", seed + i) for i, values in enumerate(panels)),
        path,
        story.negative() or "",
    )


class _Entry:
    """A mapping of the file whose keys are known to be right; `where` begins every message about it."""

    def __init__(self, values: object, where: str, required: tuple[str, ...], optional: tuple[str, ...]):
        if not isinstance(values, dict):
            raise CourseError(f"{where}: expected 'key: value' lines with the keys {', '.join(required)}")
        for key in values:
            if key not in required + optional:
                allowed = ", ".join(required + optional)
                raise CourseError(f"{where}: unknown key '{brief(key)}'; the keys are {allowed}")
        for key in required:
            if key not in values:
                raise CourseError(f"{where}: key '{key}' is missing; add a line '{key}: ...'")
        self.values, self.where = values, where

    def text(self, key: str) -> str:
        value = self.values[key]
        if value is None or (isinstance(value, str) and not value.strip()):
            raise CourseError(f"{self.where}: '{key}' is empty; write a few words")
        if not isinstance(value, str):
            kind = type(value).__name__
            raise CourseError(
                f"{self.where}: '{key}' must be text, but YAML reads it as {kind}; put it in quotes"
            )
        if len(value) > MAX_TEXT:
            raise CourseError(
                f"{self.where}: '{key}' has {len(value)} characters; at most {MAX_TEXT} are read"
            )
        check_text(f"{key} of {self.where}", value)
        return " ".join(value.split())

    def prompt(self, key: str) -> str:
        """A text that a model draws from."""
        prompt = self.text(key)
        try:
            check_prompts([prompt])
        except CourseError as error:
            raise CourseError(f"{self.where}: '{key}': {error}") from error
        return prompt

    def negative(self) -> str | None:
        """None where the key is missing; "" is allowed: a panel may keep away from nothing when its story does."""
        if self.values.get("negative") == "":
            return ""
        return self.prompt("negative") if "negative" in self.values else None

    def seed(self, key: str, default: int) -> int:
        value = self.values.get(key, default)
        # True and False are integers to Python, but nobody means them as seeds.
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < SEEDS:
            raise CourseError(
                f"{self.where}: '{key}' must be a whole number from 0 to 2^32 - 1, not {brief(value)}"
            )
        return value


def _panel(values: object, where: str, default_seed: int) -> StoryPanel:
    entry = _Entry(values, where, ("prompt", "caption_zh", "caption_en"), ("negative", "seed", "scene"))
    seed = entry.seed("seed", default_seed)
    scene = None
    if "scene" in entry.values:
        try:
            scene = _scene(entry.values["scene"], seed)
        except CourseError as error:
            raise CourseError(f"{where}: {error}") from error
    return StoryPanel(
        entry.prompt("prompt"),
        entry.text("caption_zh"),
        entry.text("caption_en"),
        seed,
        scene,
        entry.negative(),
    )


def _scene(values: object, seed: int) -> Scene:
    entry = _Entry(values, "scene", ("subjects", "place"), ("time", "size", "position"))
    names = entry.values["subjects"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise CourseError(f"scene: 'subjects' must be a list of names such as [rabbit], not {brief(names)}")
    found = tuple(find_subject(name) for name in names)
    words = {key: entry.text(key) for key in entry.values if key != "subjects"}
    if len(found) == 2:
        if found[0] == found[1]:
            raise CourseError(
                f"scene: '{names[0]}' and '{names[1]}' are the same subject; name two different ones"
            )
        if {"size", "position"} & set(words):
            raise CourseError(
                "scene: two subjects stand left and right in normal size; remove size and position"
            )
    if words["place"] == "space":
        words.setdefault("time", TIMELESS)
    elif "time" not in words:
        raise CourseError("scene: key 'time' is missing; only place 'space' goes without")
    return Scene(found, **words, seed=seed)
