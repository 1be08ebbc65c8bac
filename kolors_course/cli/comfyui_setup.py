"""What `comfyui start` and `run` both need: a finished installation, and what ComfyUI must know of this machine."""

import argparse
from functools import partial

from kolors_course.comfyui.install import Installation, find_installation, install
from kolors_course.comfyui.server import STOP, running_server
from kolors_course.errors import CourseError

tell = partial(print, flush=True)  # what takes time is told at once, also into a pipe


def ready_installation(arguments: argparse.Namespace) -> Installation:
    """The installation of --folder, made or completed where it must be."""
    ready = find_installation(arguments.folder)
    if not ready and running_server(arguments.folder / "base"):
        raise CourseError(f"a ComfyUI runs from {arguments.folder}, which must be installed anew; {STOP}")
    installation = ready or install(arguments.folder, arguments.source, tell)
    if not ready:
        print(f"ComfyUI {installation.version} is installed in {arguments.folder}")
    return installation


def device_flags() -> tuple[str, ...]:
    """What ComfyUI must be told of this machine."""
    from kolors_course.platform.device import pick_device  # torch: not for `stop`

    return ("--cpu",) if pick_device().type == "cpu" else ()
