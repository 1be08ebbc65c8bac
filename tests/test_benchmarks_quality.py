"""Time to quality: what counts as training, when it stops, and that all contestants really learn."""

import itertools
import types

import pytest
import quality
import torch

from kolors_course.kolors import current_profile
from kolors_course.lora import LoraSettings

SETTINGS = LoraSettings(2, 2.0)


def contestant(log):
    return quality.Contestant(
        SETTINGS, lambda: log.append("prepare"), lambda: log.append("step") or 0.0, dict
    )


def judged(log, *styles):
    answers = iter(styles)

    def judge(settings, state):
        log.append("judge")
        return quality.Judgement(next(answers), 0.8)

    return judge


def test_only_training_counts_and_it_stops_when_good():
    log, clock = [], itertools.count()
    base = quality.Judgement(0.0, 0.9)  # 0.8 of 0.9 is more than 85 %
    rows = list(
        quality.time_to_quality(
            contestant(log), judged(log, 0.5, 0.96, 1.0), base, 10, 2, lambda: next(clock)
        )
    )
    assert log == ["prepare", "step", "step", "judge", "step", "step", "judge"]
    assert [row["seconds"] for row in rows] == [2, 3]  # the clock is read before and after, not while judging
    assert [row["good"] for row in rows] == [False, True]
    assert rows[-1] == {"step": 4, "seconds": 3, "style": 0.96, "subject": 0.8, "good": True}


def test_style_without_subjects_is_not_good():
    log = []
    base = quality.Judgement(0.0, 1.0)  # 0.8 is less than 85 % of it
    rows = list(quality.time_to_quality(contestant(log), judged(log, 1.0, 1.0), base, 4, 2))
    assert [row["good"] for row in rows] == [False, False]


def test_the_summary_says_who_never_got_there():
    results = {
        "ours": [{"seconds": 10.0, "good": True}],
        "camp": [{"seconds": 5.0, "good": False}, {"seconds": 42.0, "good": False}],
    }
    assert quality.summary(results) == {"ours": "1.00 times ours", "camp": "not good after 4.20 times ours"}
    results["ours"][0]["good"] = False
    assert quality.summary(results)["camp"] == "ours did not get there"


@pytest.fixture
def profile(tiny_profile):
    from dataclasses import replace

    return replace(current_profile(), size=32, batch_size=2)


def test_all_contestants_learn(profile, tiny_pictures, tmp_path):
    alphas = {}
    for name, make in quality.contestants(profile, tiny_pictures, 4, tmp_path / "run"):
        one = make()
        one.prepare()
        before = {key: tensor.clone() for key, tensor in one.lora().items()}
        for _ in range(2):
            one.step()
        after = one.lora()
        assert before.keys() == after.keys()
        assert any(not torch.equal(tensor, before[key]) for key, tensor in after.items())
        alphas[name] = one.settings.alpha
    assert alphas == {"ours": 16.0, "camp, our learning rate": 16.0, "camp": 4.0}


def test_the_judge_sees_the_lora_and_takes_it_off_again(monkeypatch, profile):
    seen = []

    class Scores:
        style = 0.5
        accuracy = types.MappingProxyType({"subject": 0.25})

    def evaluate(model, probe, prompts, sampling):
        seen.append(any("lora" in name for name, _ in model.unet.named_parameters()))

        class Evaluation:
            def scores(self, style):
                return Scores

        return Evaluation()

    monkeypatch.setattr(quality, "evaluate", evaluate)
    judge = quality.Judge(profile, "pixel", 1)
    assert judge.base() == quality.Judgement(0.5, 0.25)
    unet = judge.model.unet
    quality.add_lora(unet, SETTINGS, generator=torch.Generator())
    state = {name: tensor.clone() for name, tensor in quality.lora_state_dict(unet).items()}
    quality.unload_lora(unet)
    assert judge(SETTINGS, state) == quality.Judgement(0.5, 0.25)
    judge.base()
    assert seen == [False, True, False]
