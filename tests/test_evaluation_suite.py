"""The prompt benchmark: what it asks, how it judges, and that it draws nothing twice."""

from collections import Counter
from dataclasses import replace

import pytest
import torch

from kolors_course.art import BASE_MODEL_STYLES, find_subject, is_held_out, render
from kolors_course.art.facts import read_facts
from kolors_course.art.scene import Scene, lay_out, render_colour
from kolors_course.errors import CourseError
from kolors_course.evaluation import (
    Answer,
    DrawnStore,
    draw_kept,
    find_in_picture,
    judge,
    load_probe,
    picture_keys,
    suite_prompts,
    suite_scores,
    suite_table,
    wilson,
)
from kolors_course.evaluation.suite import PAIRS, SIDED, TASKS
from kolors_course.platform.paths import data_dir


@pytest.fixture(scope="module")
def probe():
    return load_probe(data_dir() / "probes" / "probe.safetensors")


def test_every_task_asks_in_both_languages_for_held_out_scenes():
    prompts = suite_prompts(4)
    assert Counter((p.task, p.language) for p in prompts) == {
        (task, language): 4 for task in TASKS for language in ("en", "zh")
    }
    assert all(is_held_out(p.scene) for p in prompts)
    for english, chinese in zip(prompts[::2], prompts[1::2], strict=True):
        assert (english.scene, english.seed, english.style) == (chinese.scene, chinese.seed, chinese.style)
    assert len({p.seed for p in prompts}) == len(prompts) / 2


def test_prompts_say_what_their_task_asks():
    prompts = suite_prompts(6)
    said = {task: [read_facts(p.prompt) for p in prompts if p.task == task] for task in TASKS}
    assert all(
        len(facts["subject"]) == 1 for task in ("single_object", "size", "style") for facts in said[task]
    )
    assert all(len(facts["subject"]) == 2 for task in PAIRS for facts in said[task])
    assert {len(facts["subject"]) for facts in said["counting"]} == {1, 2}
    assert all(facts["size"] for facts in said["size"])
    assert all({"left", "right"} <= facts["position"] for facts in said["position"])
    named = [p for p in prompts if p.task == "style"]
    assert {p.style for p in named} == set(BASE_MODEL_STYLES)
    assert all("style" in p.prompt or "风格" in p.prompt for p in named)


def test_a_style_that_a_lora_brings_is_wanted_everywhere_and_never_named():
    prompts = suite_prompts(2, "ink")
    assert {p.style for p in prompts} == {"ink"}
    assert not any("ink" in p.prompt.split() or "风格" in p.prompt for p in prompts)


def test_fewer_scenes_are_the_first_of_more():
    few, many = suite_prompts(2), suite_prompts(5)
    for task in TASKS:
        assert [p for p in few if p.task == task] == [p for p in many if p.task == task][:4]


def test_a_pool_without_pairs_is_refused():
    with pytest.raises(CourseError, match="at least two"):
        suite_prompts(1, pool=(find_subject("cat"),))


def test_the_world_itself_is_right(probe):
    prompts = [p for p in suite_prompts(6)[::2] if p.task != "attribution"]  # which the world does not draw
    answers = judge(probe, prompts, [render(p.scene, 128, p.style) for p in prompts])
    assert sum(answer.right for answer in answers) > 0.95 * len(answers)
    assert sum(answer.all_right for answer in answers) > 0.9 * len(answers)


def test_wrong_pictures_are_wrong_in_what_their_task_asks(probe):
    prompts = suite_prompts(6)[::2]

    def wrong(p):
        subjects = tuple(find_subject("cactus" if s.en != "cactus" else "bus") for s in p.scene.subjects[:1])
        if p.task in SIDED:  # the right subjects on the wrong sides
            return render(Scene(p.scene.subjects[::-1], p.scene.place, p.scene.time, seed=p.scene.seed), 128)
        if p.task == "counting":
            other = (find_subject("owl"),) if len(p.scene.subjects) == 1 else ()
            return render(Scene(p.scene.subjects[:1] + other, p.scene.place, p.scene.time), 128)
        return render(Scene(subjects, p.scene.place, p.scene.time), 128)

    answers = judge(probe, prompts, [wrong(p) for p in prompts])
    assert sum(answer.right for answer in answers) <= 2
    position = [answer for answer in answers if answer.asked.task == "position"]
    assert all(answer.facts["subject"] and not answer.facts["order"] for answer in position)


def test_where_subjects_are_seen(probe):
    cat, bus = find_subject("cat"), find_subject("bus")
    left, right = find_in_picture(probe, render(Scene((cat, bus), "snow", "day"), 128), (cat, bus))
    assert left.x == pytest.approx(0.27, abs=0.08)
    assert right.x == pytest.approx(0.73, abs=0.08)


def sized(scene: Scene, *sides: float):
    """A picture of two subjects of these sizes, which no scene has."""
    layout = lay_out(scene)
    placements = zip(layout.placements, sides, strict=True)
    return render_colour(replace(layout, placements=tuple(replace(p, side=side) for p, side in placements)))


def test_who_is_larger_is_seen(probe):
    prompts = [p for p in suite_prompts(10) if p.task == "attribution" and p.language == "en"]
    as_asked = [sized(p.scene, *(0.56 if size == "big" else 0.3 for size in p.sizes)) for p in prompts]
    swapped = [sized(p.scene, *(0.3 if size == "big" else 0.56 for size in p.sizes)) for p in prompts]
    equal = [render(p.scene, 128) for p in prompts]
    right, wrong, same = (
        sum(answer.facts["sizes"] for answer in judge(probe, prompts, pictures))
        for pictures in (as_asked, swapped, equal)
    )
    assert (right >= 8, wrong, same <= 1) == (True, 0, True)


def test_sizes_are_said_of_the_right_subject():
    english, chinese, *_ = [p for p in suite_prompts(1) if p.task == "attribution"]
    first, second = english.scene.subjects
    assert english.sizes == ("big", "small")
    assert f"a picture of a big {first.en} on the left and a small {second.en} on the right" in english.prompt
    assert (
        f"左边是一{first.classifier}大大的{first.zh}，右边是一{second.classifier}小小的{second.zh}"
        in chinese.prompt
    )


def answers_by_hand(right: int) -> list[Answer]:
    """Of each task 10 answers, `right` of them right and one with every fact right."""
    names = ("subject", "count", "size", "style", "order", "sizes", "place")
    found = []
    for number, asked in enumerate(suite_prompts(5)):
        i = number % 10
        needed = dict.fromkeys(TASKS[asked.task], i < right)
        found.append(Answer(asked, dict.fromkeys(names, i == 0) | needed))
    return found


def test_scores_by_hand():
    scores = suite_scores(answers_by_hand(7))
    assert scores.tasks == dict.fromkeys(TASKS, wilson(7, 10))
    assert scores.mean == wilson(49, 70)
    assert scores.all_facts == wilson(7, 70)
    assert suite_scores(answers_by_hand(7), "en").mean == wilson(28, 35)  # rows 0, 2, 4, 6
    table = suite_table({"both": scores})
    assert table[2] == "| single_object | 70.0% (39.7% – 89.2%) |"
    assert table[-3].startswith("| **mean of tasks** | 70.0% (")
    assert table[-1] == "| prompts | 70 |"


def test_what_is_there_is_not_drawn_again(tiny_model, tmp_path, counted):
    prompts, seeds, store = ["a cat", "a dog", "一只猫"], [1, 2, 3], DrawnStore(tmp_path)
    sampling = tiny_model.sampling.but(steps=1, batch_size=2)
    keys = picture_keys(tiny_model, prompts, seeds, sampling)
    done = []
    first = draw_kept(tiny_model, prompts, seeds, sampling, store, keys, done.append)
    assert counted == prompts
    assert done == [0, 2, 3]
    (tmp_path / f"{keys[1]}.png").write_bytes(b"damaged")
    again = draw_kept(tiny_model, prompts, seeds, sampling, store, keys)
    assert counted == [*prompts, "a dog"]
    assert [p.tobytes() for p in first] == [p.tobytes() for p in again]


def test_keys_follow_all_that_a_picture_depends_on(tiny_model):
    def key(prompt="a", seed=1, sampling=tiny_model.sampling, loras=()):
        return picture_keys(tiny_model, [prompt], [seed], sampling, loras)[0]

    others = [
        key("b"),
        key(seed=2),
        key(sampling=tiny_model.sampling.but(steps=2)),
        key(loras=[("x", 1.0)]),
        key(loras=[("x", 0.5)]),
    ]
    assert len({key(), *others}) == 6
    assert key(sampling=tiny_model.sampling.but(batch_size=3)) == key()
    weight = next(tiny_model.unet.parameters())
    before = weight.detach().clone()
    with torch.no_grad():
        weight.add_(1)
    try:
        assert key() not in others
    finally:
        with torch.no_grad():
            weight.copy_(before)
