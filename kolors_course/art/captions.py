"""Words for a scene, in English and Chinese, as a label, a sentence or a detailed description."""

from dataclasses import dataclass

import numpy as np

from kolors_course.art.choices import BASE_STYLE, STYLE_ZH
from kolors_course.art.scene import Scene
from kolors_course.art.subject import Subject
from kolors_course.errors import CourseError

LANGUAGES = ("en", "zh")
LENGTHS = ("label", "sentence", "detailed")
SYNONYM_SHARE = 0.3  # how often a caption uses the second of two words

# (usual words, other words); a label drops the grammar
PLACE_EN = {
    "meadow": ("on the grass", "in a meadow"),
    "snow": ("on a snowy field", "in the snow"),
    "desert": ("in the desert", "on a sand dune"),
    "beach": ("on the beach", "at the beach"),
    "sea": ("on the sea", "on the ocean"),
    "city": ("in the city", "on a city street"),
    "forest": ("in the forest", "in the woods"),
    "mountain": ("in front of mountains", "in the mountains"),
    "space": ("in outer space", "among the stars"),
    "room": ("in a room", "at home"),
}
PLACE_ZH = {
    "meadow": ("草地上", "草原上"),
    "snow": ("雪地上", "雪原上"),
    "desert": ("沙漠里", "沙丘上"),
    "beach": ("沙滩上", "海边"),
    "sea": ("海面上", "大海上"),
    "city": ("城市里", "街道上"),
    "forest": ("森林里", "树林里"),
    "mountain": ("山前", "群山前"),
    "space": ("太空中", "宇宙中"),
    "room": ("房间里", "家里"),
}
TIME_EN = {
    "day": ("in the daytime", "on a sunny day"),
    "night": ("at night", "under the moon"),
    "dusk": ("at sunset", "at dusk"),
    "timeless": ("", ""),
}
TIME_ZH = {"day": ("白天", "晴天"), "night": ("夜晚", "夜里"), "dusk": ("黄昏", "傍晚"), "timeless": ("", "")}
SIZE_EN = {"small": ("small", "little"), "normal": ("", ""), "big": ("big", "large")}
SIZE_ZH = {"small": ("小小的", "很小的"), "normal": ("", ""), "big": ("大大的", "巨大的")}
SIDE_ZH = {"left": "左边", "middle": "中间", "right": "右边"}
LABEL_PLACE_EN = {"mountain": "mountains", "space": "outer space"}
LABEL_PLACE_ZH = {place: words[0].rstrip("上里中前") for place, words in PLACE_ZH.items()} | {
    "mountain": "山"
}


@dataclass(frozen=True)
class _Words:
    """Picks between the usual word and the synonym; without a random generator always the usual one."""

    rng: np.random.Generator | None

    def pick(self, pair: tuple[str, str]) -> str:
        if self.rng is None or not pair[1]:
            return pair[0]
        return pair[int(self.rng.random() < SYNONYM_SHARE)]


def with_article(phrase: str) -> str:
    """'rabbit' -> 'a rabbit', 'owl' -> 'an owl', 'UFO' -> 'a UFO'."""
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def _noun_en(words: _Words, subject: Subject, size: str) -> str:
    return " ".join(filter(None, (words.pick(SIZE_EN[size]), words.pick((subject.en, subject.en_synonym)))))


def _noun_zh(words: _Words, subject: Subject, size: str) -> str:
    return words.pick(SIZE_ZH[size]) + words.pick((subject.zh, subject.zh_synonym))


def _label_en(scene: Scene, words: _Words) -> str:
    nouns = " and ".join(_noun_en(words, s, scene.size) for s in scene.subjects)
    time = "" if scene.time == "timeless" else scene.time
    side = "" if scene.position == "middle" else scene.position
    return ", ".join(filter(None, (nouns, LABEL_PLACE_EN.get(scene.place, scene.place), time, side)))


def _label_zh(scene: Scene, words: _Words) -> str:
    nouns = "和".join(_noun_zh(words, s, scene.size) for s in scene.subjects)
    side = "" if scene.position == "middle" else SIDE_ZH[scene.position]
    return "，".join(filter(None, (nouns, LABEL_PLACE_ZH[scene.place], TIME_ZH[scene.time][0], side)))


def _sentence_en(scene: Scene, words: _Words) -> str:
    nouns = " and ".join(with_article(_noun_en(words, s, scene.size)) for s in scene.subjects)
    where = " ".join(filter(None, (words.pick(PLACE_EN[scene.place]), words.pick(TIME_EN[scene.time]))))
    side = "" if scene.position == "middle" else f", on the {scene.position}"
    return f"{nouns} {where}{side}"


def _sentence_zh(scene: Scene, words: _Words) -> str:
    nouns = "和".join(f"一{s.classifier}{_noun_zh(words, s, scene.size)}" for s in scene.subjects)
    side = "" if scene.position == "middle" else f"，在{SIDE_ZH[scene.position]}"
    return f"{words.pick(TIME_ZH[scene.time])}{words.pick(PLACE_ZH[scene.place])}的{nouns}{side}"


def _detailed_en(scene: Scene, words: _Words) -> str:
    nouns = [with_article(_noun_en(words, s, scene.size)) for s in scene.subjects]
    where = " ".join(filter(None, (words.pick(PLACE_EN[scene.place]), words.pick(TIME_EN[scene.time]))))
    if len(nouns) == 2:
        layout = f"{nouns[0]} on the left and {nouns[1]} on the right"
    else:
        layout = f"{nouns[0]} {'in' if scene.position == 'middle' else 'on'} the {scene.position}"
    return f"a picture of {layout}, {where}"


def _detailed_zh(scene: Scene, words: _Words) -> str:
    nouns = [f"一{s.classifier}{_noun_zh(words, s, scene.size)}" for s in scene.subjects]
    layout = (
        f"左边是{nouns[0]}，右边是{nouns[1]}" if len(nouns) == 2 else f"{SIDE_ZH[scene.position]}是{nouns[0]}"
    )
    return (
        f"一幅画：{words.pick(TIME_ZH[scene.time])}的{words.pick(PLACE_ZH[scene.place])}，{layout}".replace(
            "：的", "："
        )
    )


_WRITE = {
    ("en", "label"): _label_en,
    ("zh", "label"): _label_zh,
    ("en", "sentence"): _sentence_en,
    ("zh", "sentence"): _sentence_zh,
    ("en", "detailed"): _detailed_en,
    ("zh", "detailed"): _detailed_zh,
}


def caption(
    scene: Scene, language: str, length: str = "sentence", rng: np.random.Generator | None = None
) -> str:
    """Describe a scene. With `rng`, synonyms are mixed in; without, the usual words are used.

    "夜晚雪地上的一只兔子" / "a rabbit on a snowy field at night".

    Raises:
        CourseError: unknown language or length.
    """
    if (language, length) not in _WRITE:
        raise CourseError(
            f"no caption of length '{length}' in language '{language}'; "
            f"languages: {', '.join(LANGUAGES)}; lengths: {', '.join(LENGTHS)}"
        )
    return _WRITE[language, length](scene, _Words(rng))


def in_style(text: str, language: str, style: str, first: bool = False) -> str:
    """Name the style behind (or before) a caption: "a rabbit at night, line art style" / "夜晚的兔子，线稿风格".

    The base style is the default look and is never named.
    """
    if style == BASE_STYLE:
        return text
    phrase = f"{STYLE_ZH[style]}风格" if language == "zh" else f"{style.replace('-', ' ')} style"
    return (", " if language == "en" else "，").join((phrase, text) if first else (text, phrase))


def random_caption(scene: Scene, rng: np.random.Generator, style: str = BASE_STYLE) -> str:
    """A caption in either language: 20 % labels, 50 % sentences, 30 % detailed ones; it names the style."""
    language = LANGUAGES[rng.integers(2)]
    text = caption(scene, language, str(rng.choice(LENGTHS, p=(0.2, 0.5, 0.3))), rng)
    return text if style == BASE_STYLE else in_style(text, language, style, first=rng.random() < 0.5)
