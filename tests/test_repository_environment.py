"""pyproject.toml, constraints.txt and environment.yml must tell the same story."""

import sys
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DIRECT = [Requirement(line) for line in PROJECT["dependencies"]] + [
    Requirement(line) for extra in PROJECT["optional-dependencies"].values() for line in extra
]
# What the course must pin by name for conda users too.
FIXED = {
    "diffusers",
    "ipywidgets",
    "jupyterlab",
    "matplotlib",
    "nbval",
    "peft",
    "pytest",
    "torch",
    "transformers",
}


def markers_of(python: str) -> dict[str, str]:
    return {"python_version": python, "python_full_version": f"{python}.9", "sys_platform": "linux"}


def constraints_for(python: str) -> dict[str, str]:
    """Package -> pinned version on Linux with that Python."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    chosen = [pin for pin in pins if pin.marker is None or pin.marker.evaluate(markers_of(python))]
    versions = {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in chosen}
    assert len(versions) == len(chosen), f"a package is pinned twice for Python {python}"
    return versions


@pytest.fixture(scope="module")
def conda():
    return yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))


def pip_lines(conda) -> list[str]:
    return next(entry["pip"] for entry in conda["dependencies"] if isinstance(entry, dict))


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13"])
def test_every_direct_dependency_is_pinned_within_its_range(python):
    pins = constraints_for(python)
    for requirement in DIRECT:
        if requirement.marker and not requirement.marker.evaluate(markers_of(python)):
            continue
        pin = pins.get(canonicalize_name(requirement.name))
        assert pin, f"constraints.txt does not pin {requirement.name} for Python {python}"
        assert requirement.specifier.contains(pin), f"{requirement} excludes the pinned {pin}"


def test_pins_are_exact_and_free_of_local_builds():
    for python in ("3.10", "3.11"):
        for name, pinned in constraints_for(python).items():
            assert not set(pinned) & set("<>=!~*,+"), f"{name} is not pinned to one public version: {pinned}"


def test_this_project_is_not_its_own_constraint():
    assert canonicalize_name(PROJECT["name"]) not in constraints_for("3.11")


def test_conda_python_satisfies_pyproject(conda):
    python = next(str(line) for line in conda["dependencies"] if str(line).startswith("python="))
    assert python == "python=3.11"
    assert SpecifierSet(PROJECT["requires-python"]).contains(python.removeprefix("python="))


def test_conda_installs_this_project_with_the_constraints(conda):
    assert conda["name"] == PROJECT["name"]
    assert pip_lines(conda)[:2] == ["-c constraints.txt", "-e .[notebooks,dev]"]


def test_conda_names_the_fixed_packages_with_the_same_versions(conda):
    named = [Requirement(line) for line in pip_lines(conda) if not line.startswith("-")]
    pins = constraints_for("3.11")
    assert {requirement.name for requirement in named} == FIXED
    for requirement in named:
        assert str(requirement.specifier) == f"=={pins[requirement.name]}"
