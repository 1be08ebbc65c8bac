"""The vocabulary of Kolors-mini: complete, and what is not in it is found in both languages."""

import build_words
import numpy as np
import pytest
import yaml

from kolors_course.art import BASE_MODEL_STYLES, BASE_STYLE, draw_scene, random_caption, subjects
from kolors_course.art.facts import read_facts
from kolors_course.art.unknown import unknown_words
from kolors_course.art.vocabulary import vocabulary
from kolors_course.platform.paths import data_dir


def test_every_training_caption_is_known():
    rng = np.random.default_rng(0)
    styles = (BASE_STYLE, *BASE_MODEL_STYLES)
    captions = [random_caption(draw_scene(rng), rng, styles[i % len(styles)]) for i in range(2000)]
    assert {caption: unknown for caption in captions if (unknown := unknown_words(caption))} == {}


def test_the_committed_stories_are_known():
    for path in (data_dir() / "stories").glob("*.yaml"):
        story = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert [unknown_words(panel["prompt"]) for panel in story["panels"]] == [()] * len(story["panels"])


@pytest.mark.parametrize(
    ("prompt", "unknown"),
    [
        ("a unicorn in the forest", ["unicorn"]),
        ("二次元", ["二次元"]),
        ("一只独角兽在森林里", ["独角兽"]),
        ("夜晚雪地上的一只兔子，二次元风格", ["二次元"]),
        ("二次元少女在樱花树下", ["二次元少女", "樱花"]),
        ("a red fox and a red FOX", ["red"]),
        ("a red balloon", []),
        ("masterpiece, 4k, 1girl", ["masterpiece", "4k", "1girl"]),
        ("Teddy bears, snowmen, mice, puppies and slices of pizza", []),
        ("A T-Rex, a UFO and a jack-o'-lantern", []),
        ("ＵＦＯ and a　cat", []),
        ("a fire", ["fire"]),
        ("a fire truck", []),
        ("a fire, truck", ["fire", "truck"]),
        ("wolves by the sea", ["wolves"]),
        ("一只小猫在家里，旁边是狗", []),
        ("三只猫", ["三"]),
        ("一幅夜晚雪地上的兔子的画，画面里有一张图片", []),
        ("一条中国龙", ["中国"]),
        ("a cat猫unicorn独角兽", ["unicorn", "独角兽"]),
        ("кот и ネコ", ["кот", "и", "ネコ"]),
        ("paper-cut style", ["paper", "cut"]),
        ("line-art style, 蓝图风格", []),
        ("", []),
        ("，。!? -- ", []),
    ],
)
def test_unknown_words(prompt, unknown):
    assert list(unknown_words(prompt)) == unknown


def test_words_that_a_lora_names_are_known():
    prompt = "SKS unicorn on the beach, 二次元, a dragon"
    assert unknown_words(prompt) == ("SKS", "unicorn", "二次元")
    assert unknown_words(prompt, ["sks unicorn, 二次元"]) == ()
    assert unknown_words("a sksy cat", ["sks"]) == ("sksy",)


def test_a_long_prompt_takes_no_long_time():
    """The work grows with the length, not with its square: this would take minutes otherwise."""
    assert len(unknown_words("独角兽和一只猫" * 3000)) == 1
    assert len(unknown_words("unicorn and a cat " * 5000)) == 1


def test_the_vocabulary_names_everything_once_in_both_languages():
    sections = vocabulary()
    assert sum(len(section.entries) for section in sections[:7]) == len(subjects()) == 96
    assert [section.name for section in sections[7:]] == ["places", "times", "sizes", "positions", "styles"]
    for section in sections:
        assert section.zh
        assert all(entry.en and entry.zh for entry in section.entries), section.name
        assert len({entry.name for entry in section.entries}) == len(section.entries)


def test_the_exercises_read_the_same_words():
    for section in vocabulary():
        kind = {"places": "place", "times": "time", "sizes": "size", "positions": "position"}.get(
            section.name, "subject"
        )
        for entry in section.entries:
            if section.name != "styles":
                assert all(entry.name in read_facts(word)[kind] for word in (*entry.en, *entry.zh)), entry


def test_the_page_is_up_to_date():
    assert build_words.PAGE.read_text(encoding="utf-8") == build_words.page(), (
        "run: python scripts/build_words.py"
    )
