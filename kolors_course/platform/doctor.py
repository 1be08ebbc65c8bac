"""Examining the machine: what is there, what is missing, how to mend it, and what will run here."""

import os
import platform
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from kolors_course.errors import CourseError
from kolors_course.libraries import installed, problems, remedy
from kolors_course.platform.choices import PROFILES, profile_name
from kolors_course.platform.device import autocast_dtype, pick_device
from kolors_course.platform.download import download_command, faults
from kolors_course.platform.fonts import cjk_font_path
from kolors_course.platform.machine import GIB, available_cores, free_disk, memory
from kolors_course.platform.paths import REPOSITORY, data_dir, kolors_folder

PACKAGES = ("torch", "diffusers", "transformers", "peft", "accelerate")
JUPYTER_PACKAGES = ("jupyterlab", "ipykernel", "ipywidgets")
MINI_MEMORY = 3 * GIB
# The fp16 files of Kolors: U-Net 5.16 GB, text encoder 12.49 GB, VAE 0.17 GB.
KOLORS_DOWNLOAD = 17_810_000_000
# A "24 GB" card reports 22 to 23.7 GiB, a "12 GB" card 11.6 GiB.
KOLORS_GPU_MEMORY = 22 * GIB
KOLORS_GPU_MEMORY_CACHED = 11 * GIB
FAULTS_TOLD = 4
MODELSCOPE_WORKSPACE = Path("/mnt/workspace")


@dataclass(frozen=True)
class Check:
    """One finding. `ok` is False when the chosen profile needs something mended; `advice` may be empty."""

    name: str
    value: str
    ok: bool = True
    advice: str = ""


def examine() -> list[Check]:
    """Look at everything the course depends on. Never fails: what cannot be used becomes a finding."""
    profile = profile_name()
    return [
        Check("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        *_libraries(),
        _device(),
        Check("CPU cores", f"{available_cores()}, torch uses {torch.get_num_threads()}"),
        _memory(),
        _disk(profile),
        _font(),
        _profile(profile),
        _data(),
        *(_package(name) for name in JUPYTER_PACKAGES),
        _modelscope(),
        _mini_runs(),
        _kolors_runs(profile),
        _kolors_weights(profile),
    ]


def report_lines(checks: Iterable[Check]) -> list[str]:
    """The findings as lines of text: a mark, the name, the value, and the advice below where there is one."""
    checks = list(checks)
    width = max((len(check.name) for check in checks), default=0)
    lines = []
    for check in checks:
        lines.append(f"{'ok' if check.ok else '!!'}  {check.name:<{width}}  {check.value}")
        if check.advice:
            lines.append(f"    {'':<{width}}  -> {check.advice}")
    return lines


def report_dict(checks: Iterable[Check]) -> dict:
    """The findings for JSON: `ok` over all, and `checks` with name, value, ok and advice of each."""
    found = [asdict(check) for check in checks]
    return {"ok": all(check["ok"] for check in found), "checks": found}


def _libraries() -> list[Check]:
    """The large libraries, and every other that keeps the course from running."""
    wrong = problems()
    return [_package(name, wrong.get(name, "")) for name in dict.fromkeys((*PACKAGES, *wrong))]


def _package(name: str, fault: str = "") -> Check:
    here = installed(name)
    fault = fault or ("" if here else f"{name} is not installed")
    return Check(name, here or "not installed", not fault, f"{fault}: {remedy([name])}" if fault else "")


def _device() -> Check:
    device = pick_device()
    number_format = "bfloat16" if autocast_dtype(device) else "float32"
    if device.type != "cuda":
        return Check("Device", f"{device.type}, fastest in {number_format}")
    card = torch.cuda.get_device_properties(device)
    return Check("Device", f"{card.name}, {_gib(card.total_memory)}, fastest in {number_format}")


def _memory() -> Check:
    now = memory()
    enough = now.free >= MINI_MEMORY
    advice = "" if enough else f"close other programs: the course wants {_gib(MINI_MEMORY)} free"
    return Check("Memory", f"{_gib(now.total)}, {_gib(now.free)} free", enough, advice)


def _disk(profile: str) -> Check:
    free = free_disk(REPOSITORY)
    wanted = KOLORS_DOWNLOAD + 4 * GIB if profile == "kolors" else 1 * GIB
    enough = free >= wanted
    advice = "" if enough else f"free some: profile {profile} wants {_gib(wanted)}"
    return Check("Disk", f"{_gib(free)} free", enough, advice)


def _font() -> Check:
    font = cjk_font_path()
    if font:
        return Check("Chinese font", font.name)
    advice = "restore data/fonts, or install one (Debian, Ubuntu: apt install fonts-noto-cjk)"
    return Check("Chinese font", "none: Chinese in figures shows as boxes", False, advice)


def _profile(profile: str) -> Check:
    known = profile in PROFILES
    return Check("Profile", profile, known, "" if known else f"set KOLORS_PROFILE to {' or '.join(PROFILES)}")


def _data() -> Check:
    try:
        folder = data_dir()
    except CourseError as error:
        return Check("Data", "missing", False, str(error))
    if (folder / "kolors-mini" / "model_index.json").is_file():
        return Check("Data", f"{folder}, with Kolors-mini")
    advice = "take data/kolors-mini from a fresh checkout, or train it: make mini"
    return Check("Data", f"{folder}, without Kolors-mini", False, advice)


def _modelscope() -> Check:
    # Names only: a variable of this kind may hold an access token.
    signs = sorted(name for name in os.environ if name.startswith("MODELSCOPE_"))
    signs += [str(MODELSCOPE_WORKSPACE)] if MODELSCOPE_WORKSPACE.is_dir() else []
    if not signs:
        return Check("ModelScope", "not detected")
    advice = (
        f"work in {MODELSCOPE_WORKSPACE}: other folders may be lost when the instance closes; keep the "
        "image's torch as it is, a newer one may not match the driver"
    )
    return Check("ModelScope", f"detected by {', '.join(signs)}", True, advice)


def _mini_runs() -> Check:
    """Whether Kolors-mini, which any device is enough for, has its libraries, its memory and its weights."""
    causes = [check for check in (*_libraries(), _memory(), _data()) if not check.ok]
    if not causes:
        return Check("Kolors-mini", "training and sampling run here, offline")
    names = " and ".join(check.name.lower() for check in causes)
    return Check("Kolors-mini", "does not run here yet", False, f"mend what is said about {names}")


def _kolors_runs(profile: str) -> Check:
    """Whether a LoRA of the full model trains at 1024 pixels, batch 1, with gradient checkpointing."""
    download = f"the download is {_gib(KOLORS_DOWNLOAD)}: about 4 hours at 1.2 MB/s, 30 minutes at 10 MB/s"
    device = pick_device()
    size = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else 0
    if size >= KOLORS_GPU_MEMORY:
        return Check("Full Kolors", "LoRA training at 1024 pixels runs here", True, download)
    if size >= KOLORS_GPU_MEMORY_CACHED:
        value = "LoRA training at 1024 pixels needs cached prompts and latents here, and planned offload"
        return Check("Full Kolors", value, True, download)
    found = f"the GPU has {_gib(size)}" if size else "there is no NVIDIA GPU"
    needed = profile == "kolors"
    value = f"not here: {found}" if needed else f"not here ({found}), and not needed for profile {profile}"
    advice = "take a GPU notebook with 24 GB and set KOLORS_PROFILE=kolors there; 12 GB is the least"
    return Check("Full Kolors", value, not needed, advice)


def _kolors_weights(profile: str) -> Check:
    """Whether full Kolors has been downloaded, whole."""
    folder, needed = kolors_folder(), profile == "kolors"
    get = f"pip install modelscope, then: {download_command(folder)}"
    if not folder.is_dir():
        there = Check("Kolors weights", f"not in {folder}", not needed)
        return replace(there, advice=f"{get} ({_gib(KOLORS_DOWNLOAD)})" if needed else "")
    found = faults(folder)
    if not found:
        return Check("Kolors weights", f"complete in {folder}")
    told = "; ".join(found[:FAULTS_TOLD]) + ("; ..." if len(found) > FAULTS_TOLD else "")
    return Check(
        "Kolors weights", f"incomplete in {folder}: {told}", False, f"run it again, it goes on: {get}"
    )


def _gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"
