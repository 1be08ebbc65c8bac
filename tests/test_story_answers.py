"""A storyboard by a language model: the request names the whole world, and every fault of an answer is one line."""

import json

import pytest

from kolors_course.art import PLACES, subjects
from kolors_course.errors import CourseError
from kolors_course.platform.paths import data_dir
from kolors_course.story import check_answer, read_answer, read_storyboard, story_request
from kolors_course.story.answers import ANSWER_PANELS, MAX_TOKENS

ANSWERS = data_dir() / "stories" / "answers"


def words(text: str) -> int:
    """Stands for a tokenizer: a token for every three characters."""
    return len(text) // 3


@pytest.fixture
def good() -> dict:
    return json.loads((ANSWERS / "good.json").read_text(encoding="utf-8"))


def faults(values, count_tokens=words):
    text = values if isinstance(values, str) else json.dumps(values, ensure_ascii=False)
    answer = check_answer(text, "answer.json", count_tokens)
    assert (answer.storyboard is None) == bool(answer.faults)
    assert not any("\n" in fault for fault in answer.faults)
    return answer.faults


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_request_names_all_that_may_be_answered(language):
    text = story_request(language, "a  penguin")
    assert "a penguin" in text
    assert all(subject.en in text and subject.zh in text for subject in subjects())
    assert all(place in text for place in PLACES)
    assert str(MAX_TOKENS) in text
    assert str(ANSWER_PANELS) in text


def test_requests_that_are_not_written():
    with pytest.raises(CourseError, match="no request in language 'fr'"):
        story_request("fr")
    with pytest.raises(CourseError, match="a topic of 301 characters is too long"):
        story_request("en", "x" * 301)


def test_a_good_answer_is_a_storyboard(good):
    answer = read_answer(ANSWERS / "good.json", words)
    assert answer.faults == ()
    assert answer.storyboard == read_storyboard(ANSWERS / "good.json")
    assert len(answer.storyboard.panels) == ANSWER_PANELS
    assert answer.storyboard.panels[1].say_en == "Go on!"
    assert answer.storyboard.characters[0].subject == "penguin"
    assert faults("```json\n" + json.dumps(good) + "\n```\n") == ()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("wrong_subjects.json", ["panel 2: unknown subject 'wizard'", "panel 5: scene: one or two subjects"]),
        (
            "wrong_facts.json",
            [
                "panel 3: the prompt's time is night, the scene's dusk",
                "panel 6: the prompt has ",
                "panel 8: the scene",
            ],
        ),
        ("cut_off.txt", ["the answer is cut off"]),
    ],
)
def test_recorded_faults_are_named(name, expected):
    said = read_answer(ANSWERS / name, words).faults
    assert len(said) == len(expected)
    assert all(line.startswith(start) for line, start in zip(said, expected, strict=True)), said


def test_answers_that_are_no_storyboard(good):
    text = json.dumps(good)
    cases = {
        "Sorry, I cannot.": "the answer holds no JSON",
        f"Here it is: {text}": "the answer has words before or after",
        text[:-1]: "the answer is cut off",
        text[:300]: "the answer is cut off",
        "{'title': 1}": "the answer, line 1: not JSON",
        "{}": "the answer: key 'panels' is missing",
        '{"panels": {}}': "the answer: 'title_zh' and 'title_en' are missing",
        '{"title_en": "x", "panels": {}}': "the answer: 'panels' must be a list",
        '{"title_en": "x", "panels": [1]}': "the answer panel 1: expected 'key: value' lines",
    }
    for answer, said in cases.items():
        (fault,) = faults(answer)
        assert fault.startswith(said), (answer[:40], fault)


def test_each_fault_of_the_whole(good):
    assert faults(good | {"panels": good["panels"][:7]}) == (
        "the answer has 7 panels; exactly 8 are asked for",
    )
    (fault,) = faults(good | {"characters": [{"subject": "fox", "name": "Red"}]})
    assert fault.startswith("character 'fox' is in no picture")
    (fault,) = faults(good | {"author": "me"})
    assert fault.startswith("the answer: unknown key 'author'")
    bare = {key: value for key, value in good["panels"][0].items() if key != "scene"}
    (fault,) = faults(good | {"panels": [bare, *good["panels"][1:]]})
    assert fault.startswith("panel 1: key 'scene' is missing")


@pytest.mark.parametrize(
    ("prompt", "kind"),
    [
        ("白天雪地上的一只小小的猫", "subject"),
        ("白天沙漠里的一只小小的企鹅", "place"),
        ("雪地上的一只小小的企鹅", "time"),
        ("白天雪地上的一只企鹅", "size"),
        ("白天雪地上的一只小小的企鹅，在左边", "position"),
    ],
)
def test_a_prompt_that_contradicts_its_scene(good, prompt, kind):
    good["panels"][0]["prompt"] = prompt
    (fault,) = faults(good)
    assert fault.startswith(f"panel 1: the prompt's {kind} is ")
