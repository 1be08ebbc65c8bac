"""A page in a headless Chromium, driven over the browser's own DevTools protocol; used by tests and screenshots."""

import base64
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import websocket

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless=new",
    "--no-sandbox",  # needed where the user is root, as in containers
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)


def find_chromium() -> str | None:
    """The path of a Chromium on this machine."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


def has_chinese_font() -> bool:
    """Whether pages can show Chinese: where fontconfig knows no font for it, Chromium draws boxes."""
    try:
        listed = subprocess.run(["fc-list", ":lang=zh", "family"], capture_output=True, check=False)
    except FileNotFoundError:
        return False
    return bool(listed.stdout.strip())


class Page:
    """One tab."""

    def __init__(self, address: str):
        self._socket = websocket.create_connection(
            address, timeout=60, suppress_origin=True, http_no_proxy=["*"], max_size=None
        )
        self._count = 0

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the DevTools protocol and return its result."""
        self._count += 1
        self._socket.send(json.dumps({"id": self._count, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._socket.recv())
            if answer.get("id") == self._count:
                break
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression; a promise is waited for."""
        result = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            details = result["exceptionDetails"]
            raise RuntimeError(details.get("exception", {}).get("description") or details["text"])
        return result["result"].get("value")

    def wait_for(self, expression: str, seconds: float = 60) -> Any:
        """The value of an expression, once it is true."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            value = self.evaluate(expression)
            if value:
                return value
            time.sleep(0.1)
        raise TimeoutError(f"not true after {seconds:g} seconds: {expression}")

    def before_each_load(self, script: str) -> None:
        """Run `script` in every document before its own scripts."""
        self.call("Page.enable")
        self.call("Page.addScriptToEvaluateOnNewDocument", source=script)

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)

    def choose_file(self, selector: str, path: Path) -> None:
        """Choose a file in an <input type=file>, as a person does in the dialog."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def click(self, selector: str) -> None:
        """Press and release the left mouse button on the middle of an element."""
        where = self.evaluate(
            f"(r => ({{x: r.x + r.width / 2, y: r.y + r.height / 2}}))"
            f"(document.querySelector({json.dumps(selector)}).getBoundingClientRect())"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **where)

    def screenshot(self) -> bytes:
        """A PNG of what is visible."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def close(self) -> None:
        self._socket.close()


@contextmanager
def open_page(width: int = 1280, height: int = 720, language: str = "en-US") -> Iterator[Page]:
    """An empty page in a fresh browser; leaving ends the browser.

    Raises:
        FileNotFoundError: there is no Chromium on this machine.
    """
    chromium = find_chromium()
    if chromium is None:
        raise FileNotFoundError(f"none of {', '.join(PROGRAMS)} is installed")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [chromium, *FLAGS, f"--window-size={width},{height}", f"--lang={language}"]
        command += [f"--user-data-dir={profile}", "about:blank"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            page = Page(_address_of_tab(Path(profile), process))
            page.call(
                "Emulation.setDeviceMetricsOverride",
                width=width,
                height=height,
                deviceScaleFactor=1,
                mobile=False,
            )
            yield page
            page.close()
        finally:
            process.terminate()
            process.wait(timeout=20)


def _address_of_tab(profile: Path, process: subprocess.Popen) -> str:
    """The WebSocket of the first tab; Chromium notes its port in its profile once it is ready."""
    note = profile / "DevToolsActivePort"
    end = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < end:
        if note.is_file() and len(lines := note.read_text().splitlines()) == 2:
            return _first_tab(f"ws://127.0.0.1:{lines[0]}{lines[1]}", lines[0])
        time.sleep(0.05)
    raise RuntimeError("Chromium did not start")


def _first_tab(browser: str, port: str) -> str:
    page = Page(browser)
    targets = page.call("Target.getTargets")["targetInfos"]
    page.close()
    identity = next(target["targetId"] for target in targets if target["type"] == "page")
    return f"ws://127.0.0.1:{port}/devtools/page/{identity}"
