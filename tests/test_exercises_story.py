"""The exercises of notebook 10: right answers pass, and each likely mistake gets its own explanation."""

import re

import pytest
import torch

from kolors_course.exercises import Right, story
from kolors_course.kolors import SharedAttnProcessor, Sharing

PANELS = [
    {
        "prompt": "a rabbit in a room at night",
        "scene": {"subjects": ["rabbit"], "place": "room", "time": "night"},
    },
    {
        "prompt": "a dragon on the sea at night",
        "scene": {"subjects": ["dragonfly king"], "place": "sea", "time": "night"},
    },
    {
        "prompt": "a rabbit, a cat and a dog in the city at night",
        "scene": {"subjects": ["rabbit", "cat", "dog"], "place": "city", "time": "night"},
    },
    {"prompt": "白天雪地上的一只兔子", "scene": {"subjects": ["rabbit"], "place": "snow", "time": "night"}},
    {"prompt": "夜晚房间里的一只兔子", "scene": {"subjects": ["rabbit"], "place": "room", "time": "night"}},
    {"prompt": "夜晚雪地上的一只兔子", "scene": {"subjects": ["rabbit"], "place": "snow", "time": "night"}},
]
FAULTS = {2: "unknown subject", 3: "too many subjects", 4: "prompt differs", 5: "scene twice"}


def test_the_faults_of_a_storyboard():
    # The last panel's scene is that of a panel that meant another one.
    assert story.storyboard_faults(PANELS[:5]) == FAULTS
    assert isinstance(story.check_storyboard_faults.reply(FAULTS, PANELS[:5]), Right)
    assert story.storyboard_faults(PANELS)[6] == "scene twice"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({}, "4 more faults"),
        ({n: f for n, f in FAULTS.items() if n != 5}, "one more fault"),
        (FAULTS | {1: "scene twice"}, "Panel 1 has no fault"),
        (FAULTS | {4: "scene twice"}, "Panel 4 has a fault, but not 'scene twice'"),
        (FAULTS | {4: "wrong"}, "is no fault of the list"),
        (FAULTS | {"x": "scene twice"}, "Panel 'x' has no fault"),
        ([2, 3, 4], "not a dictionary"),
    ],
)
def test_wrong_faults_are_explained(answer, message):
    assert re.search(message, story.check_storyboard_faults.reply(answer, PANELS[:5]))


def test_shared_attention_is_the_librarys():
    generator = torch.Generator().manual_seed(2)
    query, key, value = (torch.randn(4, 5, 8, generator=generator) for _ in range(3))
    by_library = SharedAttnProcessor(4, Sharing(0.3)).mix(query[:, None], key[:, None], value[:, None], None)
    torch.testing.assert_close(story.share_attention(query, key, value, 0.3), by_library[:, 0])
    assert isinstance(story.check_shared_attention.reply(story.share_attention), Right)


def one(query, key, value, bias):
    return (query @ key.flatten(0, 1).T / key.shape[-1] ** 0.5 + bias).softmax(-1) @ value.flatten(0, 1)


def own_rows(key):
    return torch.eye(len(key)).repeat_interleave(key.shape[1], dim=1)[:, None]


@pytest.mark.parametrize(
    ("shared", "message"),
    [
        (lambda q, k, v, w: (q @ k.mT / k.shape[-1] ** 0.5).softmax(-1) @ v, "looks at itself alone"),
        (lambda q, k, v, w: one(q, k, v, 0), "has no effect"),
        (lambda q, k, v, w: one(q, k, v, (1 - own_rows(k)) * w), "added to the scores"),
        (lambda q, k, v, w: one(q, k, v, (1 - (1 - w) * own_rows(k)).log()), "own rows that get the weight"),
        (
            lambda q, k, v, w: (
                (
                    (q @ k.flatten(0, 1).T / k.shape[-1] ** 0.5).softmax(-1)
                    * (own_rows(k) + w * (1 - own_rows(k)))
                )
                @ v.flatten(0, 1)
            ),
            "no longer sum to 1",
        ),
        (
            lambda q, k, v, w: story._with(q, k, v, (1 - (1 - w) * (1 - own_rows(k))).log(), 0.0),
            "not divided",
        ),
        (lambda q, k, v, w: q[:, :1], "has the shape"),
        (lambda q, k, v, w: None, "gives back None"),
        (3, "not a function"),
    ],
)
def test_wrong_sharing_is_explained(shared, message):
    assert re.search(message, story.check_shared_attention.reply(shared))


def test_reading_order_of_rows():
    assert story.reading_order([(10, 0, 5, 5), (0, 1, 5, 5), (0, 10, 5, 5)]) == [1, 0, 2]
    assert isinstance(story.check_reading_order.reply(story.reading_order), Right)


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (lambda boxes: sorted(range(len(boxes)), key=lambda i: boxes[i][:2]), "down each column"),
        (
            lambda boxes: sorted(range(len(boxes)), key=lambda i: (boxes[i][1], boxes[i][0])),
            "by the exact top",
        ),
        (lambda boxes: list(range(len(boxes))), "in which the boxes were given"),
        (lambda boxes: story.reading_order(boxes)[::-1], "a reader goes"),
        (lambda boxes: [0, 0], "does not name every panel once"),
        (lambda boxes: [i + 1 for i in story.reading_order(boxes)], "does not name every panel once"),
        (lambda boxes: ["a"] * len(boxes), "does not name every panel once"),
        (lambda boxes: None, "not a list"),
        (lambda boxes: "01234567", "not a list"),
    ],
)
def test_wrong_orders_are_explained(order, message):
    assert re.search(message, story.check_reading_order.reply(order))


def test_open_answers_get_a_hint():
    assert "Yours to write" in story.check_storyboard_faults.reply(..., PANELS)
    for check in (story.check_shared_attention, story.check_reading_order):
        assert "Yours to write" in check.reply(...)
