"""A story from a language model: what to ask it for, and what its answer gets wrong.

Nothing here talks to a model: a person pastes the request into one (通义千问, Kimi, …) and saves what it answers.
Every fault is one line, so that all of them can be pasted back as they are.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kolors_course.art import TIMELESS
from kolors_course.art.facts import read_facts
from kolors_course.art.vocabulary import vocabulary
from kolors_course.errors import CourseError, on_one_line
from kolors_course.files import read_text
from kolors_course.story.storyboard import Storyboard, StoryPanel, panel_of, storyboard_of, without_fence
from kolors_course.untrusted import parse_json
from kolors_course.yaml_files import MAX_BYTES

ANSWER_PANELS = 8
MAX_TOKENS = 254  # of 256, [gMASK] and sop take two
MAX_TOPIC = 300  # characters
_TOPICS = {"en": "choose one yourself", "zh": "请你自己选"}
_SCHEMA = """{
  "title_zh": "…", "title_en": "…",
  "characters": [{"subject": "rabbit", "name": "小白 Snow", "look": "…"}],
  "negative": "…",
  "panels": [
    {"prompt": "夜晚雪地上的一只兔子", "caption_zh": "…", "caption_en": "…", "say_zh": "…", "say_en": "…", "seed": 0,
     "scene": {"subjects": ["rabbit"], "place": "snow", "time": "night", "size": "big", "position": "left"}}
  ]
}"""
_REQUEST = {
    "en": """You write picture books. Make a storyboard in exactly {panels} pictures. Topic: {topic}.

Answer with JSON alone, no other words, in this form:
{schema}

Rules:
1. "subjects" holds one or two of these names and nothing else: {subjects}.
2. "place" is one of: {places}. "time" is one of: {times}; leave it out where the place is space.
3. "size" (small, normal, big) and "position" (left, middle, right) go with one subject only; they may be left out.
4. "prompt" says the same facts as "scene", in Chinese or English, in the words of rules 1 to 3: "a big rabbit in the
   snow at night, on the left". Nothing else: no hats, colours or feelings; they go into the captions.
5. No scene comes twice. The heroine is in most pictures and is always called the same.
6. Captions are at most 16 hanzi or 12 words. "negative", "say_zh" and "say_en" (what somebody says) may be left out.
7. A prompt has at most {tokens} tokens. "seed" is a whole number from 0.
""",
    "zh": """你是一位绘本作家。请写一个正好 {panels} 幅画的分镜脚本。主题：{topic}。

只回答 JSON，不要写别的话，格式如下：
{schema}

规则：
1. "subjects" 里有一个或两个名字，只能从这里选：{subjects}。
2. "place" 只能是：{places}。"time" 只能是：{times}；地点是 space 时不写时间。
3. "size"（small、normal、big）和 "position"（left、middle、right）只用于一个主体的画面，可以不写。
4. "prompt" 与 "scene" 说的是同样的事实，中文或英文都可以，只用规则 1 到 3 的词，
   例如“夜晚雪地上的一只大大的兔子，在左边”。
   不要写帽子、颜色、心情，这些写进 caption。
5. 场景不能重复。主角出现在大多数画面里，名字始终一样。
6. 每条 caption 不超过 16 个汉字或 12 个英文单词。"negative"、"say_zh"、"say_en"（人物说的话）可以不写。
7. 每条 prompt 不超过 {tokens} 个 token。"seed" 是从 0 开始的整数。
""",
}


def story_request(language: str, topic: str = "") -> str:
    """A text that asks a language model for a storyboard of this world, to be pasted into it.

    Args:
        language: "en" or "zh".
        topic: what the story is about; the model chooses where it is "".

    Raises:
        CourseError: another language, or a topic longer than `MAX_TOPIC`.
    """
    if language not in _REQUEST:
        raise CourseError(f"no request in language '{language}'; the languages are {', '.join(_REQUEST)}")
    if len(topic) > MAX_TOPIC:
        raise CourseError(f"a topic of {len(topic)} characters is too long; at most {MAX_TOPIC} are taken")
    sections = {section.name: section.entries for section in vocabulary()}
    kinds = ("places", "times", "sizes", "positions", "styles")
    named = {name: ", ".join(entry.name for entry in sections[name]) for name in ("places", "times")}
    entries = (entry for name, group in sections.items() if name not in kinds for entry in group)
    return _REQUEST[language].format(
        panels=ANSWER_PANELS,
        topic=" ".join(topic.split()) or _TOPICS[language],
        schema=_SCHEMA,
        subjects=", ".join(f"{entry.name} {entry.zh[0]}" for entry in entries),
        tokens=MAX_TOKENS,
        **named,
    )


@dataclass(frozen=True)
class StoryAnswer:
    """What became of an answer: a story, if it has no faults; each fault is one line."""

    storyboard: Storyboard | None
    faults: tuple[str, ...]


def read_answer(path: str | Path, count_tokens: Callable[[str], int] | None = None) -> StoryAnswer:
    """`check_answer` of a file.

    Raises:
        CourseError: no such file, unreadable, too large, not UTF-8.
    """
    path = Path(path)
    text = read_text(path, MAX_BYTES, "a file with the answer of a language model")
    return check_answer(text, path, count_tokens)


def check_answer(
    text: str, path: str | Path, count_tokens: Callable[[str], int] | None = None
) -> StoryAnswer:
    """A story from what a language model answered, and all that is wrong with it.

    A fence around the whole (```json) is taken off. The storyboard may still be drawn where there are no faults.

    Args:
        path: what the storyboard says that it comes from.
        count_tokens: the tokens of a prompt, without prefix; None where the length is not to be judged.
    """
    path = Path(path)
    try:
        values: Any = _json_of(text)
        panels = values.get("panels") if isinstance(values, dict) else None
        if not isinstance(panels, list) or not all(isinstance(panel, dict) for panel in panels):
            storyboard_of(values, Path("the answer"))  # says what is missing, or which panel is none
            raise CourseError("the answer: 'panels' must be a list of objects {…}")
    except CourseError as error:
        return StoryAnswer(None, (on_one_line(str(error)),))
    faults = tuple(on_one_line(fault) for fault in _faults(values, panels, count_tokens))
    if faults:
        return StoryAnswer(None, faults)
    return StoryAnswer(storyboard_of(values, path), ())


def _json_of(text: str) -> object:
    """The JSON of an answer.

    Raises:
        CourseError: it is cut off, stands between other words, or is none.
    """
    text = without_fence(text)
    start = text.find("{")
    if start == -1:
        raise CourseError("the answer holds no JSON; ask again for JSON alone")
    if "}" not in text or _open_brackets(text[start:]) > 0:
        raise CourseError(
            "the answer is cut off before its last bracket; ask the model to go on, and join both"
        )
    if text[:start].strip() or text[text.rfind("}") + 1 :].strip():
        raise CourseError("the answer has words before or after its JSON; keep what is between { and } alone")
    return parse_json(text, "the answer")


def _open_brackets(text: str) -> int:
    """How many { and [ outside of texts are not closed; a text that does not end counts as one."""
    outside = re.sub(r'"(?:\\.|[^"\\])*"', "", text, flags=re.DOTALL)
    return sum(outside.count(c) for c in '{["') - sum(outside.count(c) for c in "}]")


def _faults(values: dict, panels: Sequence[dict], count_tokens: Callable[[str], int] | None) -> Iterator[str]:
    """What is wrong with the story as a whole, then with each panel."""
    good = [{"prompt": "x", "caption_en": "x"}]
    try:
        sheet = storyboard_of({**values, "panels": good}, Path("the answer")).characters
    except CourseError as error:
        sheet = ()
        yield str(error)
    if len(panels) != ANSWER_PANELS:
        yield f"the answer has {len(panels)} panels; exactly {ANSWER_PANELS} are asked for"
    seen: dict[tuple, int] = {}
    drawn = set()
    whole = True
    for number, entry in enumerate(panels, start=1):
        where = f"panel {number}"
        try:
            panel = panel_of(entry, where, number)
        except CourseError as error:
            whole = False
            yield str(error)
            continue
        yield from (f"{where}: {fault}" for fault in _panel_faults(panel, count_tokens))
        if panel.scene:
            drawn |= {subject.en for subject in panel.scene.subjects}
            scene = (panel.scene.triples, panel.scene.size, panel.scene.position)
            first = seen.setdefault(scene, number)
            if first != number:
                yield f"{where}: the scene is that of panel {first}; change place, time, size or position"
    if whole:
        for character in sheet:
            if not read_facts(character.subject)["subject"] & drawn:
                yield f"character '{character.subject}' is in no picture; draw it, or take it off the sheet"


def _panel_faults(panel: StoryPanel, count_tokens: Callable[[str], int] | None) -> Iterator[str]:
    if count_tokens and (tokens := count_tokens(panel.prompt)) > MAX_TOKENS:
        yield f"the prompt has {tokens} tokens, and Kolors reads {MAX_TOKENS}; shorten it"
    if panel.scene is None:
        yield "key 'scene' is missing; say what the prompt asks for"
        return
    said = read_facts(panel.prompt)
    wanted = {
        "subject": {subject.en for subject in panel.scene.subjects},
        "place": {panel.scene.place},
        "time": {panel.scene.time} - {TIMELESS},
    }
    if len(panel.scene.subjects) == 1:
        wanted |= {"size": {panel.scene.size} - {"normal"}, "position": {panel.scene.position} - {"middle"}}
        said["position"] -= {"middle"}
        said["size"] -= {"normal"}
    for kind, values in wanted.items():
        if said[kind] != values:
            told, asked = (", ".join(sorted(each)) or "nothing" for each in (said[kind], values))
            yield f"the prompt's {kind} is {told}, the scene's {asked}; let both say the same"
