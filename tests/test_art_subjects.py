"""The table of subjects and their drawings."""

import numpy as np
import pytest

from kolors_course.art import find_subject, subject_index, subjects
from kolors_course.art.subject import PACKS, SPRITE_SIDE, _drawings, rasterise, silhouette, sprite
from kolors_course.errors import CourseError

LINE_PACKS = PACKS[1:]


def names_of(subject) -> dict[str, set[str]]:
    """The words that stand for a subject, by language, in lower case."""
    pairs = {"en": (subject.en, subject.en_synonym), "zh": (subject.zh, subject.zh_synonym)}
    return {language: {word.lower() for word in words if word} for language, words in pairs.items()}


def test_the_table_has_96_complete_rows():
    assert len(subjects()) == 96
    for subject in subjects():
        assert all((subject.hex, subject.emoji, subject.en, subject.zh, subject.classifier)), subject
        assert subject.habitat in ("land", "item", "air", "water"), subject
        # The emoji itself may carry the variation selector FE0F, which the key leaves out.
        assert f"{ord(subject.emoji[0]):X}" == subject.hex


@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_word_stands_for_two_subjects(language):
    owners = {}
    for subject in subjects():
        for word in names_of(subject)[language]:
            assert owners.setdefault(word, subject) is subject, f"{word}: {owners[word].en} and {subject.en}"


def test_words_are_clean():
    for subject in subjects():
        for word in (*names_of(subject)["en"], *names_of(subject)["zh"]):
            assert word == " ".join(word.split())
            assert "," not in word
            assert "，" not in word
        assert all("\u4e00" <= c <= "\u9fff" for c in subject.zh + subject.zh_synonym + subject.classifier)
        assert (subject.en + subject.en_synonym).isascii()


def test_index_follows_the_table():
    assert list(subject_index()) == [subject.en for subject in subjects()]
    assert list(subject_index().values()) == list(range(96))


@pytest.mark.parametrize("name", ["rabbit", "bunny", "兔子", "白兔"])
def test_a_subject_is_found_by_each_of_its_names(name):
    assert find_subject(name).hex == "1F407"


@pytest.mark.parametrize("name", ["unicorn", "", "Rabbit "])
def test_an_unknown_subject_is_one_clear_line(name):
    with pytest.raises(CourseError, match=f"unknown subject '{name}'; .*subjects.csv lists the 96"):
        find_subject(name)


@pytest.mark.parametrize("pack", PACKS)
def test_every_drawing_shows_something_and_is_cropped(pack):
    seen = set()
    for subject in subjects():
        alpha = np.asarray(sprite(subject, pack).getchannel("A"))
        # A few drawings (a rocket, a guitar) are narrow, none is a speck.
        assert SPRITE_SIDE >= max(alpha.shape) >= SPRITE_SIDE / 2, subject.en
        assert min(alpha.shape) >= SPRITE_SIDE / 4, subject.en
        # Thin lines cover little: the emptiest line drawing, the chick, covers 9 % of its box.
        assert (alpha > 128).mean() > 0.05, subject.en
        edges = (alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1])
        assert all((edge > 8).any() for edge in edges), f"{subject.en} has an empty margin"
        seen.add(sprite(subject, pack).tobytes())
    assert len(seen) == len(subjects()), "two subjects share a drawing"


@pytest.mark.parametrize("pack", PACKS)
def test_cropping_cuts_nothing_off(pack):
    for subject in subjects()[::12]:
        whole = rasterise(_drawings()[subject.hex][pack], SPRITE_SIDE, SPRITE_SIDE)
        visible = [int((np.asarray(image)[..., 3] > 8).sum()) for image in (whole, sprite(subject, pack))]
        assert visible[0] == visible[1], subject.en


@pytest.mark.parametrize("pack", LINE_PACKS)
def test_line_drawings_are_black_and_colour_is_not(pack):
    for subject in subjects()[::12]:
        ink = np.asarray(sprite(subject, pack))
        assert ink[ink[..., 3] == 255][:, :3].max() == 0, subject.en
        colour = np.asarray(sprite(subject, "colour"))
        assert len(np.unique(colour[colour[..., 3] == 255], axis=0)) > 20, subject.en


@pytest.mark.parametrize("pack", LINE_PACKS)
def test_silhouette_covers_the_drawing_and_its_holes(pack):
    for subject in subjects()[::12]:
        drawing, filled = sprite(subject, pack), np.asarray(silhouette(subject, pack))
        ink = np.asarray(drawing.getchannel("A")) > 60
        assert filled.shape == ink.shape
        assert set(np.unique(filled)) <= {0, 255}
        assert (filled[ink] == 255).all(), subject.en
        assert (filled == 255).sum() > ink.sum(), f"{subject.en}: nothing was filled"
