"""`kolors-course train-mini`: what it refuses before any work."""

import pytest
from command_line import refused, tree

from kolors_course.cli import train_mini
from kolors_course.errors import CourseError
from kolors_course.mini.base import BaseConfig
from kolors_course.mini.probe import ProbeConfig
from kolors_course.mini.vae import VaeConfig

NUMBERS = [
    "learning-rate",
    "pictures",
    "vae-learning-rate",
    "vae-steps",
    "base-steps",
    "probe-steps",
    "captioner-steps",
    "styled-share",
]


@pytest.mark.parametrize("flag", NUMBERS)
def test_impossible_numbers_are_refused_with_flag_and_range(capsys, tmp_path, flag):
    for value in (-1, "nan", "inf", 10**12, "x") + (() if flag == "styled-share" else (0,)):
        error = refused(capsys, "train-mini", "-o", tmp_path / "run", f"--{flag}={value}")
        assert f"--{flag}: must be a " in error
    assert tree(tmp_path) == set()


@pytest.mark.parametrize(
    ("flags", "stage"),
    [
        (("--stage", "vae", "--base-steps", 5), "base"),
        (("--stage", "base", "--vae-learning-rate", 1e-3), "vae"),
        (("--from", "none", "--probe-steps", 5), "probe"),
        (("--from", "none", "--stage", "decoder", "--vae-steps", 5), "vae"),
        (("--stage", "vae", "--stage", "probe", "--pictures", 500), "base"),
        (("--stage", "probe", "--captioner-steps", 5), "captioner"),
    ],
)
def test_flags_of_stages_that_do_not_run_are_refused(capsys, tmp_path, flags, stage):
    error = refused(capsys, "train-mini", "-o", tmp_path / "run", *flags)
    assert f"is for the stage {stage}, which is not among those to run" in error
    assert tree(tmp_path) == set()


def test_latent_channels_are_those_of_a_new_vae(capsys, tmp_path):
    flags = ("--from", "none", "--stage", "vae", "--latent-channels", 8)
    error = refused(capsys, "train-mini", "-o", tmp_path / "run", *flags)
    assert error == "error: --latent-channels is for a new VAE; the model given by --from has one\n"
    assert tree(tmp_path) == set()


@pytest.mark.parametrize("place", ["disk", "memory"])
def test_pictures_that_do_not_fit_are_refused_before_they_are_drawn(capsys, monkeypatch, tmp_path, place):
    for name in ("disk", "memory"):
        free = 2**28 if name == place else 2**50
        monkeypatch.setattr(train_mini, f"free_{name}", lambda where, free=free: free)
    error = refused(capsys, "train-mini", "-o", tmp_path / "run", "--pictures", 1_000_000, "--base-steps", 5)
    assert f"GiB of {place}, but only 0.2 GiB are free here; lower --pictures" in error
    assert tree(tmp_path) == set()


@pytest.mark.parametrize("config", [VaeConfig, ProbeConfig, BaseConfig])
@pytest.mark.parametrize(
    "bad",
    [{"steps": 0}, {"batch_size": -1}, {"learning_rate": float("nan")}, {"pictures": 10**12}, {"seed": -1}],
)
def test_the_library_refuses_them_too(config, bad):
    with pytest.raises(CourseError, match=next(iter(bad))):
        config(**bad)


def test_a_batch_that_is_never_filled_is_refused():
    with pytest.raises(CourseError, match="do not fill a batch"):
        VaeConfig(pictures=10, batch_size=11)
