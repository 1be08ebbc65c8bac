"""What of a large model's answer is a caption, and what is said of the rest."""

import json

import pytest

from kolors_course.captioner.answers import MOST_TOKENS, BadAnswer, ask_again, question, read_answer
from kolors_course.captioner.vlm import mini_tokens
from kolors_course.errors import CourseError

GOOD = {"subjects": ["兔子"], "place": "雪地", "caption": "夜晚，一只兔子坐在雪地上。"}


def answer(**changes) -> str:
    return json.dumps({**GOOD, **changes}, ensure_ascii=False)


def read(text, language="zh"):
    return read_answer(text, language, mini_tokens)


@pytest.mark.parametrize(
    "text",
    [
        answer(),
        f"```json\n{answer()}\n```",
        f"```\n{answer()}",
        f"Here is the description:\n{answer()}\nI hope that helps!",
        f"<think>I cannot tell {{the place}}, sorry</think>\n{answer()}",
        json.dumps(GOOD, indent=4),
        answer(mood="calm"),
        answer(caption="夜晚，\n  一只兔子坐在雪地上。").replace("\\n  ", ""),
    ],
)
def test_what_can_be_used(text):
    assert read(text) == GOOD["caption"]


def test_lines_become_one():
    assert read(answer(caption="一只兔子\n坐在 雪地上")) == "一只兔子 坐在 雪地上"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "it is empty"),
        ("  \n", "it is empty"),
        ("```json\n```", "it is empty"),
        ("A rabbit sits in the snow.", "holds no JSON object"),
        ("[1, 2]", "holds no JSON object"),
        ("I'm sorry, but I can't help with that.", "a refusal: 'I'm sorry"),
        ("抱歉，我无法描述这张图片。", "a refusal: '抱歉"),
        (answer()[:-12], "damaged or cut short"),
        ('{"caption": ' * 5000, "damaged or cut short"),
        ("{" + "1" * 30000, "damaged or cut short"),
        (json.dumps({"caption": "一只兔子"}), "lacks subjects, place"),
        (json.dumps({"Caption": "一只兔子", "subjects": [], "place": ""}), "lacks caption"),
        (answer(caption=""), '"caption" is empty'),
        (answer(caption=["一只兔子"]), '"caption" is empty or no text'),
        (answer(caption=None), '"caption" is empty or no text'),
        (answer(caption="……！"), "not in Simplified Chinese"),
        (answer(caption="A rabbit in the snow"), "not in Simplified Chinese"),
        (answer(caption="抱歉，我无法看清图片"), "a refusal"),
        (answer(subjects=[]), '"subjects" must be a list'),
        (answer(subjects="兔子"), '"subjects" must be a list'),
        (answer(subjects=["兔子", 3]), '"subjects" must be a list'),
        (answer(place=None), '"place" must be a text'),
        (answer(caption="一只兔子坐在雪地上，" * 60), "tokens, and at most 254"),
    ],
)
def test_what_cannot(text, fault):
    with pytest.raises(BadAnswer, match=fault.replace("(", r"\(")) as told:
        read(text)
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 200


def test_chinese_is_not_english():
    english = {
        "subjects": ["rabbit"],
        "place": "snow",
        "caption": "A rabbit (兔) sits in the cold, white snow.",
    }
    assert read(json.dumps(english), "en") == english["caption"]
    with pytest.raises(BadAnswer, match="not in English"):
        read(answer(), "en")


def test_a_caption_may_be_as_long_as_kolors_reads():
    def tokens(text):
        return len(text)

    long = "兔" * MOST_TOKENS
    assert read_answer(answer(caption=long), "zh", tokens) == long
    with pytest.raises(BadAnswer, match="make it shorter"):
        read_answer(answer(caption=long + "子"), "zh", tokens)


def test_questions_name_language_and_length():
    asked = {
        question(language, length)
        for language in ("zh", "en")
        for length in ("label", "sentence", "detailed")
    }
    assert len(asked) == 6
    assert "Simplified Chinese" in question("zh", "label")
    assert "English" in ask_again("it is empty", "en")
    with pytest.raises(CourseError, match="languages: zh, en"):
        question("fr", "label")
