"""A prompt put together from its parts, and where its picture attends to each word: the widget of notebook 06."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from ipywidgets import Dropdown, Textarea

from kolors_course.art.unknown import unknown_words
from kolors_course.kolors import KolorsModel, Sampling, decode_latents, draw_latents, encode_stages
from kolors_course.kolors.attention import attention_maps, prompt_words, record_attention
from kolors_course.kolors.prompts import MAX_SEQUENCE_LENGTH, token_ids
from kolors_course.prompting import texts_of
from kolors_course.viz.anatomy import attention_figure
from kolors_course.viz.canvas import NotebookFigure
from kolors_course.viz.explore import Explorer

JOINERS = {"en": ", ", "zh": "，"}
MOST_WORDS = 15  # maps in a figure, which keeps its size


@dataclass(frozen=True)
class PromptParts:
    """The parts of a prompt as the camp taught them: 主体描述, 细节描述, 修饰词, 艺术风格."""

    subject: str
    details: str = ""
    modifiers: str = ""
    style: str = ""

    def written(self, language: str) -> str:
        """The prompt: what is there, in order. Chinese details stand before the subject if they end in 的."""
        subject = self.subject.strip()
        details = self.details.strip()
        if language == "zh" and details.endswith("的"):
            first = [details + subject]
        elif language == "en" and details:
            first = [f"{subject} {details}"]
        else:
            first = [subject, details]
        rest = (part.strip() for part in (self.modifiers, self.style))
        return JOINERS[language].join(part for part in (*first, *rest) if part)


def prompt_note(model: KolorsModel, prompt: str) -> str:
    """One line: how many tokens of those that are read, and which words Kolors-mini does not know.

    Raises:
        CourseError: switches or weights in the prompt are wrong, see `texts_of`.
    """
    texts = texts_of(prompt)
    tokens = max(len(token_ids(model.tokenizer, text, 10 * MAX_SEQUENCE_LENGTH)) for text in texts)
    cut = ": the rest is not read" if tokens > MAX_SEQUENCE_LENGTH else ""
    unknown = list(dict.fromkeys(word for text in texts for word in unknown_words(text)))
    return f"{tokens} of {MAX_SEQUENCE_LENGTH} tokens{cut}" + (
        f"; unknown: {', '.join(unknown[:4])}{' …' if len(unknown) > 4 else ''}" if unknown else ""
    )


@torch.no_grad()
def builder_figure(model: KolorsModel, prompt: str, negative: str = "", seed: int = 0) -> NotebookFigure:
    """The picture of a prompt and where each of its first words is attended to.

    Raises:
        CourseError: the prompt cannot be drawn, or has no words.
    """
    sampling: Sampling = replace(model.sampling, negative_prompt=negative)
    asked, kept_away = (
        encode_stages(model.tokenizer, model.text_encoder, [text]) for text in (prompt, negative)
    )
    with record_attention(model.unet) as records:
        latents = draw_latents(model, asked, kept_away, [seed], sampling)
    # Of a guided call the last half of the batch, or all of it, is the prompt's.
    maps = attention_maps(records, (latents.shape[2], latents.shape[3]))[-1].cpu()
    words = prompt_words(model.tokenizer, texts_of(prompt)[-1])[:MOST_WORDS]
    titles = [f"{word.text} {maps[word.row].mean():.1%}" for word in words]
    heat = torch.stack([maps[word.row] for word in words]) if words else maps[:0]
    figure = attention_figure(decode_latents(model, latents)[0], heat, titles, 5, MOST_WORDS)
    figure.suptitle(prompt_note(model, prompt))
    return figure


def prompt_builder(
    model: KolorsModel, language: str, choices: dict[str, Sequence[str]], seed: int = 0
) -> Explorer:
    """Controls for each part and for the negative prompt, over `builder_figure`.

    Args:
        choices: for the names of `PromptParts`, what can be chosen; the first is shown. The details are free text.
    """

    def draw(subject: str, details: str, modifiers: str, style: str, negative: str) -> NotebookFigure:
        prompt = PromptParts(subject, details, modifiers, style).written(language)
        return builder_figure(model, prompt, negative, seed)

    controls: dict[str, Any] = {name: Dropdown(options=list(options)) for name, options in choices.items()}
    controls["details"] = Textarea(choices["details"][0], rows=2, continuous_update=False)
    return Explorer(draw, **controls)
