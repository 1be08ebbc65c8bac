import json
from importlib.metadata import version
from types import SimpleNamespace

import pytest
import torch

from kolors_course.platform import doctor, machine
from kolors_course.platform.doctor import GIB, Check


@pytest.fixture
def here(monkeypatch, tmp_path):
    """Pretend a machine: a data folder, memory, a GPU; returns the finding called by name."""
    data = tmp_path / "data"
    (data / "kolors-mini").mkdir(parents=True)
    (data / "kolors-mini" / "model_index.json").touch()
    monkeypatch.setenv("KOLORS_COURSE_DATA", str(data))
    monkeypatch.setattr(doctor, "memory", lambda: machine.Memory(32 * GIB, 20 * GIB))
    monkeypatch.setattr(doctor, "free_disk", lambda _: 100 * GIB)
    monkeypatch.setattr(doctor, "pick_device", lambda: torch.device("cpu"))
    monkeypatch.setattr(doctor, "MODELSCOPE_WORKSPACE", tmp_path / "workspace")
    for name in ("KOLORS_PROFILE", "MODELSCOPE_ENVIRONMENT"):
        monkeypatch.delenv(name, raising=False)

    def finding(name, gpu=None, **environment):
        for variable, value in environment.items():
            monkeypatch.setenv(variable, value)
        if gpu is not None:
            card = SimpleNamespace(name="A card", total_memory=int(gpu * GIB))
            monkeypatch.setattr(doctor, "pick_device", lambda: torch.device("cuda"))
            monkeypatch.setattr(doctor, "autocast_dtype", lambda _: torch.bfloat16)
            monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: card)
        return next(check for check in doctor.examine() if check.name == name)

    return finding


def test_installed_and_missing_packages(here, monkeypatch):
    assert here("torch").value == version("torch")
    monkeypatch.setattr(doctor, "PACKAGES", ("no-such-package-anywhere",))
    missing = here("no-such-package-anywhere")
    assert not missing.ok
    assert "make notebook-setup" in missing.advice


def test_memory_and_mini_agree(here, monkeypatch):
    assert here("Memory") == Check("Memory", "32.0 GiB, 20.0 GiB free")
    assert here("Kolors-mini").ok
    monkeypatch.setattr(doctor, "memory", lambda: machine.Memory(4 * GIB, 1 * GIB))
    assert not here("Memory").ok
    assert here("Kolors-mini").advice == "mend what is said about memory"


def test_data_folder_without_weights(here, tmp_path):
    (tmp_path / "data" / "kolors-mini" / "model_index.json").unlink()
    assert "make mini" in here("Data").advice
    assert not here("Kolors-mini").ok


def test_missing_data_folder(here, tmp_path):
    finding = here("Data", KOLORS_COURSE_DATA=str(tmp_path / "gone"))
    assert finding.value == "missing"
    assert "set KOLORS_COURSE_DATA" in finding.advice


def test_disk_depends_on_the_profile(here, monkeypatch):
    monkeypatch.setattr(doctor, "free_disk", lambda _: 10 * GIB)
    assert here("Disk").ok
    full = here("Disk", KOLORS_PROFILE="kolors")
    # The 16.6 GiB download and 4 GiB for caches and results.
    assert full.advice == "free some: profile kolors wants 20.6 GiB"


def test_unknown_profile(here):
    assert here("Profile") == Check("Profile", "mini")
    finding = here("Profile", KOLORS_PROFILE="maxi")
    assert not finding.ok
    assert finding.advice == "set KOLORS_PROFILE to mini or kolors"


@pytest.mark.parametrize(
    ("gpu", "profile", "ok", "value"),
    [
        (None, "mini", True, "not needed for profile mini"),
        (None, "kolors", False, "there is no NVIDIA GPU"),
        (8, "kolors", False, "the GPU has 8.0 GiB"),
        (11.6, "kolors", True, "planned offload"),
        (22.5, "kolors", True, "runs here"),
    ],
)
def test_full_kolors_by_gpu(here, gpu, profile, ok, value):
    finding = here("Full Kolors", gpu=gpu, KOLORS_PROFILE=profile)
    assert finding.ok is ok
    assert value in finding.value


def test_device_names_the_card(here):
    assert here("Device", gpu=22.5).value == "A card, 22.5 GiB, fastest in bfloat16"


def test_modelscope_is_detected_without_telling_secrets(here, tmp_path):
    assert here("ModelScope").value == "not detected"
    (tmp_path / "workspace").mkdir()
    finding = here("ModelScope", MODELSCOPE_API_TOKEN="secret")
    assert finding.value == f"detected by MODELSCOPE_API_TOKEN, {tmp_path / 'workspace'}"
    assert "secret" not in str(finding)


def test_font_is_missed(here, monkeypatch):
    monkeypatch.setattr(doctor, "cjk_font_path", lambda: None)
    assert "data/fonts" in here("Chinese font").advice


def test_lines_align_and_show_advice_below():
    checks = [Check("A", "1"), Check("Long", "2", False, "mend it")]
    assert doctor.report_lines(checks) == ["ok  A     1", "!!  Long  2", "          -> mend it"]
    assert doctor.report_lines([]) == []


def test_report_for_json():
    report = doctor.report_dict([Check("A", "1"), Check("B", "2", False, "mend it")])
    assert json.loads(json.dumps(report)) == {
        "ok": False,
        "checks": [
            {"name": "A", "value": "1", "ok": True, "advice": ""},
            {"name": "B", "value": "2", "ok": False, "advice": "mend it"},
        ],
    }
    assert doctor.report_dict([Check("A", "1")])["ok"] is True


def test_downloaded_weights_are_looked_at(here, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert here("Kolors weights").ok
    needed = here("Kolors weights", KOLORS_PROFILE="kolors")
    assert not needed.ok
    assert "modelscope download" in needed.advice
    (tmp_path / "models" / "Kolors-diffusers" / "unet").mkdir(parents=True)
    half = here("Kolors weights")
    assert not half.ok
    assert "no folder vae/" in half.value
    assert "modelscope download" in half.advice
