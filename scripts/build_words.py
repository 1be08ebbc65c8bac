"""Write docs/words.md, the words that Kolors-mini knows, from the tables that its captions are made of.

python scripts/build_words.py
"""

from pathlib import Path

from kolors_course.art.vocabulary import Section, vocabulary

PAGE = Path(__file__).resolve().parents[1] / "docs" / "words.md"
HEAD = """# What Kolors-mini knows · Kolors-mini 认识的词

Kolors-mini was trained on captions made of the words below and has read nothing else: what a prompt says in other
words, it draws as something that it knows. English words may stand in the plural. `kolors-course words` prints this
list, `kolors-course words --prompt "…"` the words of a prompt that are not on it, and `generate` and `story` say so
before they draw. A LoRA can teach more; full Kolors has read the web.

训练 Kolors-mini 的图片描述只用了下面这些词，别的文字它没有读过：
提示词里的其他词，它会画成自己认识的东西。`kolors-course words` 打印这张词表，
`kolors-course words --prompt "…"` 列出提示词中不在表里的词；
`generate` 和 `story` 在画图之前也会提醒。LoRA 可以教它新词；完整的 Kolors 没有这个限制。

This page is made by `python scripts/build_words.py`.
"""


def section_lines(section: Section) -> list[str]:
    """A heading and a table of one section."""
    rows = [f"| {', '.join(entry.en)} | {'、'.join(entry.zh)} |" for entry in section.entries]
    heading = f"## {section.name.capitalize()} · {section.zh}"
    return ["", heading, "", "| English | 中文 |", "|---|---|", *rows]


def page() -> str:
    """The whole page."""
    lines = [line for section in vocabulary() for line in section_lines(section)]
    return HEAD + "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
