"""Where a measurement comes from: commit, versions and machine, without which it says nothing."""

import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

from kolors_course import __version__
from kolors_course.libraries import installed
from kolors_course.platform.machine import available_cores
from kolors_course.platform.paths import REPOSITORY

PACKAGES = ("torch", "diffusers", "transformers", "peft")


def provenance(device: torch.device, commit: str | None = None) -> dict[str, Any]:
    """Commit of this checkout (None where it is none, or git is not there), versions, and what computes.

    Args:
        commit: of a copy of the repository without its history.
    """
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {
        "commit": commit or _commit(),
        "kolors_course": __version__,
        "python": platform.python_version(),
        **{name: installed(name) for name in PACKAGES},
        "machine": f"{card}, {available_cores()} cores of {_processor()}, {platform.system()}",
        "threads": torch.get_num_threads(),
    }


def _commit() -> str | None:
    """The commit, with a mark where files that git tracks were changed since."""
    command = ["git", "-C", str(REPOSITORY), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    if not (REPOSITORY / ".git").exists():
        return None
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = info.read_text(encoding="utf-8").splitlines()
        if names := [line.split(":")[1].strip() for line in lines if "model name" in line]:
            return names[0]
    return platform.processor() or platform.machine()
