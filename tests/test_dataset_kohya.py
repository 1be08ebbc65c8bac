"""Folders as kohya's trainers have them: `10_name/` says how often its pictures come in each pass."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from kolors_course.dataset import check_dataset, dataset_hash, fix_dataset, read_dataset
from kolors_course.dataset.folders import repeats_of
from kolors_course.training.batches import PictureStream
from kolors_course.training.cache import build_cache


def pictures(folder: Path, count: int, caption: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        seed = sum(folder.name.encode()) + i
        pixels = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        if caption:
            (folder / f"{i}.caption").write_text(f"{caption} {i}", encoding="utf-8")
    return folder


def samples(folder: Path) -> list[tuple[str, str, int]]:
    dataset = read_dataset(folder)
    return [(s.path.relative_to(dataset.folder).as_posix(), s.text, s.repeats) for s in dataset.samples]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("10_ink style", (10, "ink style")),
        ("1_a_b", (1, "a_b")),
        ("0_left out", (0, "left out")),
        ("03_x", (3, "x")),
        ("10", (1, "10")),
        ("2001_a space odyssey", (1, "2001_a space odyssey")),
        ("-3_x", (1, "-3_x")),
        ("ink_10", (1, "ink_10")),
    ],
)
def test_numbers_before_names(name, expected):
    assert repeats_of(name) == expected


def test_folders_without_captions(tmp_path):
    pictures(tmp_path / "10_inkstyle", 1)
    pictures(tmp_path / "5_big_dog", 1)
    assert samples(tmp_path) == [("10_inkstyle/0.png", "inkstyle", 10), ("5_big_dog/0.png", "big dog", 5)]
    first, second = check_dataset(tmp_path).warnings
    assert first.startswith("the captions are the names of 2 folders")
    assert second == (
        "the number before a folder's name is how often its pictures come in each pass: 10_inkstyle (1 x 10), "
        "5_big_dog (1 x 5)"
    )


def test_one_such_folder_is_enough(tmp_path):
    pictures(tmp_path / "train" / "10_ink", 2)
    assert samples(tmp_path) == [("10_ink/0.png", "ink", 10), ("10_ink/1.png", "ink", 10)]


def test_folders_with_captions(tmp_path):
    pictures(tmp_path / "3_ink", 2, "a cat")
    pictures(tmp_path / "more", 1, "a dog")
    pictures(tmp_path / "0_off", 1, "a cow")
    assert samples(tmp_path) == [
        ("3_ink/0.png", "a cat 0", 3),
        ("3_ink/1.png", "a cat 1", 3),
        ("more/0.png", "a dog 0", 1),
    ]
    told = check_dataset(tmp_path).warnings
    assert (
        "the number before a folder's name is how often its pictures come in each pass: 3_ink (2 x 3)" in told
    )
    assert "the pictures in 0_off come 0 times, so they are not read" in told


def test_a_table_says_all_by_itself(tmp_path):
    pictures(tmp_path / "10_ink", 1)
    (tmp_path / "metadata.csv").write_text("file_name,text\n10_ink/0.png,a cat\n")
    assert samples(tmp_path) == [("10_ink/0.png", "a cat", 1)]


def test_repeats_are_part_of_what_the_data_is(tmp_path):
    for name in ("1_ink", "2_ink", "3_ink"):
        pictures(tmp_path / name / name, 1, "a cat")
    hashes = {dataset_hash(read_dataset(tmp_path / name)) for name in ("1_ink", "2_ink", "3_ink")}
    assert len(hashes) == 3


@pytest.mark.parametrize("batch_size", [1, 3])
def test_training_sees_each_picture_that_often_in_every_pass(tiny_model, tmp_path, batch_size):
    pictures(tmp_path / "3_ink", 1, "a cat")
    pictures(tmp_path / "2_dog", 1, "a dog")
    pictures(tmp_path / "plain", 1, "a cow")
    dataset = read_dataset(tmp_path)
    cache = build_cache(tiny_model, dataset, (32, 32), True, False, torch.Generator())
    assert cache.latents.shape[1] == 3
    stream = PictureStream((cache,), seed=0, caption_dropout=0.0)
    seen = []
    for step in range(6 * 2 // batch_size):
        latents = stream.batch(step, batch_size, torch.Generator().manual_seed(step)).latents
        seen += [next(i for i in range(3) if torch.equal(row, cache.latents[0, i])) for row in latents]
    names = [sample.text[:5] for sample in dataset.samples]
    once = {"a cat": 3, "a dog": 2, "a cow": 1}
    assert Counter(names[i] for i in seen[:6]) == Counter(names[i] for i in seen[6:]) == once
    assert seen[:6] != seen[6:]


def test_mending_tells_that_repeats_are_lost(tmp_path):
    pictures(tmp_path / "set" / "3_ink", 2, "a cat")
    pictures(tmp_path / "set" / "more", 1, "a dog")
    told = fix_dataset(tmp_path / "set", tmp_path / "new").actions
    assert told[0].startswith("not kept: how often pictures come in each pass")
