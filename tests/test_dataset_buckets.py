"""Buckets: the grid, the smallest crop by exhaustive search, and agreement with what training cuts off."""

from itertools import product

import pytest
import torch
from PIL import Image

from kolors_course.dataset import assign_bucket, cropped_share, prepare_image, propose_buckets, step_for
from kolors_course.dataset.buckets import candidate_buckets
from kolors_course.errors import CourseError

KOLORS, MINI = 1024 * 1024, 128 * 128
SHAPES = [(1, 1), (4, 3), (3, 4), (16, 9), (9, 16), (3, 2), (2, 1), (1, 2), (21, 9), (1, 5), (1000, 999)]


def test_steps():
    assert step_for(KOLORS) == 64
    assert step_for(512 * 512) == 32
    assert step_for(MINI) == 32
    assert step_for(8 * 8) == 8


def test_the_buckets_of_kolors_and_of_kolors_mini():
    # By hand: 1024*1024/768 = 1365.3 → 1344, 1024*1024/832 = 1260.3 → 1216, …; 704 is cut to 2 x 704.
    tall = [(704, 1408), (768, 1344), (832, 1216), (896, 1152), (960, 1088)]
    wide = [(height, width) for width, height in reversed(tall)]
    assert candidate_buckets(KOLORS, 64) == (*tall, (1024, 1024), *wide)
    # 64x128 would fit into 96x160.
    assert candidate_buckets(MINI, 32) == ((96, 160), (128, 128), (160, 96))


@pytest.mark.parametrize(
    ("area", "step", "limit"), [(KOLORS, 64, 2), (KOLORS, 64, 4), (640 * 480, 32, 3), (MINI, 4, 2)]
)
def test_every_bucket_is_as_large_as_allowed(area, step, limit):
    buckets = candidate_buckets(area, step, limit)
    assert len(set(buckets)) == len(buckets)
    assert {(height, width) for width, height in buckets} == set(buckets)
    for width, height in buckets:
        assert width % step == height % step == 0
        assert width * height <= area
        assert max(width, height) <= limit * min(width, height)
        short, long = sorted((width, height))
        assert short * (long + step) > area or long + step > limit * short
        assert (short + step) * long > area


@pytest.mark.parametrize("shape", SHAPES)
def test_the_share_cropped_is_what_training_cuts_off(shape):
    """A picture of vertical and horizontal ramps, cropped by `prepare_image`: count what is missing."""
    bucket = assign_bucket(shape, candidate_buckets(MINI, 32))
    width, height = (640 * side // max(shape) for side in shape)
    _, conditions = prepare_image(Image.new("RGB", (width, height)), *bucket, True, False, torch.Generator())
    scale = max(bucket[0] / width, bucket[1] / height)
    kept = bucket[0] * bucket[1] / (width * scale * height * scale)
    assert cropped_share((width, height), bucket) == pytest.approx(1 - kept)
    assert conditions.original_size == (height, width)
    assert conditions.target_size == bucket[::-1]
    # The centred crop leaves half of what is cut off before its corner.
    cut = [round(width * scale) - bucket[0], round(height * scale) - bucket[1]]
    assert conditions.crop_top_left == (cut[1] // 2, cut[0] // 2)


def test_no_bucket_cuts_off_less():
    buckets = candidate_buckets(KOLORS, 64)
    for size in product(range(300, 2000, 170), repeat=2):
        chosen = assign_bucket(size, buckets)
        assert cropped_share(size, chosen) == min(cropped_share(size, bucket) for bucket in buckets)


def test_equal_crops_go_to_the_larger_bucket():
    assert assign_bucket((500, 500), [(64, 64), (128, 128), (96, 96)]) == (128, 128)


def test_only_needed_buckets_are_proposed_in_order_of_shape():
    sizes = [(1920, 1080), (1000, 1000), (1080, 1920), (1024, 1024), (1200, 1200)]
    assert propose_buckets(sizes, KOLORS, 64) == [(768, 1344), (1024, 1024), (1344, 768)]
    assert propose_buckets([], KOLORS, 64) == []


@pytest.mark.parametrize(("area", "step"), [(100, 16), (MINI, 0), (MINI, 129)])
def test_steps_that_do_not_fit_are_refused(area, step):
    with pytest.raises(CourseError, match="no bucket with sides in steps of"):
        propose_buckets([(1, 1)], area, step)
