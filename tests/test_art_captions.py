"""Captions: right words in two languages, and never the same words for different facts."""

import re
from itertools import product

import numpy as np
import pytest

from kolors_course.art import (
    BASE_STYLE,
    LANGUAGES,
    LENGTHS,
    PLACES,
    POSITIONS,
    SIZES,
    STYLE_ZH,
    STYLES,
    TIMELESS,
    TIMES,
    Scene,
    caption,
    find_subject,
    random_caption,
    random_scene,
    subjects,
)
from kolors_course.art.captions import in_style, with_article
from kolors_course.errors import CourseError

RABBIT, UFO, OWL, BUS = (find_subject(name) for name in ("rabbit", "UFO", "owl", "bus"))
SNOW = Scene((RABBIT,), "snow", "night")
SPACE = Scene((UFO,), "space", TIMELESS, "big", "left")
ROOM = Scene((OWL,), "room", "dusk", "small", "right")
PAIR = Scene((BUS, OWL), "mountain", "day")
SETTINGS = [(place, time) for place in PLACES for time in ((TIMELESS,) if place == "space" else TIMES)]
# Articles are right if "an" stands before exactly these beginnings: all are spoken as vowels.
AN = "airplane|apple|automobile|eagle|elephant|evergreen|ice|observation|octopus|owl|umbrella"
DOUBLED = re.compile(
    r"  |^ | $|[,，:：] *[,，:：。.]|[,，:：]$|\b(\w+) \1\b|([\u4e00-\u9fff]{2,})\2|的的|上上|里里"
)
WRONG_ARTICLE = re.compile(rf"\ba (?:{AN})\b|\ban (?!(?:{AN})\b)")


@pytest.mark.parametrize(
    ("scene", "length", "english", "chinese"),
    [
        (SNOW, "label", "rabbit, snow, night", "兔子，雪地，夜晚"),
        (SNOW, "sentence", "a rabbit on a snowy field at night", "夜晚雪地上的一只兔子"),
        (
            SNOW,
            "detailed",
            "a picture of a rabbit in the middle, on a snowy field at night",
            "一幅画：夜晚的雪地上，中间是一只兔子",
        ),
        (SPACE, "label", "big UFO, outer space, left", "大大的飞碟，太空，左边"),
        (SPACE, "sentence", "a big UFO in outer space, on the left", "太空中的一个大大的飞碟，在左边"),
        (
            SPACE,
            "detailed",
            "a picture of a big UFO on the left, in outer space",
            "一幅画：太空中，左边是一个大大的飞碟",
        ),
        (ROOM, "label", "small owl, room, dusk, right", "小小的猫头鹰，房间，黄昏，右边"),
        (
            ROOM,
            "sentence",
            "a small owl in a room at sunset, on the right",
            "黄昏房间里的一只小小的猫头鹰，在右边",
        ),
        (PAIR, "label", "bus and owl, mountains, day", "公交车和猫头鹰，山，白天"),
        (
            PAIR,
            "sentence",
            "a bus and an owl in front of mountains in the daytime",
            "白天山前的一辆公交车和一只猫头鹰",
        ),
        (
            PAIR,
            "detailed",
            "a picture of a bus on the left and an owl on the right, in front of mountains in the daytime",
            "一幅画：白天的山前，左边是一辆公交车，右边是一只猫头鹰",
        ),
    ],
)
def test_known_captions(scene, length, english, chinese):
    assert caption(scene, "en", length) == english
    assert caption(scene, "zh", length) == chinese


def test_articles():
    words = {word for subject in subjects() for word in (subject.en, subject.en_synonym) if word}
    assert {word.split()[0] for word in words if with_article(word).startswith("an ")} == set(AN.split("|"))
    assert with_article("UFO") == "a UFO"


def every_single_scene():
    """Each subject once in each setting; sizes and positions take turns."""
    looks = list(product(SIZES, POSITIONS))
    for i, (subject, (place, time)) in enumerate(product(subjects(), SETTINGS)):
        yield Scene((subject,), place, time, *looks[i % len(looks)])


@pytest.mark.parametrize("synonyms", [False, True])
def test_captions_are_well_formed(synonyms):
    rng = np.random.default_rng(0) if synonyms else None
    for scene, language, length in product(every_single_scene(), LANGUAGES, LENGTHS):
        text = caption(scene, language, length, rng)
        assert not DOUBLED.search(text), text
        assert not WRONG_ARTICLE.search(text), text
        assert "timeless" not in text
        if language == "en":
            assert text.isascii(), text
        else:
            assert not re.search(r"[a-z,.: ]", text), text


def facts(scene: Scene) -> tuple:
    names = tuple(subject.en for subject in scene.subjects)
    return names, scene.place, scene.time, scene.size, scene.position


@pytest.mark.parametrize("length", LENGTHS)
def test_a_caption_stands_for_one_set_of_facts(length):
    rng, meaning = np.random.default_rng(7), {}
    for _ in range(4000):
        scene = random_scene(rng)
        for language, words in product(LANGUAGES, (None, rng)):
            text = caption(scene, language, length, words)
            assert meaning.setdefault(text, facts(scene)) == facts(scene), text


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("length", LENGTHS)
def test_every_fact_changes_the_caption(language, length):
    scene = Scene((RABBIT,), "snow", "night")
    others = [
        Scene((OWL,), "snow", "night"),
        Scene((RABBIT, OWL), "snow", "night"),
        Scene((OWL, RABBIT), "snow", "night"),
        Scene((RABBIT,), "beach", "night"),
        Scene((RABBIT,), "snow", "day"),
        Scene((RABBIT,), "snow", "night", size="small"),
        Scene((RABBIT,), "snow", "night", position="left"),
    ]
    texts = {caption(each, language, length) for each in (scene, *others)}
    assert len(texts) == len(others) + 1


def test_the_seed_of_a_scene_is_no_fact():
    assert caption(Scene((RABBIT,), "snow", "night", seed=9), "zh") == caption(SNOW, "zh")


def test_synonyms_come_in_at_their_share():
    rng = np.random.default_rng(1)
    texts = [caption(SNOW, "en", "sentence", rng) for _ in range(2000)]
    # Three standard deviations of a share of 0.3 estimated from 2000 draws are 0.031.
    for word in ("bunny", "in the snow", "under the moon"):
        assert sum(word in text for text in texts) / 2000 == pytest.approx(0.3, abs=0.031)
    assert {caption(SNOW, "en", "sentence", None) for _ in range(20)} == {caption(SNOW, "en")}


def test_random_captions_mix_languages_and_lengths():
    rng = np.random.default_rng(2)
    texts = [random_caption(PAIR, rng) for _ in range(2000)]
    english = [text for text in texts if text.isascii()]
    # As above: three standard deviations of a half, a fifth and three tenths.
    assert len(english) / 2000 == pytest.approx(0.5, abs=0.034)
    detailed = [text for text in texts if text.startswith(("a picture of", "一幅画"))]
    assert len(detailed) / 2000 == pytest.approx(0.3, abs=0.031)
    labels = [text for text in english if " and a" not in text]
    assert len(labels) / len(english) == pytest.approx(0.2, abs=0.038)


class AlwaysSynonym:
    """Stands in for a random generator: every draw chooses the second word."""

    def random(self) -> float:
        return 0.0


def test_captions_are_far_shorter_than_256_tokens():
    """A SentencePiece model with byte fallback needs at most one token a byte, one for the leading space and
    ChatGLM's two prefix tokens: a bound that holds for Kolors' tokenizer and for Kolors-mini's."""

    def most_bytes(scene: Scene) -> int:
        every = product(LANGUAGES, LENGTHS, (None, AlwaysSynonym()))
        return max(len(caption(scene, *words).encode()) for words in every)

    longest = max(most_bytes(scene) for scene in every_single_scene())
    wordy = sorted(subjects(), key=lambda s: max(len(s.en), len(s.en_synonym), 3 * len(s.zh_synonym)))[-4:]
    pairs = [(a, b) for a in wordy for b in wordy if a != b]
    longest = max(longest, *(most_bytes(Scene(pair, *setting)) for pair, setting in product(pairs, SETTINGS)))
    assert longest + 3 < 128


@pytest.mark.parametrize(("language", "length"), [("fr", "label"), ("en", "poem")])
def test_an_unknown_kind_of_caption_is_one_clear_line(language, length):
    with pytest.raises(
        CourseError, match=f"'{length}' in language '{language}'; languages: en, zh; lengths: label"
    ):
        caption(SNOW, language, length)


@pytest.mark.parametrize(
    ("style", "first", "expected"),
    [
        ("colour", True, ("a cat at night", "夜晚的猫")),
        ("line-art", False, ("a cat at night, line art style", "夜晚的猫，线稿风格")),
        ("woodcut", True, ("woodcut style, a cat at night", "木刻风格，夜晚的猫")),
    ],
)
def test_the_style_is_named_before_or_behind(style, first, expected):
    assert in_style("a cat at night", "en", style, first) == expected[0]
    assert in_style("夜晚的猫", "zh", style, first) == expected[1]


def test_random_captions_name_every_style_but_the_default_one():
    scene = random_scene(np.random.default_rng(3))
    for style in STYLES:
        rng = np.random.default_rng(0)
        texts = [random_caption(scene, rng, style) for _ in range(40)]
        named = [
            STYLE_ZH[style] + "风格" in text or style.replace("-", " ") + " style" in text for text in texts
        ]
        assert all(named) if style != BASE_STYLE else not any(named)
