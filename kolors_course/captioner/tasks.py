"""What the captioner is asked for, and how captions are written in numbers: language x length, then the words.

The first token of the decoder names the task, as Florence-2's prompts do (arXiv 2311.06242, section 3.2). The words
are those of Kolors-mini's tokenizer; the tasks' numbers come after them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers.pipelines.kolors.tokenizer import ChatGLMTokenizer
from torch import Tensor

from kolors_course.art.captions import LANGUAGES, LENGTHS
from kolors_course.errors import CourseError

TASKS = tuple((language, length) for language in LANGUAGES for length in LENGTHS)
LONGEST = 32  # tokens with task and end; the longest caption of the world takes 29
IGNORED = -100  # the label of a token that is not learned
# SentencePiece writes full-width punctuation in its plain form; captions in Chinese have it back.
_FULL_WIDTH = str.maketrans({",": "，", ":": "："})


@dataclass(frozen=True)
class CaptionWords:
    """Captions as numbers: 0 … V-1 are the pieces of the tokenizer, V … V+5 the tasks, V+6 is padding."""

    tokenizer: ChatGLMTokenizer

    @property
    def pieces(self) -> int:
        return self.tokenizer.tokenizer.sp_model.vocab_size()

    @property
    def end(self) -> int:
        return self.tokenizer.tokenizer.sp_model.eos_id()

    @property
    def start(self) -> int:
        """SentencePiece's own first token, which no caption has."""
        return self.tokenizer.tokenizer.sp_model.bos_id()

    @property
    def padding(self) -> int:
        return self.pieces + len(TASKS)

    @property
    def size(self) -> int:
        return self.padding + 1

    @property
    def never_written(self) -> list[int]:
        """What no caption holds: unknown and start of SentencePiece, tasks and padding."""
        model = self.tokenizer.tokenizer.sp_model
        return [model.unk_id(), self.start, *range(self.pieces, self.size)]

    def task(self, language: str, length: str) -> int:
        """The first token of a caption.

        Raises:
            CourseError: unknown language or length.
        """
        if (language, length) not in TASKS:
            raise CourseError(
                f"no caption of length '{length}' in language '{language}'; "
                f"languages: {', '.join(LANGUAGES)}; lengths: {', '.join(LENGTHS)}"
            )
        return self.pieces + TASKS.index((language, length))

    def encode(self, captions: Sequence[str], tasks: Sequence[tuple[str, str]]) -> tuple[Tensor, Tensor]:
        """What the decoder reads, task first, and what it should answer at each place; both (B, T).

        Raises:
            CourseError: a character that the tokenizer does not know, or a caption that is too long.
        """
        model = self.tokenizer.tokenizer.sp_model
        rows = []
        for text, task in zip(captions, tasks, strict=True):
            ids = model.encode(text)
            if model.unk_id() in ids or len(ids) + 2 > LONGEST:
                raise CourseError(f"the captioner cannot learn '{text}': unknown characters, or too long")
            rows.append([self.task(*task), *ids, self.end])
        longest = -(-max(map(len, rows)) // 4) * 4 + 1  # few different widths, for a GPU that records steps
        read = torch.full((len(rows), longest - 1), self.padding)
        answer = torch.full((len(rows), longest - 1), IGNORED)
        for i, row in enumerate(rows):
            read[i, : len(row) - 1] = torch.tensor(row[:-1])
            answer[i, : len(row) - 1] = torch.tensor(row[1:])
        return read, answer

    def decode(self, row: Tensor, language: str) -> str:
        """The text of a row of tokens, up to its end; tasks and padding say nothing."""
        ids = row.tolist()
        ids = ids[: ids.index(self.end)] if self.end in ids else ids
        text = self.tokenizer.tokenizer.sp_model.decode([i for i in ids if i < self.pieces]).strip()
        return text.translate(_FULL_WIDTH) if language == "zh" else text


def caption_words(folder: Path) -> CaptionWords:
    """The words of the tokenizer in `folder` (tokenizer.model).

    Raises:
        CourseError: it is missing or damaged.
    """
    try:
        return CaptionWords(ChatGLMTokenizer(str(folder / "tokenizer.model")))
    except (OSError, RuntimeError) as error:
        raise CourseError(
            f"cannot read the tokenizer {folder / 'tokenizer.model'}; restore it with git checkout"
        ) from error
