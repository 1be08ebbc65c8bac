"""The course's own captioner: its words, its files, and how it writes."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from captioners import TINY, mini_words, tiny_captioner
from PIL import Image
from safetensors.torch import load_file, save_file

from kolors_course.art import LANGUAGES, LENGTHS, caption, draw_scene, render
from kolors_course.captioner import load_captioner, save_captioner, score_captions
from kolors_course.captioner.network import build_captioner
from kolors_course.captioner.small import cover_pixels
from kolors_course.captioner.tasks import IGNORED, LONGEST, TASKS
from kolors_course.errors import CourseError


def pictures(count, side=128):
    rng = np.random.default_rng(1)
    return [Image.fromarray(rng.integers(0, 255, (side, side, 3), np.uint8)) for _ in range(count)]


@pytest.fixture
def folder(tmp_path):
    captioner = tiny_captioner()
    save_captioner(captioner.network, TINY, captioner.words, tmp_path / "tiny", {"seed": 0})
    return tmp_path / "tiny"


def test_captions_come_back_from_numbers_as_they_were():
    words, rng = mini_words(), np.random.default_rng(0)
    for _ in range(60):
        scene = draw_scene(rng)
        texts = [caption(scene, *task, rng) for task in TASKS]
        read, answer = words.encode(texts, TASKS)
        assert read.shape[1] < LONGEST
        assert read[:, 0].tolist() == [words.task(*task) for task in TASKS]
        for text, (language, _), row in zip(texts, TASKS, answer, strict=True):
            assert words.decode(row[row != IGNORED], language) == text
            assert not set(row.tolist()) & set(words.never_written)


def test_what_the_decoder_reads_is_what_it_should_have_answered_before():
    words = mini_words()
    read, answer = words.encode(
        ["a cat in the snow at night", "cat, snow"], [("en", "sentence"), ("en", "label")]
    )
    for r, a in zip(read, answer, strict=True):
        length = int((a != IGNORED).sum())
        assert torch.equal(r[1:length], a[: length - 1])
        assert a[length - 1] == words.end
        assert set(r[length:].tolist()) <= {words.padding}


@pytest.mark.parametrize("text", ["a cat " * 20, "☃" * 20])
def test_what_is_too_long_to_learn_is_refused(text):
    with pytest.raises(CourseError, match="cannot learn"):
        mini_words().encode([text], [("en", "label")])


def test_unknown_tasks_are_refused():
    with pytest.raises(CourseError, match="languages: en, zh; lengths: label, sentence, detailed"):
        tiny_captioner().caption(pictures(1), "fr", "label")


@torch.no_grad()
def test_it_writes_what_the_network_finds_likeliest():
    """Generation with its cache, against one whole pass for every word."""
    captioner = tiny_captioner(3)
    words, network = captioner.words, captioner.network
    pixels = cover_pixels(pictures(2))
    rows = network.generate(pixel_values=pixels, decoder_start_token_id=words.task("en", "detailed"))
    for row, picture in zip(rows, pixels, strict=True):
        said = [words.task("en", "detailed")]
        while len(said) < LONGEST and words.end not in said:
            logits = network(pixel_values=picture[None], decoder_input_ids=torch.tensor([said])).logits[0, -1]
            logits[words.never_written] = -torch.inf
            said.append(int(logits.argmax()))
        assert row[: len(said)].tolist() == said


def test_a_picture_has_the_same_caption_alone_and_among_others():
    captioner, seen = tiny_captioner(), pictures(7)
    together = captioner.caption(seen, "zh", "sentence")
    assert together == [captioner.caption([p], "zh", "sentence")[0] for p in seen]
    assert captioner.caption([], "zh") == []


def test_pictures_of_any_size_are_seen():
    texts = tiny_captioner().caption(
        [Image.new("RGB", size) for size in ((1, 1), (500, 40), (128, 128))], "en"
    )
    assert len(texts) == 3


def test_what_is_saved_is_loaded(folder):
    captioner = tiny_captioner()
    loaded = load_captioner(folder)
    assert loaded.name == "tiny"
    for key, value in captioner.network.state_dict().items():
        assert torch.allclose(loaded.network.state_dict()[key].float(), value.float(), atol=2e-3, rtol=2e-3)
    assert not any(parameter.requires_grad for parameter in loaded.network.parameters())
    decoder = loaded.network.decoder
    assert decoder.lm_head.weight is decoder.transformer.wte.weight


def _config(**changes):
    def damage(folder):
        config = json.loads((folder / "config.json").read_text())
        config["shape"] |= {key: value for key, value in changes.items() if key in config["shape"]}
        config |= {key: value for key, value in changes.items() if key not in config["shape"]}
        (folder / "config.json").write_text(json.dumps(config))

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "config.json").unlink(), r"config\.json does not exist"),
        (lambda f: (f / "config.json").write_text("{"), r"config\.json"),
        (lambda f: (f / "config.json").write_text("[" * 10**5), r"config\.json"),
        (_config(heads=5), "no network has this shape"),
        (_config(width=10**9), r"config\.json"),
        (_config(widths=[8, 8]), r"config\.json"),
        (_config(layers="two"), r"config\.json"),
        (_config(tokenizer_sha256="0" * 64), "learned with another tokenizer"),
        (_config(tokenizer_sha256="x"), r"config\.json"),
        (_config(layers=2), "cannot read the captioner"),
        (_config(width=64), "cannot read the captioner"),
        (lambda f: (f / "captioner.safetensors").unlink(), "cannot read the captioner"),
        (lambda f: (f / "captioner.safetensors").write_bytes(b"\x80"), "cannot read the captioner"),
        (lambda f: shutil.rmtree(f), "does not exist"),
    ],
)
def test_damaged_files_are_refused(folder, damage, message):
    damage(folder)
    with pytest.raises(CourseError, match=message) as told:
        load_captioner(folder)
    assert "\n" not in str(told.value)


def test_a_captioner_with_tensors_too_many_is_refused(folder):
    tensors = load_file(folder / "captioner.safetensors")
    save_file({**tensors, "more": torch.zeros(1)}, folder / "captioner.safetensors")
    with pytest.raises(CourseError, match="cannot read the captioner"):
        load_captioner(folder)


def test_a_captioner_may_have_other_depths():
    network = build_captioner(mini_words(), replace(TINY, depths=(2, 1, 1, 2)))
    assert network.encoder.config.depths == [2, 1, 1, 2]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("length", LENGTHS)
def test_the_committed_captioner_reads_fresh_scenes(language, length):
    rng = np.random.default_rng(77)
    scenes = [draw_scene(rng, held_out=i % 2 == 0) for i in range(40)]
    texts = load_captioner().caption([render(scene) for scene in scenes], language, length)
    scores = score_captions(scenes, texts, [(language, length)] * len(texts))
    assert scores.all_facts.share.value > 0.95
