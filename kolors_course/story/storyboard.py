"""A storyboard: the panels of a story, read strictly from a YAML or JSON file."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kolors_course.art import TIMELESS, Scene, find_subject
from kolors_course.dataset.text import check_text
from kolors_course.errors import CourseError, brief
from kolors_course.files import read_text
from kolors_course.prompting import check_prompts
from kolors_course.ranges import SEEDS
from kolors_course.untrusted import parse_json
from kolors_course.yaml_files import MAX_BYTES, parse_yaml

MAX_PANELS = 16
MAX_CHARACTERS = 4
MAX_TEXT = 1000  # characters; a caption has about 40, and ChatGLM reads the first 256 tokens of a prompt
_FENCE = re.compile(r"\s*```\w*[ \t]*\n(.*?)\n?```\s*", re.DOTALL)
EXAMPLE = "a YAML file such as data/stories/moon_rabbit.yaml"


@dataclass(frozen=True)
class Character:
    """Somebody of the story's character sheet.

    Attributes:
        subject: what prompts call it: "rabbit".
        name: what the captions call it, in either language or both: "小白 Snow".
        look: how it looks and what it is like; "" where nothing is said.
    """

    subject: str
    name: str
    look: str = ""


@dataclass(frozen=True)
class StoryPanel:
    """One picture of a story.

    Attributes:
        prompt: what the model reads.
        caption_zh, caption_en: what the reader reads under the picture; one of them may be "".
        seed: of the initial noise.
        scene: the facts that the prompt asks for, with the panel's seed; None where they are not written
            down, and then the picture cannot be scored.
        negative: what this picture keeps away from; None where the panel says nothing of it, "" for nothing.
        say_zh, say_en: what somebody in the picture says, for a speech bubble; "" where nobody does.
    """

    prompt: str
    caption_zh: str
    caption_en: str
    seed: int
    scene: Scene | None = None
    negative: str | None = None
    say_zh: str = ""
    say_en: str = ""


@dataclass(frozen=True)
class Storyboard:
    """A title in one language or two, the panels in their order, the file they come from, what all panels keep away
    from, and who is in the story.

    Raises:
        CourseError: no panels, or more than `MAX_PANELS`.
    """

    title_zh: str
    title_en: str
    panels: tuple[StoryPanel, ...]
    path: Path
    negative: str = ""
    characters: tuple[Character, ...] = ()

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
    """Read a story from YAML, or from JSON where the file's name ends in .json.

    The file holds `title_zh` or `title_en` or both, `panels` and optionally `seed` (0 if left out), `negative` and
    `characters` (each `subject`, `name` and optionally `look`). Each panel holds `prompt`, `caption_zh` or
    `caption_en` or both and optionally `negative` (instead of the story's), `say_zh`, `say_en` (speech bubbles),
    `seed` (the story's seed plus the panel's place, counted from 0) and `scene`: `subjects` (one or two names),
    `place`, `time`, `size`, `position`. Line breaks and repeated spaces inside a text become one space.

    Raises:
        CourseError: no such file, not UTF-8, not the plain YAML that `kolors_course.yaml_files` reads, a key that is
            missing or unknown (in YAML also written twice), a text that is empty or longer than `MAX_TEXT`,
            wrong weights in a prompt, a seed that is no whole number from 0, a scene outside the world, no panels.
    """
    path = Path(path)
    return parse_storyboard(read_text(path, MAX_BYTES, EXAMPLE), path)


def parse_storyboard(text: str, path: str | Path) -> Storyboard:
    """A story from the text of such a file; errors name it `path`.

    Raises:
        CourseError: see `read_storyboard`.
    """
    path = Path(path)
    if path.suffix.lower() == ".json":
        return storyboard_of(parse_json(without_fence(text), str(path)), path)
    return storyboard_of(parse_yaml(text, str(path)), path)


def without_fence(text: str) -> str:
    """What stands between ``` and ```, where chat models put all that they answer."""
    fenced = _FENCE.fullmatch(text)
    return fenced[1] if fenced else text


def storyboard_of(values: object, path: Path) -> Storyboard:
    """A story from what such a file says; errors name it `path`.

    Raises:
        CourseError: see `read_storyboard`.
    """
    story = _Entry(values, str(path), ("panels",), ("seed", "negative", "characters"), ("title",))
    panels = story.list_of("panels", "'- prompt: ...' for each picture")
    seed = story.seed("seed", 0)
    characters = story.list_of("characters", "'- {subject: ..., name: ...}' for each")
    if len(characters) > MAX_CHARACTERS:
        raise CourseError(
            f"{path}: {len(characters)} characters are too many; at most {MAX_CHARACTERS} are read"
        )
    return Storyboard(
        story.spoken("title_zh"),
        story.spoken("title_en"),
        tuple(panel_of(values, f"{path} panel {i + 1}", seed + i) for i, values in enumerate(panels)),
        path,
        story.negative() or "",
        tuple(_character(values, f"{path} character {i + 1}") for i, values in enumerate(characters)),
    )


class _Entry:
    """A mapping of the file whose keys are known to be right; `where` begins every message about it.

    Of each of `bilingual`, such as "title", it holds `title_zh` or `title_en` or both.
    """

    def __init__(
        self,
        values: object,
        where: str,
        required: tuple[str, ...],
        optional: tuple[str, ...],
        bilingual: tuple[str, ...] = (),
    ):
        spoken = [(f"{name}_zh", f"{name}_en") for name in bilingual]
        allowed = (*required, *(key for pair in spoken for key in pair), *optional)
        if not isinstance(values, dict):
            keys = ", ".join(allowed[: len(allowed) - len(optional)])
            raise CourseError(f"{where}: expected 'key: value' lines with the keys {keys}")
        for key in values:
            if key not in allowed:
                raise CourseError(f"{where}: unknown key '{brief(key)}'; the keys are {', '.join(allowed)}")
        for key in required:
            if key not in values:
                raise CourseError(f"{where}: key '{key}' is missing; add a line '{key}: ...'")
        for zh, en in spoken:
            if zh not in values and en not in values:
                raise CourseError(f"{where}: '{zh}' and '{en}' are missing; write one of them, or both")
        self.values, self.where = values, where

    def text(self, key: str) -> str:
        value = self.values[key]
        if value is None or (isinstance(value, str) and not value.strip()):
            raise CourseError(f"{self.where}: '{key}' is empty; write a few words")
        if not isinstance(value, str):
            kind = type(value).__name__
            raise CourseError(f"{self.where}: '{key}' must be text, but is read as {kind}; put it in quotes")
        if len(value) > MAX_TEXT:
            raise CourseError(
                f"{self.where}: '{key}' has {len(value)} characters; at most {MAX_TEXT} are read"
            )
        check_text(f"{key} of {self.where}", value)
        return " ".join(value.split())

    def spoken(self, key: str) -> str:
        """A text that may be left out, and is "" then."""
        return self.text(key) if key in self.values else ""

    def list_of(self, key: str, entry: str) -> Sequence[object]:
        """A list, empty where it is left out; `entry` is what the message advises to write."""
        values = self.values.get(key, [])
        if not isinstance(values, list):
            raise CourseError(f"{self.where}: '{key}' must be a list; write one {entry}")
        return values

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


def _character(values: object, where: str) -> Character:
    entry = _Entry(values, where, ("subject", "name"), ("look",))
    return Character(entry.text("subject"), entry.text("name"), entry.spoken("look"))


def panel_of(values: object, where: str, default_seed: int) -> StoryPanel:
    """One entry of `panels`.

    Args:
        where: what messages call it.
        default_seed: where it has none of its own.

    Raises:
        CourseError: see `read_storyboard`.
    """
    optional = ("negative", "seed", "scene", "say_zh", "say_en")
    entry = _Entry(values, where, ("prompt",), optional, ("caption",))
    seed = entry.seed("seed", default_seed)
    scene = None
    if "scene" in entry.values:
        try:
            scene = _scene(entry.values["scene"], seed)
        except CourseError as error:
            raise CourseError(f"{where}: {error}") from error
    return StoryPanel(
        entry.prompt("prompt"),
        entry.spoken("caption_zh"),
        entry.spoken("caption_en"),
        seed,
        scene,
        entry.negative(),
        entry.spoken("say_zh"),
        entry.spoken("say_en"),
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
