"""Run ComfyUI's main.py in this process: python -m kolors_course.comfyui.launch [HOSTS] FOLDER/main.py [FLAGS].

Its server answers this machine only, and the HOSTS: each `--welcome NAME`, the name of a proxy (see guard.py).

ComfyUI imports torchvision and torchaudio when it starts, although only a few of its nodes use them. The wheels
that fit a CPU build of torch come from another index than PyPI, and wheels that do not fit break every
import of transformers and diffusers beside them. So where either is missing, this module registers empty
stand-ins; the nodes that would really use them say so when they run. Nothing is done where both are installed.
"""

import importlib.machinery
import importlib.util
import runpy
import sys
import types
from pathlib import Path
from typing import Any, NoReturn

import diffusers.utils.import_utils
import transformers.utils.import_utils

from kolors_course.comfyui.guard import guard_applications

# Every module that ComfyUI imports by name while it starts.
STAND_INS = {
    "torchvision": ("torchvision", "torchvision.transforms", "torchvision.transforms.functional"),
    "torchaudio": ("torchaudio", "torchaudio.transforms", "torchaudio.functional"),
}


def register_stand_ins() -> list[str]:
    """Register stand-ins for the missing packages of STAND_INS; their names are returned."""
    missing = [name for name in STAND_INS if importlib.util.find_spec(name) is None]
    if missing:
        _remember_what_is_missing()
    for name in missing:
        for path in STAND_INS[name]:
            sys.modules[path] = module = _stand_in(path, package=name)
            parent, _, child = path.rpartition(".")
            if parent:
                setattr(sys.modules[parent], child, module)
    return missing


def _remember_what_is_missing() -> None:
    """Let transformers and diffusers look before the stand-ins exist: both keep their first answer."""
    assert diffusers.utils.import_utils  # looked while it was imported
    for name in ("is_torchvision_available", "is_torchvision_v2_available", "is_torchaudio_available"):
        look = getattr(transformers.utils.import_utils, name, None)  # they come and go with versions
        if look:
            look()


def _stand_in(name: str, package: str) -> types.ModuleType:
    """An empty package whose every attribute is a class that cannot be made."""
    module = types.ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, loader=None, is_package=True)
    module.__path__ = []

    def attribute(wanted: str) -> type:
        if wanted.startswith("__"):
            raise AttributeError(f"module '{name}' has no attribute '{wanted}'")

        def refuse(self: object, *arguments: Any, **options: Any) -> NoReturn:
            raise ImportError(f"{name}.{wanted} was asked for, but {package} is not installed here")

        return type(wanted, (), {"__init__": refuse})

    vars(module)["__getattr__"] = attribute
    return module


def main(arguments: list[str]) -> None:
    welcome = set()
    while arguments[0] == "--welcome":
        _, host, *arguments = arguments
        welcome.add(host)
    script = Path(arguments[0]).resolve()
    register_stand_ins()
    guard_applications(welcome)
    sys.argv = [str(script), *arguments[1:]]
    sys.path[0] = str(script.parent)  # as if the script had been started itself
    runpy.run_path(str(script), run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
