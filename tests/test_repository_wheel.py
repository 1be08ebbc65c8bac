"""What a wheel holds besides code, and commands where the course's data is not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import refused
from setuptools import Distribution

from kolors_course.cli import main
from kolors_course.kolors.skeleton import kolors_mini_skeleton, unet_skeleton
from kolors_course.platform.paths import data_dir

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "data"
INK, PIXEL = (DATA / "loras" / f"{style}.safetensors" for style in ("ink", "pixel"))
# For who reads the code.
LEFT_OUT = {"kolors_course/comfyui/nodes/README.md"}


def packed_files() -> set[str]:
    """What setuptools would put into a wheel, but for modules."""
    distribution = Distribution()
    distribution.parse_config_files([ROOT / "pyproject.toml"])
    build = distribution.get_command_obj("build_py")
    build.ensure_finalized()
    return {
        f"{source}/{name}"
        for _, source, _, names in build.get_data_files_without_manifest()
        for name in names
    }


def test_a_wheel_holds_every_file_of_the_package(monkeypatch):
    monkeypatch.chdir(ROOT)
    done = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "kolors_course"],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.skip("not a git checkout")
    tracked = {name for name in done.stdout.split("\n") if name and not name.endswith(".py")}
    assert {name for name in packed_files() if "__pycache__" not in name} == tracked - LEFT_OUT


def test_kolors_mini_is_known_by_heart():
    known, kept = dict(kolors_mini_skeleton().config), dict(unet_skeleton(data_dir() / "kolors-mini").config)
    for config in (known, kept):
        for name in ("_class_name", "_name_or_path", "_diffusers_version", "_use_default_values"):
            config.pop(name, None)
    assert {name: str(value).strip("([])") for name, value in known.items()} == {
        name: str(value).strip("([])") for name, value in kept.items()
    }


@pytest.fixture
def no_data(monkeypatch, tmp_path):
    """Nothing of the course but its package; the folder where its data would be."""
    for name in ("KOLORS_PROFILE", "KOLORS_MODEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KOLORS_COURSE_DATA", str(tmp_path / "none"))
    return tmp_path / "none"


def test_lora_files_need_no_data(no_data, capsys, tmp_path):
    assert main(["inspect-lora", str(INK)]) == 0
    assert "of another model" not in capsys.readouterr().out
    assert main(["convert-lora", str(INK), str(tmp_path / "k.safetensors"), "--to", "kohya"]) == 0
    assert main(["combine-lora", str(INK), str(PIXEL), "-o", str(tmp_path / "both.safetensors")]) == 0


def test_a_data_set_is_checked_without_data(no_data, capsys):
    assert main(["check-dataset", str(DATA / "datasets" / "ink")]) == 0
    out = capsys.readouterr().out
    assert f"not counted in tokens: no folder {no_data}" in out
    assert f"not sent through a VAE: no folder {no_data}" in out


def test_a_model_that_is_named_draws_without_data(no_data, capsys, tmp_path, tiny_folder):
    out = str(tmp_path / "cat.png")
    assert (
        main(["generate", "--model", str(tiny_folder), "--prompt", "a unicorn", "--steps", "1", "-o", out])
        == 0
    )


@pytest.mark.parametrize(
    "arguments",
    [
        "generate --prompt cat",
        "words",
        "demo",
        "evaluate",
        "sweep --recommend",
        "train-mini",
        f"merge-lora {INK} -o merged",
        f"train-lora --dataset_path {DATA / 'datasets' / 'ink'}",
    ],
)
def test_what_needs_data_says_where_it_looked_and_how_to_get_it(no_data, arguments):
    """In a process of its own: what was read before is remembered."""
    done = subprocess.run(
        [sys.executable, "-m", "kolors_course", *arguments.split()],
        capture_output=True,
        text=True,
        cwd=no_data.parent,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: no folder {no_data} (KOLORS_COURSE_DATA names it)")
    assert "git clone --depth 1" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_checkout_itself_is_not_its_data(monkeypatch, capsys):
    monkeypatch.setenv("KOLORS_COURSE_DATA", str(ROOT))
    assert f"set KOLORS_COURSE_DATA to {DATA}" in refused(capsys, "merge-lora", INK, "-o", "merged")
