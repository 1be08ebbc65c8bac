"""A large vision-language model as a captioner: Qwen2.5-VL, Qwen3-VL and what else transformers loads by
`AutoModelForImageTextToText`, from a local folder. On a GPU, unless it is tiny.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

import torch
from PIL import Image

from kolors_course.captioner.answers import BadAnswer, ask_again, question, read_answer
from kolors_course.captioner.interface import NoCaption
from kolors_course.captioner.tasks import caption_words
from kolors_course.errors import CourseError, brief
from kolors_course.kolors.parts import LOAD_ERRORS
from kolors_course.platform.device import pick_device
from kolors_course.platform.paths import data_dir

TRIES = 3
MOST_NEW_TOKENS = 512  # of an answer; a caption of 254 tokens with its JSON around it
QWEN = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe")
LONGEST_SIDE = 1024  # pixels; larger pictures cost memory and tell a caption nothing more

Message: TypeAlias = dict[str, Any]
Answerer: TypeAlias = Callable[[Image.Image, list[Message]], str]


@dataclass(frozen=True)
class VlmCaptioner:
    """A `Captioner` that asks, reads the answer strictly, and asks again where it cannot be used.

    Attributes:
        answerer: a picture and what was said so far, in the form of chat templates -> what the model says next.
            The first message holds {"type": "image"} in the place of the picture.
        tries: how often a picture is asked about at most.
        count_tokens: how many tokens the diffusion model's tokenizer makes of a caption.
    """

    answerer: Answerer
    name: str
    tries: int = TRIES
    batch_size: int = 1
    count_tokens: Callable[[str], int] | None = None

    def caption(
        self, pictures: Sequence[Image.Image], language: str, length: str = "sentence"
    ) -> list[str | NoCaption]:
        """A caption of each picture, or why there is none after all tries.

        Raises:
            CourseError: unknown language or length.
        """
        return [self._caption(picture, language, length) for picture in pictures]

    def _caption(self, picture: Image.Image, language: str, length: str) -> str | NoCaption:
        asked: list[Message] = [_says("user", question(language, length), picture=True)]
        said, fault = asked, ""
        for _ in range(self.tries):
            answer = self.answerer(picture, said)
            try:
                return read_answer(answer, language, self.count_tokens or mini_tokens)
            except BadAnswer as error:
                fault = str(error)
            # Only the last answer is sent back: a model that sees three of its mistakes makes a fourth.
            said = [
                *asked,
                _says("assistant", brief(answer, 2000)),
                _says("user", ask_again(fault, language)),
            ]
        return NoCaption(f"{self.tries} answers could not be used; of the last, {fault}")


def _says(role: str, text: str, picture: bool = False) -> Message:
    image = [{"type": "image"}] if picture else []
    return {"role": role, "content": [*image, {"type": "text", "text": text}]}


def mini_tokens(text: str) -> int:
    """Tokens of a text by Kolors-mini's tokenizer, which spells words out that it does not know: never fewer than
    ChatGLM's own, which full Kolors has."""
    return len(_mini_words().tokenizer.tokenizer.sp_model.encode(text))


@cache
def _mini_words() -> Any:
    return caption_words(data_dir() / "kolors-mini" / "tokenizer")


def load_vlm(
    folder: str | Path, device: str | torch.device | None = None, tries: int = TRIES
) -> VlmCaptioner:
    """The model in a local folder, as `snapshot_download` of modelscope or huggingface_hub leaves it.

    Nothing is downloaded and no code of the folder runs. Weights are in bfloat16 on a GPU.

    Raises:
        CourseError: no folder, or transformers cannot load a model or a processor from it.
    """
    from transformers import AutoModelForImageTextToText

    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise CourseError(
            f"{folder} holds no config.json; give the folder of a vision-language model, such as Qwen2.5-VL"
        )
    place = pick_device() if device is None else torch.device(device)
    dtype = torch.float32 if place.type == "cpu" else torch.bfloat16
    try:
        processor = load_processor(folder)
        model = AutoModelForImageTextToText.from_pretrained(
            folder, dtype=dtype, local_files_only=True, trust_remote_code=False
        )
    except LOAD_ERRORS as error:
        raise CourseError(
            f"cannot load {folder} as a vision-language model: {brief(str(error), 200)}"
        ) from error
    return VlmCaptioner(partial(answer_with, model.to(place).eval(), processor), folder.name, tries)


def load_processor(folder: Path) -> Any:
    """What turns pictures and words into a model's inputs.

    That of Qwen's models needs torchvision, for films; without it, they have one that takes pictures alone.
    """
    from transformers import AutoConfig, AutoProcessor

    kind = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False).model_type
    if kind in QWEN and not find_spec("torchvision"):
        return qwen_processor(folder)
    return AutoProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def qwen_processor(folder: Path) -> Any:
    """Qwen's own processor without its video half, with pictures prepared by Pillow."""
    from transformers import AutoTokenizer, ProcessorMixin, Qwen2_5_VLProcessor
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    class PictureProcessor(Qwen2_5_VLProcessor):
        """Its arguments say what it consists of: ProcessorMixin reads them."""

        def __init__(self, image_processor: Any = None, tokenizer: Any = None, chat_template: Any = None):
            self.image_token, self.video_token = "<|image_pad|>", "<|video_pad|>"
            self.image_token_id, self.video_token_id = tokenizer.convert_tokens_to_ids(
                [self.image_token, self.video_token]
            )
            ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)

    pictures = Qwen2VLImageProcessorPil.from_pretrained(folder, local_files_only=True)
    words = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    return PictureProcessor(pictures, words, chat_template=words.chat_template)


@torch.no_grad()
def answer_with(model: Any, processor: Any, picture: Image.Image, messages: list[Message]) -> str:
    """What a model of transformers says next, always its likeliest words."""
    picture = picture.convert("RGB")
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    prompt = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    inputs = processor(text=[prompt], images=[picture], return_tensors="pt").to(model.device)
    answer = model.generate(**inputs, max_new_tokens=MOST_NEW_TOKENS, do_sample=False)
    new = answer[:, inputs["input_ids"].shape[1] :]
    return processor.batch_decode(new, skip_special_tokens=True)[0]
