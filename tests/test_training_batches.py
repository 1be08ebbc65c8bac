"""Which pictures come when."""

from collections import Counter

import pytest
import torch

from kolors_course.dataset import Dataset, Sample
from kolors_course.training.batches import bucket_at
from kolors_course.training.data import split_by_size


def test_every_bucket_gets_steps_in_proportion_to_its_pictures():
    counts = (5, 1, 3)
    for rounds in range(3):
        steps = range(9 * rounds, 9 * (rounds + 1))
        assert Counter(bucket_at(counts, 7, step)[0] for step in steps) == {0: 5, 1: 1, 2: 3}
    orders = {tuple(bucket_at(counts, 7, 9 * r + i)[0] for i in range(9)) for r in range(6)}
    assert len(orders) > 1


def test_own_steps_count_up_without_gaps():
    counts = (5, 1, 3)
    seen = {0: [], 1: [], 2: []}
    for step in range(40):
        bucket, own = bucket_at(counts, 3, step)
        seen[bucket].append(own)
    assert all(own == list(range(len(own))) for own in seen.values())


def test_one_bucket_needs_no_plan():
    assert [bucket_at((8,), 0, step) for step in range(20)] == [(0, step) for step in range(20)]


def test_pictures_go_to_the_size_nearest_their_shape(tmp_path):
    sizes = {"wide": (400, 200), "square": (300, 300), "tall": (200, 400)}
    samples = tuple(Sample(tmp_path / name, name, size, i) for i, (name, size) in enumerate(sizes.items()))
    dataset = Dataset(tmp_path, samples)
    groups = split_by_size(dataset, (128, 128), True, 16)
    assert sum(len(part) for part in groups.values()) == 3
    for (width, height), part in groups.items():
        assert width % 16 == height % 16 == 0
        assert width * height <= 128 * 128
        (sample,) = part.samples
        assert {"wide": width > height, "square": width == height, "tall": width < height}[sample.text]
    assert split_by_size(dataset, (64, 32), False, 16) == {(64, 32): dataset}


@pytest.mark.parametrize("multiple", [16, 32])
def test_bucket_sides_fit_the_model(tmp_path, multiple):
    rng = torch.Generator().manual_seed(0)
    shapes = torch.randint(200, 900, (30, 2), generator=rng).tolist()
    samples = tuple(Sample(tmp_path / str(i), "a", tuple(shape), i) for i, shape in enumerate(shapes))
    for width, height in split_by_size(Dataset(tmp_path, samples), (128, 128), True, multiple):
        assert width % multiple == height % multiple == 0
