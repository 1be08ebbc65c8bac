"""Templates of prompts: what they make, how many, with which odds, and what is refused."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from kolors_course.errors import CourseError
from kolors_course.prompting import all_prompts, read_template, read_weights, words_in

WORDS = {
    "place": ["forest", "", "# not a place", "{warm|cold} sea"],
    "animal": ["3::cat", "dog"],
    "here": ["the __place__"],
    "one": ["__two__"],
    "two": ["a __one__"],
    "empty": ["# nothing"],
    "bad": ["fine", "", "{a|b"],
}


def prompts(text: str) -> list[str]:
    return all_prompts(read_template(text, WORDS.__getitem__), 1000)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", [""]),
        ("a cat", ["a cat"]),
        ("a {cat|dog}", ["a cat", "a dog"]),
        ("{a|b}{c|d}", ["ac", "ad", "bc", "bd"]),
        ("{a|b{c|d}}", ["a", "bc", "bd"]),
        ("a {|big }cat", ["a cat", "a big cat"]),
        ("{cat}", ["cat"]),
        ("{0.5::a|2::b}", ["a", "b"]),
        ("{2$$a|b|c}", ["a, b", "a, c", "b, c"]),
        ("{1-2$$ and $$a|b}", ["a", "b", "a and b"]),
        ("{-1$$a|b}", ["", "a", "b"]),
        ("{2$$$$a|b}", ["ab"]),
        ("{2$$、$$猫|狗}在__place__", ["猫、狗在forest", "猫、狗在warm sea", "猫、狗在cold sea"]),
        ("__here__!", ["the forest!", "the warm sea!", "the cold sea!"]),
        ("__animal__", ["cat", "dog"]),
        (r"\{a\|b\} \$ \__place__ a|b", ["{a|b} $ __place__ a|b"]),
        ("snake_case __ ____", ["snake_case __ ____"]),
        (r"({cat|dog}:1.3) \(x\)", [r"(cat:1.3) \(x\)", r"(dog:1.3) \(x\)"]),
    ],
)
def test_every_prompt_in_order(text, expected):
    assert prompts(text) == expected
    assert read_template(text, WORDS.__getitem__).longest >= max(map(len, expected))


def test_what_is_taken_is_counted_as_combinations_are():
    options = [f"{{{c}1|{c}2}}" if i % 2 else c for i, c in enumerate("abcdef")]
    template = read_template("{2-4$$+$$" + "|".join(options) + "}")
    sizes = [2 if i % 2 else 1 for i in range(6)]
    expected = sum(np.prod(some) for k in (2, 3, 4) for some in combinations(sizes, k))
    made = all_prompts(template, 1000)
    assert len(made) == template.count == expected
    assert len(set(made)) == len(made)


def test_a_seed_draws_the_same_prompt_and_every_prompt_can_be_drawn():
    template = read_template("{1-2$$a|b|c} __place__", WORDS.__getitem__)
    drawn = [template.draw(np.random.default_rng(seed)) for seed in range(400)]
    assert drawn == [template.draw(np.random.default_rng(seed)) for seed in range(400)]
    assert set(drawn) == set(all_prompts(template, 100))


def test_odds():
    rng = np.random.default_rng(0)
    template = read_template("__animal__ {0.5::x|1.5::y}", WORDS.__getitem__)
    counts = Counter(template.draw(rng) for _ in range(4000))
    for words, share in (("cat x", 3 / 16), ("cat y", 9 / 16), ("dog x", 1 / 16), ("dog y", 3 / 16)):
        assert abs(counts[words] / 4000 - share) < 5 * (share * (1 - share) / 4000) ** 0.5


def test_what_is_far_too_much_is_counted_and_not_made():
    template = read_template("{" + "|".join("ab" * 8) + "}" * 1 + "{a|b}" * 200)
    assert template.count == 16 * 2**200
    assert template.at(template.count - 1) == "b" * 201
    with pytest.raises(CourseError, match="more than 10\\^15 prompts, and at most 1,000 are made"):
        all_prompts(template, 1000)
    with pytest.raises(CourseError, match="makes 1,024 prompts"):
        all_prompts(read_template("{a|b}" * 10), 1000)


def test_words_that_grow_without_a_circle_are_refused_before_they_are_made():
    """Each name holds the next one ten times: 10^20 characters."""
    lines = {f"n{i}": [f"__n{i + 1}__" * 10] for i in range(20)} | {"n20": ["x"]}
    with pytest.raises(CourseError, match="more than 10\\^15 characters, and at most 2000"):
        read_template("__n0__", lines.__getitem__)


def test_words_that_are_deep_only_together_are_refused():
    """Each is known before the next one holds it, so that none is deep while it is read."""
    lines = {f"n{i}": [f"{{__n{i - 1}__|x}}"] for i in range(1, 500)} | {"n0": ["x"]}
    with pytest.raises(CourseError, match="__n12__: more than 24 choices"):
        read_template("".join(f"__n{i}__" for i in range(500)), lines.__getitem__)
    assert read_template("__n0__" * 3 + "__n5__", lines.__getitem__).at(0) == "xxxx"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a {cat", "the template at character 3, '{cat': '{' is never closed"),
        ("a {cat|{dog}", "the template at character 3, "),
        ("a cat}", "the template at character 6, '}': '}' closes no '{'"),
        ("{3$$a|b}", "takes 3 of 2 options"),
        ("{2-1$$a|b}", "as 2 or 1-3, at most 16"),
        ("{0$$a|b}", "as 2 or 1-3, at most 16"),
        ("{99$$a|b}", "as 2 or 1-3, at most 16"),
        ("{0::a|b}", "odds must be a number"),
        ("__one__", "the words run in a circle: one → two → one"),
        ("__empty__", "__empty__ has 0 words"),
        ("__bad__", "__bad__ line 3 at character 1, '{a|b': '{' is never closed"),
        ("{" * 30 + "a" + "}" * 30, "more than 24 choices and words within one another"),
        ("x" * 2001, "could have 2,001 characters, and at most 2000"),
    ],
)
def test_what_is_refused_and_where(text, message):
    with pytest.raises(CourseError) as caught:
        read_template(text, WORDS.__getitem__)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_words_from_a_folder(tmp_path):
    (tmp_path / "place.txt").write_text("森林\n# 不是\n\n2::（海边:1.3）\n", encoding="utf-8-sig")
    template = read_template("__place__", words_in(tmp_path))
    made = all_prompts(template, 10)
    assert made == ["森林", "（海边:1.3）"]
    assert read_weights(made[1]).text == "海边"
    with pytest.raises(CourseError, match="nowhere.txt does not exist"):
        read_template("__nowhere__", words_in(tmp_path))
    with pytest.raises(CourseError, match="is no folder"):
        words_in(tmp_path / "place.txt")
    with pytest.raises(CourseError, match="there are no words for __place__"):
        read_template("__place__")
