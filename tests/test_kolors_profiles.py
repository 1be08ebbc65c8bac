"""Profiles: Kolors-mini by default, full Kolors by one variable."""

import pytest
import torch
from tiny import same_weights

from kolors_course.errors import CourseError
from kolors_course.kolors import (
    current_profile,
    load_profile,
)
from kolors_course.platform.paths import data_dir


@pytest.fixture
def no_profile(monkeypatch):
    monkeypatch.delenv("KOLORS_PROFILE", raising=False)
    monkeypatch.delenv("KOLORS_MODEL", raising=False)
    return monkeypatch


def test_the_default_profile_is_mini(no_profile):
    assert current_profile().name == "mini"
    assert current_profile().folder == data_dir() / "kolors-mini"
    no_profile.setenv("KOLORS_PROFILE", "")  # set but empty, as shells do
    no_profile.setenv("KOLORS_MODEL", "")
    assert current_profile() == current_profile("mini")


def test_one_variable_switches_to_full_kolors(no_profile):
    no_profile.setenv("KOLORS_PROFILE", "kolors")
    profile = current_profile()
    assert (profile.name, profile.variant, profile.size, profile.batch_size) == ("kolors", "fp16", 1024, 1)
    assert profile.dtype == torch.bfloat16
    assert current_profile("mini").name == "mini"  # a name given in code wins


def test_an_unknown_profile_is_refused(no_profile):
    no_profile.setenv("KOLORS_PROFILE", "sdxl")
    with pytest.raises(CourseError, match=r"sdxl.*mini or kolors"):
        current_profile()


def test_the_model_folder_can_be_chosen(no_profile, tiny_folder, tiny_model, tmp_path):
    no_profile.setenv("KOLORS_MODEL", str(tiny_folder))
    no_profile.setenv("KOLORS_COURSE_DATA", str(tmp_path / "none"))  # not needed when the folder is given
    assert current_profile().folder == tiny_folder
    assert same_weights(load_profile(device="cpu"), tiny_model)
    with pytest.raises(CourseError, match="device"):
        load_profile(device="abacus")


# Full Kolors, without its weights: the published configurations on the meta device
