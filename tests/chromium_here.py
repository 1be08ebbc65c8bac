"""What tests in a browser need of the machine: Playwright, and a Chromium, installed where that needs no asking."""

import os
import shutil
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path

from filelock import FileLock

PLAYWRIGHT = "Playwright is missing: pip install -c constraints.txt -e '.[notebooks,dev]'"
CHROMIUM = "Chromium is missing, and only root can install it: apt install chromium"


def what_is_missing() -> str | None:
    """What keeps the tests in a browser from running, and how to mend it; None where nothing does."""
    if find_spec("playwright") is None:
        return PLAYWRIGHT
    from chromium import find_chromium

    # Tests run side by side; apt does not.
    with FileLock(Path(tempfile.gettempdir()) / "kolors-course-chromium.lock"):
        return _installed() if find_chromium() is None else None


def _installed() -> str | None:
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        return CHROMIUM
    command = f"{apt} update -q && {apt} install -qy --no-install-recommends chromium"
    unasked = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, env=unasked)
    if done.returncode:
        return f"Chromium is missing and cannot be installed: {done.stderr.strip().splitlines()[-1]}"
    return None
