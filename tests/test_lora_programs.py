"""What `inspect-lora` says about other programs is what was measured in them (benchmarks/lora_programs.json)."""

import json
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from kolors_course.lora import inspect_lora
from kolors_course.lora.programs import COMFYUI, DIFFUSERS_SINCE

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
import lora_programs  # noqa: E402

MEASURED = json.loads((BENCHMARKS / "lora_programs.json").read_text(encoding="utf-8"))["measured"]
DIFFUSERS = {
    tuple(map(int, each["program"].split()[1].split("."))): each["files"]
    for each in MEASURED
    if each["program"].startswith("diffusers")
}
COMFYUI_FILES = next(each["files"] for each in MEASURED if each["program"] == f"ComfyUI {COMFYUI}")
SCALE = lora_programs.ALPHA / lora_programs.RANK


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("programs")
    lora_programs.make(folder)
    return folder


@pytest.fixture(scope="module")
def unet():
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel.from_config(lora_programs.UNET)


def verdict_of(measured: dict) -> str:
    """All layers right; all layers at one other strength; or neither."""
    times, layers = measured.get("times", {}), measured["layers"]
    if times == {"1": layers}:
        return "yes"
    return "set" if times == {f"{1 / SCALE:g}": layers} else "no"


def tools_of(folder, name, unet):
    alpha = (
        None
        if "alpha" in (folder / f"{name}.safetensors").read_bytes()[:200_000].decode(errors="ignore")
        else 2.0
    )
    return {
        tool.name.split()[0]: tool
        for tool in inspect_lora(folder / f"{name}.safetensors", alpha=alpha, unet=unet).tools
    }


@pytest.mark.parametrize("name", lora_programs.FILES)
def test_the_verdicts_are_what_was_measured(folder, unet, name):
    tools = tools_of(folder, name, unet)
    newest = DIFFUSERS[max(DIFFUSERS)][name]
    assert tools["ComfyUI"].verdict == verdict_of(COMFYUI_FILES[name])
    if name == "LoKr, diffusers":  # measured by the call that the note names
        assert (tools["diffusers"].verdict, verdict_of(newest)) == ("set", "yes")
    else:
        assert tools["diffusers"].verdict == verdict_of(newest)
    lost = COMFYUI_FILES[name].get("lost", {})
    if COMFYUI_FILES[name].get("times") and lost:
        layers = COMFYUI_FILES[name]["layers"]
        assert (
            f"applies {layers - sum(lost.values())} of {layers} layers, at scale 1" in tools["ComfyUI"].note
        )
    assert load_file(folder / f"{name}.safetensors")


SINCE = {"metadata": "diffusers", "kohya, outside the blocks": "kohya", "LoKr": "LoKr, diffusers"}


@pytest.mark.parametrize("what", DIFFUSERS_SINCE)
def test_the_versions_are_what_was_measured(folder, unet, what):
    """Right from this version on, and in none before."""
    name, since = SINCE[what], tuple(map(int, DIFFUSERS_SINCE[what][0].split(".")))
    assert min(DIFFUSERS) < since <= max(DIFFUSERS)
    for version, files in DIFFUSERS.items():
        assert (verdict_of(files[name]) == "yes") == (version >= since)
    note = tools_of(folder, name, unet)["diffusers"].note
    assert f"from {DIFFUSERS_SINCE[what][0]}; before, {DIFFUSERS_SINCE[what][1]}" in note


def test_attention_in_kohyas_names_is_right_everywhere(folder, unet):
    assert all(verdict_of(files["kohya, attention"]) == "yes" for files in DIFFUSERS.values())
    assert tools_of(folder, "kohya, attention", unet)["diffusers"].note == ""
