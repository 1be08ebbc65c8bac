"""Prompts executed by a real ComfyUI without its server, in a process of ComfyUI's environment."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from comfyui_server import installed
from PIL import Image

from kolors_course.comfyui.server import prepare_base

ROOT = Path(__file__).resolve().parents[1]
Prompt = dict[str, dict[str, Any]]


class Worker:
    """The process; `nodes` is what our nodes declare, as at /object_info."""

    def __init__(self, base: Path, environment: dict[str, str]) -> None:
        self.base = base
        prepare_base(base)
        installation = installed()
        command = [installation.python, ROOT / "tests" / "comfyui_worker.py", installation.code, base]
        variables = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
        self._log = (base / "worker.log").open("wb")
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self._log}
        self._process = subprocess.Popen(list(map(str, command)), env=variables, text=True, **pipes)
        self.nodes = self._answer()

    def run(self, prompt: Prompt, interrupt_at: int | None = None) -> dict[str, Any]:
        """Validate and execute; `interrupt_at` presses Stop when the progress reaches it."""
        self._process.stdin.write(json.dumps({"prompt": prompt, "interrupt_at": interrupt_at}) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def pictures(self, prompt: Prompt) -> list[np.ndarray]:
        """The pictures that the prompt saves; it must succeed."""
        answer = self.run(prompt)
        assert answer.get("success"), answer
        saved = [image for output in answer["outputs"].values() for image in output.get("images", [])]
        paths = [self.base / "output" / image["subfolder"] / image["filename"] for image in saved]
        return [np.asarray(Image.open(path)) for path in paths]

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(timeout=30)
        self._log.close()

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        assert line, (self.base / "worker.log").read_text(encoding="utf-8", errors="replace")[-2000:]
        return json.loads(line)
