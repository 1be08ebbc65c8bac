"""A real ComfyUI for tests: installed once into outputs/comfyui, started with a working folder of its own."""

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pytest

from kolors_course.comfyui.client import ComfyClient, Picture
from kolors_course.comfyui.install import Installation, default_folder, install
from kolors_course.comfyui.server import Server, prepare_base, start_server
from kolors_course.errors import CourseError

# Nodes that are slow or fail, for tests of what happens then.
TEST_NODES = """
import time
import torch
from comfy.model_management import throw_exception_if_processing_interrupted
from comfy.utils import ProgressBar


class TestSlow:
    INPUT_TYPES = classmethod(lambda cls: {"required": {
        "steps": ("INT", {"default": 3, "min": 1}), "pause": ("FLOAT", {"default": 0.1}), "label": ("STRING", {})}})
    RETURN_TYPES, FUNCTION, CATEGORY = ("IMAGE",), "work", "test"

    def work(self, steps, pause, label):
        bar = ProgressBar(steps)
        for step in range(steps):
            time.sleep(pause)
            throw_exception_if_processing_interrupted()
            bar.update_absolute(step + 1, steps)
        return (torch.full((1, 8, 8, 3), len(label) / 255),)


class TestFail:
    INPUT_TYPES = classmethod(lambda cls: {"required": {"message": ("STRING", {})}})
    RETURN_TYPES, FUNCTION, CATEGORY = ("IMAGE",), "work", "test"

    def work(self, message):
        raise ValueError(message)


NODE_CLASS_MAPPINGS = {"TestSlow": TestSlow, "TestFail": TestFail}
"""


@dataclass(frozen=True)
class RealServer:
    installation: Installation
    server: Server

    @property
    def base(self) -> Path:
        return self.installation.base

    @property
    def client(self) -> ComfyClient:
        return ComfyClient(self.server.url)


@cache
def installed() -> Installation:
    """The installation that all tests share; without one the test is skipped, and says why in one line."""
    try:
        return install(default_folder())
    except CourseError as error:
        pytest.skip(f"no ComfyUI: {error}")


def start_real_server(base: Path, flags: tuple[str, ...] = (), welcome: tuple[str, ...] = ()) -> RealServer:
    installation = replace(installed(), base=base)
    prepare_base(base)
    pack = base / "custom_nodes" / "test_nodes"
    pack.mkdir(exist_ok=True)
    (pack / "__init__.py").write_text(TEST_NODES, encoding="utf-8")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("OMP_NUM_THREADS", "1")
        return RealServer(installation, start_server(installation, flags=("--cpu", *flags), welcome=welcome))


def slow(label: str, steps: int = 3, pause: float = 0.1) -> dict:
    """A workflow whose picture is 8 x 8 pixels of the brightness len(label)."""
    return {
        "1": {"class_type": "TestSlow", "inputs": {"steps": steps, "pause": pause, "label": label}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": label}},
    }


def pictures_of(client: ComfyClient, api: dict, page: dict | None = None) -> list[bytes]:
    """Run a workflow; its pictures in the order of nodes and names."""
    pictures = [event for event in client.run(api, page) if isinstance(event, Picture)]
    pictures.sort(key=lambda picture: (int(picture.node), picture.filename))
    return [client.picture_bytes(picture) for picture in pictures]
