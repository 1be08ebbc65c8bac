"""Where a measurement comes from: commit, versions and machine, without which it says nothing."""

import platform
import subprocess
from typing import Any

import torch

from kolors_course import __version__
from kolors_course.libraries import installed
from kolors_course.platform.machine import available_cores
from kolors_course.platform.paths import REPOSITORY

PACKAGES = ("torch", "diffusers", "transformers", "peft")


def provenance(device: torch.device) -> dict[str, Any]:
    """Commit of this checkout (None where it is none, or git is not there), versions, and what computes."""
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {
        "commit": _commit(),
        "kolors_course": __version__,
        "python": platform.python_version(),
        **{name: installed(name) for name in PACKAGES},
        "machine": f"{card}, {available_cores()} cores of {platform.system()} {platform.machine()}",
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
