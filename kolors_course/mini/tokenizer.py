"""Kolors-mini's tokenizer, trained on captions of the world; how embeddings are carried over to a new one."""

import io
from pathlib import Path

import numpy as np
import sentencepiece
from diffusers.pipelines.kolors.tokenizer import ChatGLMTokenizer
from torch import Tensor

from kolors_course.art import BASE_STYLE, STYLE_ZH, STYLES, draw_scene, random_caption, subjects
from kolors_course.art.captions import LABEL_PLACE_ZH, PLACE_ZH, SIZE_ZH, TIME_ZH
from kolors_course.files import atomic_path


def _chinese_words() -> list[str]:
    """Words that must stay whole: without spaces, byte-pair merges would cut across Chinese words."""
    words = {w for s in subjects() for w in (s.zh, s.zh_synonym, s.classifier)}
    words |= {w for table in (PLACE_ZH, TIME_ZH, SIZE_ZH) for pair in table.values() for w in pair}
    words |= {"一幅画", "左边", "右边", "中间", "风格", *LABEL_PLACE_ZH.values(), *STYLE_ZH.values()}
    return sorted(words - {""})


def _corpus(captions: int, seed: int) -> list[str]:
    """Captions of random scenes, a third of which name one of the seven styles."""
    rng, lines = np.random.default_rng(seed), []
    for _ in range(captions):
        style = STYLES[rng.integers(len(STYLES))] if rng.random() < 1 / 3 else BASE_STYLE
        lines.append(random_caption(draw_scene(rng), rng, style))
    return lines


def build_tokenizer(folder: Path, captions: int = 20000, seed: int = 0) -> ChatGLMTokenizer:
    """Train a bilingual SentencePiece BPE model on captions; unknown characters fall back to bytes."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(_corpus(captions, seed)),
        model_writer=model,
        model_type="bpe",
        vocab_size=1600,
        user_defined_symbols=_chinese_words(),
        character_coverage=1.0,
        byte_fallback=True,
        unk_id=0,
        bos_id=1,
        eos_id=2,
        pad_id=-1,
        num_threads=1,
        minloglevel=2,
    )
    with atomic_path(folder / "tokenizer.model") as path:
        path.write_bytes(model.getvalue())
    return ChatGLMTokenizer(str(folder / "tokenizer.model"))


def carry_embeddings(weight: Tensor, old: ChatGLMTokenizer, new: ChatGLMTokenizer) -> Tensor:
    """Word embeddings (V, width) of one tokenizer, arranged for another of the same size.

    A piece that both know keeps its row; a new piece gets the mean of the old pieces that spell it.
    """
    before, after, carried = old.tokenizer.sp_model, new.tokenizer.sp_model, weight.clone()
    for row in range(after.vocab_size()):
        piece = after.id_to_piece(row)
        known = before.piece_to_id(piece)
        if known == before.unk_id() and row != after.unk_id():
            known = before.encode(piece.replace("▁", " "))
        carried[row] = weight[known] if isinstance(known, int) else weight[known].mean(0)
    return carried
