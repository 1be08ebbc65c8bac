"""A large vision-language model behind the captioner's interface: asked again where it fails, but not for ever; and
Qwen2.5-VL itself, tiny and untrained, from a folder."""

import json
import shutil

import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForImageTextToText,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from kolors_course.captioner import NoCaption, VlmCaptioner, load_vlm, vlm
from kolors_course.captioner.vlm import answer_with
from kolors_course.errors import CourseError

PICTURE = Image.new("RGB", (64, 48), "red")
GOOD = json.dumps({"subjects": ["a cat"], "place": "snow", "caption": "A cat sits in the snow."})
SPECIAL = ("<|im_start|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% for c in m.content %}{% if c.type == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ c.text }}{% endif %}{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class Recorded:
    """An answerer with answers from a list, which keeps what it was asked."""

    def __init__(self, *answers: str):
        self.answers, self.asked = list(answers), []

    def __call__(self, picture, messages):
        assert picture is PICTURE
        self.asked.append(messages)
        return self.answers[len(self.asked) - 1]


def ask(*answers, tries=3):
    answerer = Recorded(*answers)
    (result,) = VlmCaptioner(answerer, "recorded", tries).caption([PICTURE], "en", "sentence")
    return result, answerer.asked


def test_a_good_answer_is_asked_for_once():
    result, asked = ask(GOOD)
    assert result == "A cat sits in the snow."
    ((message,),) = asked
    assert message["content"][0] == {"type": "image"}
    assert "JSON" in message["content"][1]["text"]


def test_a_fault_is_sent_back_with_the_answer():
    result, asked = ask("A cat!", GOOD)
    assert result == "A cat sits in the snow."
    assert [message["role"] for message in asked[1]] == ["user", "assistant", "user"]
    assert asked[1][1]["content"] == [{"type": "text", "text": "A cat!"}]
    assert "it holds no JSON object" in asked[1][2]["content"][0]["text"]


def test_it_is_not_asked_for_ever():
    result, asked = ask("A cat!", "", "I'm sorry, I can't.", tries=3)
    assert len(asked) == 3
    assert [len(messages) for messages in asked] == [1, 3, 3]
    assert isinstance(result, NoCaption)
    assert result.reason == "3 answers could not be used; of the last, it is a refusal: 'I'm sorry, I can't.'"


def test_an_endless_answer_is_sent_back_short():
    _, asked = ask("cat " * 9000, GOOD)
    assert len(asked[1][1]["content"][0]["text"]) <= 2000


def test_an_unknown_language_is_refused_before_the_model_is_asked():
    answerer = Recorded()
    with pytest.raises(CourseError, match="languages: zh, en"):
        VlmCaptioner(answerer, "recorded").caption([PICTURE], "fr")


@pytest.fixture(scope="module")
def qwen(tmp_path_factory):
    """A folder with a Qwen2.5-VL of 115,000 random weights, as a download leaves it."""
    folder = tmp_path_factory.mktemp("models") / "tiny-qwen"
    words = Tokenizer(
        models.BPE({c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, [])
    )
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=list(SPECIAL),
    )
    tokenizer.chat_template = TEMPLATE
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in SPECIAL}
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0},
            "bos_token_id": None,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 4,
            "out_hidden_size": 32,
            "fullatt_block_indexes": [1],
        },
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
    )
    torch.manual_seed(0)
    AutoModelForImageTextToText.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    Qwen2VLImageProcessorPil().save_pretrained(folder)
    return folder


def test_qwen_is_loaded_and_asked(qwen, monkeypatch):
    monkeypatch.setattr(vlm, "MOST_NEW_TOKENS", 8)
    captioner = load_vlm(qwen, "cpu", tries=2)
    assert captioner.name == "tiny-qwen"
    model, processor = captioner.answerer.args
    assert isinstance(model, Qwen2_5_VLForConditionalGeneration)
    (result,) = captioner.caption([PICTURE], "zh", "detailed")
    assert isinstance(result, NoCaption)  # it has learned nothing
    assert "2 answers could not be used" in result.reason
    said = [vlm._says("user", "hello", picture=True)]
    first, second = (answer_with(model, processor, picture, said) for picture in (PICTURE, PICTURE.copy()))
    assert first == second != ""


def test_qwen_sees_the_picture(qwen):
    model, processor = load_vlm(qwen, "cpu").answerer.args
    prompt = processor.apply_chat_template([vlm._says("user", "x", picture=True)], tokenize=False)
    logits = []
    for colour in ("red", "green"):
        inputs = processor(text=[prompt], images=[Image.new("RGB", (64, 64), colour)], return_tensors="pt")
        assert (
            inputs["input_ids"] == model.config.image_token_id
        ).sum() == 4  # 64 / 14 / 2 rounds to 2 a side
        with torch.no_grad():
            logits.append(model(**inputs).logits[0, -1])
    assert not torch.allclose(logits[0], logits[1], atol=1e-4)


def test_a_model_without_eyes_is_refused(tmp_path):
    GPT2LMHeadModel(GPT2Config(vocab_size=20, n_embd=8, n_layer=1, n_head=1)).save_pretrained(tmp_path)
    with pytest.raises(CourseError, match="cannot load .* as a vision-language model"):
        load_vlm(tmp_path, "cpu")


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(CourseError, match=r"holds no config\.json"):
        load_vlm(tmp_path / "none", "cpu")


@pytest.mark.parametrize("damage", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_damaged_model_is_refused(qwen, tmp_path, damage):
    folder = tmp_path / "copy"
    shutil.copytree(qwen, folder)
    (folder / damage).write_bytes((folder / damage).read_bytes()[:40])
    with pytest.raises(CourseError, match="cannot load .* as a vision-language model") as told:
        load_vlm(folder, "cpu")
    assert "\n" not in str(told.value)
