"""Pictures that do not fit into memory are refused before anything is drawn."""

import re
from dataclasses import replace

import pytest
import torch

from kolors_course.errors import CourseError
from kolors_course.kolors import Sampling, generate
from kolors_course.kolors.compact import TextBiasAttnProcessor
from kolors_course.kolors.memory import CPU_WORKSPACE, check_memory, decoding_bytes
from kolors_course.kolors.skeleton import full_kolors, skeleton_of
from kolors_course.kolors.unet import unet_noise
from kolors_course.platform.device import free_memory
from kolors_course.platform.machine import Memory
from kolors_course.platform.meter import FusedAttention, Meter, fused_attention
from kolors_course.training.costs import step_inputs

MIB = 2**20


class Fused(TextBiasAttnProcessor):
    mix = staticmethod(fused_attention)


@pytest.fixture
def little_memory(monkeypatch):
    """A machine with 64 MiB free."""
    monkeypatch.setattr("kolors_course.platform.device.memory", lambda: Memory(128 * MIB, 64 * MIB))


def test_the_count_is_what_a_real_decoding_makes(tiny_model):
    latents = torch.zeros(1, 4, 16, 16)
    with torch.no_grad(), Meter() as meter:
        tiny_model.vae.decode(latents)
    assert decoding_bytes(tiny_model, (64, 64)) == pytest.approx(meter.peak, rel=0.1)


def test_it_grows_with_the_pixels_and_needs_no_memory_itself(tiny_model):
    one = decoding_bytes(tiny_model, (256, 256))
    assert decoding_bytes(tiny_model, (512, 256)) == pytest.approx(2 * one, rel=0.02)
    assert decoding_bytes(tiny_model, (2**16, 2**16)) > 2**38


def test_the_unet_takes_less_than_the_decoder():
    """Of full Kolors; so the decoder alone is the worst moment."""
    model = full_kolors(torch.float16)
    unet = skeleton_of(model.unet)
    unet.set_attn_processor(Fused())
    model = replace(model, unet=unet)
    sample, timestep, conditions = step_inputs(model, (1, 128, 128))
    with torch.no_grad(), FusedAttention(), Meter() as meter:
        unet_noise(model, sample.half(), timestep, {k: v.half() for k, v in conditions.items()})
    assert meter.peak < decoding_bytes(model, (1024, 1024)) / 4


def test_what_does_not_fit_is_told_with_both_numbers(tiny_model, little_memory):
    check_memory(tiny_model, (64, 64), 8, 8)
    with pytest.raises(CourseError) as caught:
        check_memory(tiny_model, (2048, 2048), 8, 4)
    message = str(caught.value)
    one = decoding_bytes(tiny_model, (2048, 2048)) * CPU_WORKSPACE
    kept = 8 * 2048 * 2048 * 3
    assert message.startswith("8 pictures of 2048x2048, 4 at a time, take about ")
    assert float(re.search(r"about ([\d.]+) GiB", message)[1]) == pytest.approx(
        (4 * one + kept) / 2**30, abs=0.06
    )
    assert "0.1 GiB are free on cpu; lower the size" in message


def test_no_more_are_drawn_at_a_time_than_there_are(tiny_model, little_memory):
    check_memory(tiny_model, (64, 64), 1, 10**9)


def test_pictures_that_pile_up_are_counted(tiny_model, little_memory):
    with pytest.raises(CourseError, match="or the number of pictures"):
        check_memory(tiny_model, (64, 64), 10**6, 1)
    with pytest.raises(CourseError, match="lower the size"):
        check_memory(tiny_model, (64, 64), 1, 1, kept=2**40)


def test_generate_refuses_before_it_draws(tiny_model, little_memory):
    def watch(state):
        raise AssertionError("something was drawn")

    for sampling in (Sampling(size=(2048, 2048)), Sampling(size=(2**16, 2**16)), Sampling(size=(2**17, 32))):
        with pytest.raises(CourseError, match="lower the size|at most 65536"):
            generate(tiny_model, ["a"], [0], sampling, watch=watch)


def test_free_memory_of_this_machine():
    assert 2**20 < free_memory(torch.device("cpu")) < 2**50
