"""What counts as right, wrong and left out."""

import pytest

from kolors_course.art import LENGTHS, Scene, caption, find_subject
from kolors_course.captioner import score_captions
from kolors_course.captioner.scores import FactCount

CAT, DOG = find_subject("cat"), find_subject("dog")
ONE = Scene((CAT,), "snow", "night", "small", "left")
TWO = Scene((CAT, DOG), "beach", "day")
SPACE = Scene((CAT,), "space", "timeless")


def score(scene, text, length="sentence", language="en"):
    return score_captions([scene], [text], [(language, length)])


@pytest.mark.parametrize("scene", [ONE, TWO, SPACE])
@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("length", LENGTHS)
def test_a_true_caption_is_all_right(scene, language, length):
    scores = score(scene, caption(scene, language, length), length, language)
    assert (scores.perfect, scores.unreadable, scores.omission_rate, scores.hallucination_rate) == (
        1,
        0,
        0,
        0,
    )
    assert scores.all_facts.right == {ONE: 6, TWO: 5, SPACE: 5}[scene]


def test_each_wrong_fact_is_found_where_it_is():
    scores = score(ONE, "a big dog on the beach at night")
    wrong = {kind for kind, count in scores.facts.items() if count.wrong}
    assert wrong == {"subject", "place", "size", "position"}
    assert scores.hallucination_rate == 4 / 6
    assert scores.omission_rate == 0


def test_a_subject_too_few_is_left_out():
    scores = score(TWO, "a cat on the beach in the daytime")
    assert scores.facts["subject"] == FactCount(1, 0, 1)
    assert scores.facts["count"] == FactCount(0, 1, 0)
    assert scores.perfect == 0


def test_a_subject_too_many_is_a_wrong_count_and_hides_size_and_side():
    scores = score(ONE, "a cat and a dog in the snow at night")
    assert scores.facts["count"].wrong == 1
    assert scores.facts["size"].omitted == scores.facts["position"].omitted == 1


def test_a_pair_in_the_other_order_is_wrong():
    assert score(TWO, "a dog and a cat on the beach in the daytime").facts["subject"] == FactCount(0, 2, 0)


def test_a_time_where_there_is_none_is_not_told():
    assert score(ONE, "a small cat in outer space, on the left").facts["time"] == FactCount(0, 0, 1)


def test_what_is_no_caption_leaves_all_out():
    scores = score(ONE, "a cat, I think")
    assert (scores.unreadable, scores.omission_rate, scores.hallucination_rate) == (1, 1.0, 0.0)


def test_scores_add_up_over_pictures():
    texts = ["a small cat in the snow at night, on the left", "a cat and a dog in a room at dusk"]
    scores = score_captions([ONE, TWO], texts, [("en", "sentence")] * 2)
    assert scores.all_facts == FactCount(6 + 3, 2, 0)
    assert scores.perfect == 1
    told = scores.to_dict()
    assert told["overall"]["low"] < told["overall"]["share"] == round(9 / 11, 4) < told["overall"]["high"]
    assert told["characters"] == sum(map(len, texts)) / 2


def test_no_captions_are_no_score():
    with pytest.raises(ValueError, match="no caption"):
        score_captions([], [], [])
