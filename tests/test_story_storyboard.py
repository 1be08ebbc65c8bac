"""Storyboards: what the reader accepts, the one line it says about everything else, and the shipped story."""

from pathlib import Path

import pytest
import yaml

from kolors_course.art import Scene, caption, find_subject, is_held_out, style_test_subjects
from kolors_course.errors import CourseError
from kolors_course.platform.paths import data_dir
from kolors_course.story import MAX_PANELS, Storyboard, StoryPanel, parse_storyboard, read_storyboard

PANEL = {"prompt": "a rabbit in a room at night", "caption_zh": "小兔。", "caption_en": "Rabbit."}
STORIES = sorted((data_dir() / "stories").glob("*.yaml"))


@pytest.fixture
def file(tmp_path):
    return tmp_path / "story.yaml"


def story(*panels, **top):
    """The text of a good storyboard, with some values replaced; None leaves a key out."""
    document = {"title_zh": "题", "title_en": "Title", "panels": list(panels) or [PANEL]} | top
    return yaml.safe_dump(
        {key: value for key, value in document.items() if value is not None}, allow_unicode=True
    )


def panel(**changes):
    return {key: value for key, value in (PANEL | changes).items() if value is not None}


def scene(**facts):
    return panel(scene={"subjects": ["rabbit"], "place": "room", "time": "night"} | facts)


def complaint(file, content):
    """The message of the refusal: one line that names the file."""
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(CourseError) as caught:
        read_storyboard(file)
    message = str(caught.value)
    assert "\n" not in message
    assert str(file) in message
    return message.replace(str(file), "FILE")


def test_reads_panels_seeds_and_scenes(file):
    with_scene = scene(subjects=["兔子"], size="big") | {"seed": 3}
    file.write_text(story(PANEL, with_scene, PANEL, seed=40), encoding="utf-8")
    plain = ("a rabbit in a room at night", "小兔。", "Rabbit.")
    rabbit = Scene((find_subject("rabbit"),), "room", "night", size="big", seed=3)
    expected = (StoryPanel(*plain, 40), StoryPanel(*plain, 3, rabbit), StoryPanel(*plain, 42))
    assert read_storyboard(file) == Storyboard("题", "Title", expected, file)
    assert read_storyboard(str(file)).panels == expected


def test_story_seed_is_zero_if_left_out(file):
    file.write_text(story(*[PANEL] * MAX_PANELS), encoding="utf-8")
    assert [p.seed for p in read_storyboard(file).panels] == list(range(MAX_PANELS))


def test_weights_in_prompts_are_read_with_the_story(file):
    file.write_text(story(panel(prompt="a (rabbit:1.3)", negative="[:night:0.5]")), encoding="utf-8")
    (read,) = read_storyboard(file).panels
    assert (read.prompt, read.negative) == ("a (rabbit:1.3)", "[:night:0.5]")
    wrong = {"prompt": "a (rabbit:13)", "negative": "(night"}
    for key, text in wrong.items():
        said = complaint(file, story(PANEL, panel(**{key: text})))
        assert said.startswith(f"FILE panel 2: '{key}': the prompt at character ")
    assert complaint(file, story(negative="(night")).startswith("FILE: 'negative': the prompt at character 1")


def test_space_needs_no_time(file):
    file.write_text(story(panel(scene={"subjects": ["rabbit"], "place": "space"})), encoding="utf-8")
    assert read_storyboard(file).panels[0].scene.time == "timeless"


def test_line_breaks_become_spaces_and_a_byte_order_mark_is_allowed(file):
    text = story().replace("prompt: a rabbit in", "prompt: >\n    a rabbit\n    in")
    assert text != story()
    file.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert read_storyboard(file).panels[0].prompt == PANEL["prompt"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"title_zh: a\ntitle_en: \xff\n", "FILE line 2 is not UTF-8"),
        ("title_zh: a\ntitle_en: b: c\n", "FILE line 2, column 12: not valid YAML"),
        ("a: 1\na: 2\n", "FILE line 2, column 1: not valid YAML (key 'a' is written twice)"),
        (b" " * 2**19, "FILE has 524288 bytes, and at most 262144 are read"),
        ("", "FILE: expected 'key: value' lines with the keys panels, title_zh, title_en"),
        ("- a\n", "FILE: expected 'key: value' lines"),
        (
            story(title_en=None, title_zh=None),
            "FILE: 'title_zh' and 'title_en' are missing; write one of them",
        ),
        (story(characters=3), "FILE: 'characters' must be a list"),
        (story(characters=[{"name": "x"}]), "FILE character 1: key 'subject' is missing"),
        (story(panel(say_zh=" ")), "FILE panel 1: 'say_zh' is empty"),
        (
            story(tittle="x"),
            "FILE: unknown key 'tittle'; the keys are panels, title_zh, title_en, seed, negative",
        ),
        (story(title_zh=" "), "FILE: 'title_zh' is empty"),
        (story(title_zh="x" * 1001), "FILE: 'title_zh' has 1001 characters; at most 1000 are read"),
        (story(negative=3), "FILE: 'negative' must be text, but is read as int"),
        (story(panel(negative=" ")), "FILE panel 1: 'negative' is empty"),
        (story(panels=[]), "FILE: 'panels' holds 0 panels; a story has 1 to 16"),
        (story(*[PANEL] * 17), "FILE: 'panels' holds 17 panels"),
        (story(panels={"1": PANEL}), "FILE: 'panels' must be a list"),
        (story(seed="eight"), "FILE: 'seed' must be a whole number from 0 to 2^32 - 1, not eight"),
        (story(seed=True), "FILE: 'seed' must be a whole number from 0 to 2^32 - 1, not True"),
        (story(PANEL, "words"), "FILE panel 2: expected 'key: value' lines with the keys prompt, caption_zh"),
        (
            story(panel(caption_en=None, caption_zh=None)),
            "FILE panel 1: 'caption_zh' and 'caption_en' are missing",
        ),
        (story(PANEL, panel(caption_zh="")), "FILE panel 2: 'caption_zh' is empty"),
        (
            story(panel(prompt=12)),
            "FILE panel 1: 'prompt' must be text, but is read as int; put it in quotes",
        ),
        (story(panel(caption="x")), "FILE panel 1: unknown key 'caption'; the keys are prompt, caption_zh"),
        (story(panel(seed=1.5)), "FILE panel 1: 'seed' must be a whole number from 0 to 2^32 - 1, not 1.5"),
        (story(panel(seed=-1)), "FILE panel 1: 'seed' must be a whole number from 0 to 2^32 - 1, not -1"),
        (story(PANEL, PANEL, seed=2**32 - 1), "FILE panel 2: 'seed' must be a whole number"),
        (story(panel(scene="a rabbit")), "FILE panel 1: scene: expected 'key: value' lines"),
        (story(scene(subjects="rabbit")), "FILE panel 1: scene: 'subjects' must be a list of names"),
        (story(scene(subjects=[])), "FILE panel 1: scene: one or two subjects, not 0"),
        (story(scene(subjects=["unicorn"])), "FILE panel 1: unknown subject 'unicorn'"),
        (
            story(scene(subjects=["rabbit", "bunny"])),
            "FILE panel 1: scene: 'rabbit' and 'bunny' are the same",
        ),
        (
            story(scene(subjects=["rabbit", "dog"], size="big")),
            "FILE panel 1: scene: two subjects stand left",
        ),
        (story(scene(place="moon")), "FILE panel 1: scene: place 'moon' is not one of meadow"),
        (story(scene(time=None)), "FILE panel 1: scene: 'time' is empty"),
        (story(scene(place="space")), "FILE panel 1: scene: only place 'space' goes with time 'timeless'"),
        (story(scene(colour="red")), "FILE panel 1: scene: unknown key 'colour'"),
        (
            story(panel(scene={"subjects": ["rabbit"], "place": "sea"})),
            "FILE panel 1: scene: key 'time' is missing",
        ),
    ],
)
def test_bad_storyboards_are_refused_in_one_line(file, content, said):
    assert said in complaint(file, content)


def test_a_path_without_a_file_is_refused(tmp_path):
    with pytest.raises(CourseError, match=r"none\.yaml does not exist; give a YAML file"):
        read_storyboard(tmp_path / "none.yaml")
    with pytest.raises(CourseError, match="is a folder, not a file"):
        read_storyboard(tmp_path)


def test_an_unreadable_file_is_refused(file, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    file.write_text(story(), encoding="utf-8")
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(
        CourseError, match=r"cannot read .*story\.yaml: Permission denied; mend its permissions"
    ):
        read_storyboard(file)


def test_a_panels_own_negative_prompt_wins_over_the_storys(file):
    file.write_text(
        story(PANEL, panel(negative="a dog"), panel(negative=""), negative="night"), encoding="utf-8"
    )
    drawn = read_storyboard(file)
    assert drawn.negative_prompts() == ["night", "a dog", ""]
    assert drawn.negative_prompts("snow") == ["snow", "a dog", ""]
    file.write_text(story(), encoding="utf-8")
    assert read_storyboard(file).negative_prompts() == [""]


def test_words_that_older_yaml_takes_for_something_else_are_titles(file):
    text = story().replace("title_zh: 题", "title_zh: 2024-05-01").replace("Title", "No")
    file.write_text(text, encoding="utf-8")
    drawn = read_storyboard(file)
    assert (drawn.title_zh, drawn.title_en) == ("2024-05-01", "No")


@pytest.mark.parametrize("key", ["title_zh", "seed", "negative", "panels"])
@pytest.mark.parametrize(
    "value", [["x" * 2000] * 50, "x" * 10**5, {"x" * 10**5: 1}], ids=["list", "text", "map"]
)
def test_messages_never_repeat_a_value_whole(tmp_path, key, value):
    text = yaml.safe_dump({"title_zh": "题", "title_en": "b", "panels": [PANEL], key: value})
    with pytest.raises(CourseError) as caught:
        parse_storyboard(text, "story.yaml")
    assert len(str(caught.value)) < 200


def test_there_is_a_story_to_show():
    assert "moon_rabbit.yaml" in [path.name for path in STORIES]


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_shipped_prompts_are_the_captions_of_their_scenes(path):
    for number, drawn in enumerate(read_storyboard(path).panels, start=1):
        known = [
            caption(drawn.scene, lang, length) for lang in ("en", "zh") for length in ("sentence", "detailed")
        ]
        assert drawn.prompt in known, f"panel {number}"


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_shipped_stories_suit_the_course(path):
    panels = read_storyboard(path).panels
    assert len(panels) == 8
    assert len({drawn.seed for drawn in panels}) == 8
    assert sum(drawn.prompt.isascii() for drawn in panels) == 4
    assert sum(len(drawn.scene.subjects) == 1 for drawn in panels) >= 5
    assert all(len(drawn.caption_zh) <= 16 and len(drawn.caption_en) <= 45 for drawn in panels)
    # A story is for showing: it asks only for combinations that the base model has been trained on.
    assert not any(is_held_out(drawn.scene) for drawn in panels)
    heroes = {subject for drawn in panels for subject in drawn.scene.subjects}
    assert heroes <= set(style_test_subjects())


def test_the_demos_heroine_is_in_most_of_her_story():
    story = read_storyboard(data_dir() / "stories" / "moon_rabbit.yaml")
    subjects = [{subject.en for subject in panel.scene.subjects} for panel in story.panels]
    assert sum("rabbit" in here for here in subjects) >= 6
    assert all(len(here) == 1 for here in subjects)  # in paper-cut two would touch
