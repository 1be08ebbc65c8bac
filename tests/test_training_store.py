"""Encoded pictures and captions on disk, and giving back the encoders' memory."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save
from tiny import QUICK

from kolors_course.dataset import read_dataset
from kolors_course.errors import CourseError
from kolors_course.kolors import encode_prompts, load_model
from kolors_course.kolors.fingerprint import hash_of_weights
from kolors_course.training.cache import Encoder, build_cache
from kolors_course.training.lora import RunOptions, train_lora
from kolors_course.training.store import Store, content_key


def test_what_is_stored_comes_back_and_is_not_made_again(tmp_path):
    store, made = Store(tmp_path), []

    def make():
        made.append(1)
        return {"x": torch.arange(3.0)}

    first, second = (store.get_or_make("key", make) for _ in range(2))
    assert made == [1]
    assert torch.equal(first["x"], second["x"])
    (tmp_path / "key.safetensors").write_bytes(b"cut short")
    assert torch.equal(store.get_or_make("key", make)["x"], first["x"])
    assert made == [1, 1]
    assert [file.name for file in tmp_path.iterdir()] == ["key.safetensors"]


def test_an_entry_with_other_contents_is_made_again(tmp_path):
    store, entry = Store(tmp_path), tmp_path / "key.safetensors"

    def kept() -> bytes:
        store.get_or_make("key", lambda: {"x": torch.arange(3.0)})
        return entry.read_bytes()

    good = kept()
    store.get_or_make("other", lambda: {"x": torch.arange(3.0)})
    foreign = [
        save({"y": torch.zeros(2)}),
        save({"x": torch.arange(3.0)}),  # not ours, whatever it holds
        save({"x": torch.arange(3.0)}, metadata={"sealed": "0"}),
        (tmp_path / "other.safetensors").read_bytes(),  # ours, but of something else
        good[:-1] + bytes([good[-1] ^ 1]),  # one bit of one number
        b"",
    ]
    for data in foreign:
        entry.write_bytes(data)
        assert kept() == good
    entry.unlink()
    entry.mkdir()
    with pytest.raises(CourseError, match="is a folder"):
        kept()


def test_keys_tell_contents_apart():
    parts = [
        ("a", 256),
        ("a", 77),
        ("b", 256),
        ("a2", 56),
        (torch.zeros(2),),
        (torch.zeros(1, 2),),
        (torch.ones(2),),
    ]
    assert len({content_key(*part) for part in parts}) == len(parts)
    assert content_key("a", torch.ones(2)) == content_key("a", torch.ones(2))


def test_fingerprints_change_with_the_weights():
    torch.manual_seed(0)
    one, other = torch.nn.Linear(300, 200), torch.nn.Linear(300, 200)
    before = hash_of_weights(one)
    assert before == hash_of_weights(one) != hash_of_weights(other)
    assert hash_of_weights(one.half()) != before


def test_a_stored_cache_is_the_same_and_needs_no_encoder(tiny_folder, tiny_pictures, tmp_path, monkeypatch):
    model, dataset, store = load_model(tiny_folder), read_dataset(tiny_pictures), Store(tmp_path)
    plain = build_cache(model, dataset, (32, 32), True, True, torch.Generator(), 2)
    first = build_cache(model, dataset, (32, 32), True, True, torch.Generator(), 2, store=store)
    monkeypatch.setattr(Encoder, "_encode", None)
    monkeypatch.setattr(Encoder, "_encode_pictures", None)
    again = build_cache(model, dataset, (32, 32), True, True, torch.Generator(), 2, store=store)
    assert torch.equal(first.latents, again.latents)
    assert torch.equal(first.prompts.prompt_embeds, again.prompts.prompt_embeds)
    torch.testing.assert_close(first.latents, plain.latents, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(
        first.prompts.pooled_prompt_embeds, plain.prompts.pooled_prompt_embeds, atol=1e-5, rtol=1e-4
    )
    assert (first.deviations > 0).all()


def test_posterior_samples_have_its_mean_and_deviation(tiny_model, tiny_pictures):
    cache = build_cache(tiny_model, read_dataset(tiny_pictures), (32, 32), True, False, torch.Generator())
    g = torch.Generator().manual_seed(0)
    drawn = cache.draw(torch.zeros(2000, dtype=torch.int64), g, 0.0, sample_posterior=True).latents
    standard = (drawn - cache.latents[0, 0]) / cache.deviations[0, 0]
    assert float(standard.mean()) == pytest.approx(0, abs=0.02)
    assert float(standard.std()) == pytest.approx(1, abs=0.02)


def test_a_freed_text_encoder_is_gone_for_everyone_and_samples_are_still_drawn(
    tiny_folder, tiny_pictures, tmp_path
):
    model = load_model(tiny_folder)
    options = RunOptions(cache_folder=tmp_path / "cache", free_encoders=True)
    recipe = replace(QUICK, steps=2, sample_prompts=("a cat",), sample_every=1)
    result = train_lora(model, tiny_pictures, tmp_path / "run", recipe, options=options)
    assert all(parameter.is_meta for parameter in model.text_encoder.parameters())
    with pytest.raises(CourseError, match="freed"):
        encode_prompts(model.tokenizer, model.text_encoder, ["a cat"])
    assert model.vae.device == model.device
    assert len(list((tmp_path / "run" / "samples").iterdir())) == 3
    kept = train_lora(
        load_model(tiny_folder),
        tiny_pictures,
        tmp_path / "kept",
        recipe,
        options=replace(options, free_encoders=False),
    )
    one, two = load_file(result.path), load_file(kept.path)
    assert all(torch.equal(tensor, two[name]) for name, tensor in one.items())
