"""JupyterLab as `make lab` starts it, and one of its pages with a notebook, used as a person uses it."""

import itertools
import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conftest import ROOT
from jupyter_server.serverapp import list_running_servers
from playwright.sync_api import Browser, Locator, Page

PATIENCE = 120_000  # milliseconds, for what the page or one widget does
LESSON = 900_000  # milliseconds, for all cells
TOKEN = "a-test"
# No question whether Jupyter may send news: it would lie over the screenshots.
QUIET = {"@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False}}
BROKEN = re.compile("Error displaying|model not found|Loading widget|Javascript Error")

PANEL = "jupyterapp.shell.currentWidget"
KERNEL = f"{PANEL}.sessionContext.session?.kernel"
# Cells that Run All runs.
CODE = f"{PANEL}.content.widgets.filter(c => c.model.type == 'code' && c.model.sharedModel.source.trim())"
FAILED = "c => c.model.outputs.toJSON().some(output => output.output_type == 'error')"
AT_REST = f"{KERNEL}?.status == 'idle' && {CODE}.every(c => c.model.executionState == 'idle')"
HAS_RUN = f"{AT_REST} && ({CODE}.every(c => c.model.executionCount) || {CODE}.some({FAILED}))"
# The kernel works in order: once it has answered to nothing, it has answered to all before.
LATE = f"new Promise((_, fail) => setTimeout(() => fail(Error('the kernel does not answer')), {PATIENCE}))"
ANSWER = f"Promise.race([{KERNEL}.requestExecute({{code: '', silent: true}}).done, {LATE}]).then(() => null)"
LAST_IS_SHOWN = """node => [...node.querySelectorAll(".jp-Cell")].at(-1).getBoundingClientRect().bottom
    <= node.getBoundingClientRect().bottom"""


def command_of_make_lab() -> list[str]:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    recipe = re.search(r"^lab:.*\n((?:\t.+\n)+)", makefile, re.MULTILINE)[1].replace("\\\n", "")
    return shlex.split(recipe.replace("$(VENV_PYTHON)", sys.executable).replace("$(ARGS)", ""))


@dataclass(frozen=True)
class Lab:
    """A running JupyterLab.

    Attributes:
        folder: what stands in the place of the checkout.
        url: its address, with / at the end.
    """

    browser: Browser
    folder: Path
    url: str

    @contextmanager
    def opened(self, name: str, width: int = 1280, height: int = 900) -> Iterator["Lesson"]:
        """A page with the notebook notebooks/`name`, and a kernel at rest."""
        with self.browser.new_context(viewport={"width": width, "height": height}) as context:
            context.set_default_timeout(PATIENCE)
            page = context.new_page()
            # A workspace of its own: else JupyterLab opens again what was open before.
            page.goto(f"{self.url}lab/workspaces/{time.time_ns()}/tree/notebooks/{name}?token={TOKEN}")
            page.wait_for_function(f"window.jupyterapp?.shell?.currentWidget?.context?.isReady && {AT_REST}")
            yield Lesson(page, self.folder / "notebooks" / name)


@dataclass(frozen=True)
class Cell:
    """A code cell as it stands on the page."""

    id: str
    count: int | None
    error: str | None


@dataclass(frozen=True)
class Lesson:
    """A notebook on its page."""

    page: Page
    path: Path

    def do(self, script: str) -> Any:
        return self.page.evaluate(script)

    def choose(self, menu: str, command: str) -> None:
        """Choose in a menu, as a person does."""
        self.page.locator(".lm-MenuBar-item", has_text=menu).click()
        self.page.locator(f".lm-Menu-item[data-command='{command}']").click()

    @property
    def marked_unsaved(self) -> bool:
        return self.do(f"{PANEL}.context.model.dirty")

    def save(self) -> None:
        self.do("jupyterapp.commands.execute('docmanager:save')")

    def run_all(self) -> None:
        """All cells, until the kernel is at rest. What was saved is wiped off first: it must not pass for a run."""
        self.start_all()
        self.page.wait_for_function(HAS_RUN, timeout=LESSON)

    def start_all(self) -> None:
        self.do("jupyterapp.commands.execute('notebook:clear-all-cell-outputs')")
        self.do(f"{CODE}.forEach(c => {{ c.model.executionCount = null }})")
        self.choose("Run", "runmenu:run-all")

    def interrupt_after(self, count: int) -> None:
        """Run all cells, interrupt when the first `count` have run, and wait until the kernel is at rest."""
        self.start_all()
        ran = f"{CODE}.filter(c => c.model.executionCount).length"
        self.page.wait_for_function(f"{ran} >= {count} || {CODE}.some({FAILED})", timeout=LESSON)
        self.choose("Kernel", "kernelmenu:interrupt")
        self.page.wait_for_function(AT_REST)

    def end_kernel(self) -> None:
        self.choose("Kernel", "kernelmenu:shutdown")
        self.page.wait_for_function(f"!{KERNEL} || {KERNEL}.status == 'dead'")

    def settle(self) -> None:
        """Wait until the kernel has done what was asked of it so far, also by widgets."""
        self.do(ANSWER)

    def cells(self) -> list[Cell]:
        """The code cells that Run All runs."""
        error = "c.model.outputs.toJSON().find(output => output.output_type == 'error')"
        told = f"{error} ? `${{{error}.ename}}: ${{{error}.evalue}}` : null"
        rows = self.do(f"{CODE}.map(c => [c.model.id, c.model.executionCount, {told}])")
        return [Cell(*row) for row in rows]

    def broken_displays(self) -> list[str]:
        """What JupyterLab writes where it cannot show an output, or a picture of a text."""
        texts = self.do(f"{CODE}.map(c => c.outputArea.node.textContent)")
        missing = "image => image.complete && !image.naturalWidth"
        images = (
            f"[...{PANEL}.content.node.querySelectorAll('img')].filter({missing}).map(image => image.alt)"
        )
        return [found[0] for text in texts for found in BROKEN.finditer(text)] + self.do(images)

    def shrunk_figures(self) -> int:
        """How many figures are shown smaller than their texts are meant for."""
        shrunk = "image => image.clientWidth < image.getAttribute('width')"
        return self.do(f"[...document.querySelectorAll('.jp-RenderedImage img')].filter({shrunk}).length")

    def outputs(self) -> list[Locator]:
        """The output of each code cell."""
        return self.page.locator(".jp-Notebook .jp-CodeCell .jp-Cell-outputArea").all()

    def wear(self, theme: str) -> None:
        """Take the theme "Light" or "Dark"; JupyterLab keeps it for pages that are opened later."""
        self.do(f"jupyterapp.commands.execute('apputils:change-theme', {{theme: 'JupyterLab {theme}'}})")
        self.page.wait_for_function(f"document.body.dataset.jpThemeName == 'JupyterLab {theme}'")

    def look(self, folder: Path, name: str, width: int) -> None:
        """Screenshots of the notebook from top to bottom, `folder`/`name`-1.png and so on."""
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob(f"{name}-*.png"):
            old.unlink()
        self.page.set_viewport_size({"width": width, "height": 2400})
        shown = self.page.locator(".jp-NotebookPanel-notebook .jp-WindowedPanel-outer")
        shown.evaluate("node => { node.scrollTop = 0 }")
        for number in itertools.count(1):
            self.page.wait_for_function(AT_REST)
            shown.screenshot(path=folder / f"{name}-{number}.png")
            if shown.evaluate(LAST_IS_SHOWN):
                break
            shown.evaluate("node => node.scrollBy(0, node.clientHeight)")


@contextmanager
def running_lab(browser: Browser, folder: Path) -> Iterator[Lab]:
    """JupyterLab with `folder` in the place of the checkout; lessons in it take their short way.

    All that it keeps lies in `folder`/.jupyter: settings, and which notebooks it trusts.
    """
    home = folder / ".jupyter"
    for name, settings in QUIET.items():
        path = home / "settings" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(settings), encoding="utf-8")
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "JUPYTER_TOKEN": TOKEN,
        "KOLORS_COURSE_FAST": "1",
        "HF_HUB_OFFLINE": "1",
    }
    flags = ["--no-browser", "--ServerApp.port=0", "--expose-app-in-browser"]
    with (home / "log").open("w") as log:
        command = [*command_of_make_lab(), *flags]
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        yield Lab(browser, folder, _address(process, home))
    finally:
        process.terminate()
        process.wait(timeout=60)


def _address(process: subprocess.Popen, home: Path) -> str:
    """Where it listens; it notes that once it does."""
    end = time.monotonic() + PATIENCE / 1000
    while process.poll() is None and time.monotonic() < end:
        for server in list_running_servers(str(home / "runtime")):
            return server["url"]
        time.sleep(0.1)
    raise RuntimeError(f"JupyterLab did not start: {(home / 'log').read_text()[-2000:]}")
