"""The course's own captioner: its files, strictly read, and how it writes."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from PIL import Image
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load_model, save_file
from torch import Tensor
from transformers import VisionEncoderDecoderModel

from kolors_course.captioner.network import SIDE, CaptionerShape, build_captioner, shape_dict
from kolors_course.captioner.tasks import CaptionWords, caption_words
from kolors_course.dataset.pixels import cover_picture
from kolors_course.errors import CourseError, brief
from kolors_course.files import atomic_path, check_whole_name, ensure_folder, read_text
from kolors_course.platform.paths import data_dir
from kolors_course.untrusted import parse_json, read_as

CONFIG, WEIGHTS = "config.json", "captioner.safetensors"
MOST_CONFIG = 100_000  # bytes


@dataclass(frozen=True)
class _Config:
    """What config.json says: the network's shape, and of which tokenizer its words are."""

    shape: CaptionerShape
    tokenizer_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


@dataclass(frozen=True)
class SmallCaptioner:
    """A `Captioner`: looks at 128 x 128 pixels and writes the likeliest next word each time, so that equal pictures
    have equal captions."""

    network: VisionEncoderDecoderModel
    words: CaptionWords
    name: str = "captioner"
    batch_size: int = 32

    @torch.no_grad()
    def caption(self, pictures: Sequence[Image.Image], language: str, length: str = "sentence") -> list[str]:
        """A caption of each picture; it always finds one. Pictures are scaled to cover 128 x 128 and cropped.

        Raises:
            CourseError: unknown language or length, or a pixel format that is no 8-bit picture.
        """
        task = self.words.task(language, length)
        texts = []
        for start in range(0, len(pictures), self.batch_size):
            pixels = cover_pixels(pictures[start : start + self.batch_size]).to(self.network.device)
            rows = self.network.generate(pixel_values=pixels, decoder_start_token_id=task)
            texts += [self.words.decode(row[1:], language) for row in rows.cpu()]
        return texts


def cover_pixels(pictures: Sequence[Image.Image]) -> Tensor:
    """Pictures of any size -> (N, 3, 128, 128) in -1..1."""
    arrays = [np.array(cover_picture(picture, SIDE, SIDE)) for picture in pictures]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).float() / 127.5 - 1


def save_captioner(
    network: VisionEncoderDecoderModel,
    shape: CaptionerShape,
    words: CaptionWords,
    folder: Path,
    card: dict[str, Any],
) -> None:
    """Write config.json and the weights in half precision, with `card` as JSON among their metadata.

    Raises:
        CourseError: the folder cannot be written to.
    """
    config = {"shape": shape_dict(shape), "tokenizer_sha256": _fingerprint(words)}
    tied = {"decoder.lm_head.weight"}  # is decoder.transformer.wte.weight
    tensors = {
        key: (value.half() if value.is_floating_point() else value).contiguous()
        for key, value in network.state_dict().items()
        if key not in tied
    }
    with atomic_path(ensure_folder(folder) / WEIGHTS) as temporary:
        save_file(tensors, temporary, metadata={"card": json.dumps(card)})
    with atomic_path(folder / CONFIG) as temporary:
        temporary.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def load_captioner(folder: str | Path | None = None, device: str | torch.device = "cpu") -> SmallCaptioner:
    """The captioner in `folder`, by default that of the course, with the words of Kolors-mini's tokenizer.

    Raises:
        CourseError: a file is missing, damaged or of another captioner, or the tokenizer is not that which it learned
            with.
    """
    folder = data_dir() / "captioner" if folder is None else Path(folder)
    text = read_text(folder / CONFIG, MOST_CONFIG, "a folder of a captioner, such as data/captioner")
    config = read_as(_Config, parse_json(text, str(folder / CONFIG)), str(folder / CONFIG))
    words = caption_words(data_dir() / "kolors-mini" / "tokenizer")
    if _fingerprint(words) != config.tokenizer_sha256:
        raise CourseError(
            f"{folder} learned with another tokenizer than that of data/kolors-mini; train it again: "
            "kolors-course train-mini --from data/kolors-mini --stage captioner"
        )
    network = _empty_captioner(words, config.shape, folder / CONFIG).half()
    path = folder / WEIGHTS
    check_whole_name(path)
    try:
        load_model(network, str(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise CourseError(
            f"cannot read the captioner {path}: {brief(str(error), 160)}; restore it with git checkout"
        ) from error
    return SmallCaptioner(network.float().eval().requires_grad_(False).to(device), words, name=folder.name)


def _empty_captioner(words: CaptionWords, shape: CaptionerShape, where: Path) -> VisionEncoderDecoderModel:
    try:
        return build_captioner(words, shape)
    except (ValueError, RuntimeError) as error:
        raise CourseError(f"{where}: no network has this shape: {brief(str(error), 120)}") from error


def _fingerprint(words: CaptionWords) -> str:
    """SHA-256 of the tokenizer's model."""
    return hashlib.sha256(words.tokenizer.tokenizer.sp_model.serialized_model_proto()).hexdigest()
