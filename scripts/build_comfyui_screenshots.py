"""Take the pictures of ComfyUI's page that notebook 12 shows, in both languages, from a real server.

    python scripts/build_comfyui_screenshots.py            # all
    python scripts/build_comfyui_screenshots.py refusal    # some
    python scripts/build_comfyui_screenshots.py by-hand    # those of the camp's task by hand

Needs Chromium; ComfyUI is installed first if it is not there (kolors-course comfyui install).
"""

import io
import json
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from chromium import find_chromium, open_chromium
from comfyui_hand import Hand
from comfyui_page import RUN_BUTTON, open_comfyui
from comfyui_walk import HEIGHT, WIDTH, Stop, camp_by_hand, open_file, walk
from numbered_marks import draw_marks
from PIL import Image
from playwright.sync_api import Browser, Page

from kolors_course.comfyui.client import ComfyClient
from kolors_course.comfyui.graph import read_workflow
from kolors_course.comfyui.install import default_folder, install
from kolors_course.comfyui.server import NODES, start_server, stop_server
from kolors_course.files import atomic_path
from kolors_course.platform.paths import REPOSITORY, data_dir

FIGURES = REPOSITORY / "docs" / "figures"
BY_HAND = FIGURES / "by-hand"
WORKFLOWS = NODES / "example_workflows"
LANGUAGES = ("en", "zh")
DRAWING = 300_000  # milliseconds
COLOURS = 256


def shipped(name: str) -> dict:
    return read_workflow(WORKFLOWS / f"{name}.json")


def load(page: Page, workflow: dict) -> None:
    page.evaluate(f"app.loadGraphData({json.dumps(workflow)})")
    time.sleep(0.5)
    page.evaluate("app.extensionManager.command.execute('Comfy.Canvas.FitView')")
    time.sleep(1)  # it glides there


def show_run(page: Page) -> None:
    """The LoRA workflow and the picture it has drawn."""
    ComfyClient(page.evaluate("location.origin")).post(
        "/free", {"free_memory": True}
    )  # nothing is remembered
    load(page, shipped("mini-lora"))
    page.click(RUN_BUTTON)
    page.wait_for_function(
        "app.graph.nodes.find(node => node.type == 'SaveImage').imgs?.[0]?.complete", timeout=DRAWING
    )
    time.sleep(1.5)


def show_refusal(page: Page) -> None:
    """A value that the server refuses: the node is outlined, a dialog says why."""
    workflow = shipped("mini-text-to-image")
    sampler = next(node for node in workflow["nodes"] if node["type"] == "KolorsCourseSampler")
    sampler["widgets_values"][2] = 5000
    load(page, workflow)
    page.click(RUN_BUTTON)
    page.wait_for_function("Object.keys(app.lastNodeErrors ?? {}).length", timeout=DRAWING)
    time.sleep(1.5)


def show_missing_nodes(page: Page) -> None:
    """The camp's workflow without the camp's node packs."""
    load(page, read_workflow(data_dir() / "workflows" / "kolors_with_lora_example.json"))


def shoot_walk(browser: Browser, client: ComfyClient, language: str) -> None:
    """The camp's task by hand: a picture for each stop."""
    client.post("/free", {"free_memory": True})
    with open_comfyui(browser, client, language, WIDTH, HEIGHT, first_visit=True) as page:
        shoot(page, walk(Hand(page)), language)
    with (
        tempfile.TemporaryDirectory() as folder,
        open_comfyui(browser, client, language, WIDTH, HEIGHT) as page,
    ):
        camp = Path(folder) / "camp.json"
        camp.write_text(json.dumps(camp_by_hand(client.schemas())), encoding="utf-8")
        shoot(page, open_file(Hand(page), camp), language)


def shoot(page: Page, stops: Iterable[Stop], language: str) -> None:
    for stop in stops:
        left, top, right, bottom = map(round, stop.box)
        picture = Image.open(io.BytesIO(page.screenshot())).crop((left, top, right, bottom))
        spots = [(x - left, y - top) for x, y in stop.spots]
        save(draw_marks(picture, spots), BY_HAND / f"{stop.name}-{language}.png")


SHOTS = {"run": show_run, "refusal": show_refusal, "missing-nodes": show_missing_nodes}


def save(picture: Image.Image, path: Path) -> None:
    # an octree keeps the few bright spots of a grey page, which the median cut would lose
    few = picture.convert("RGB").quantize(COLOURS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    with atomic_path(path) as temporary:
        few.save(temporary, optimize=True)
    print(f"{path.relative_to(REPOSITORY)}: {path.stat().st_size / 1e3:.0f} kB")


def main() -> int:
    if find_chromium() is None:
        print("no Chromium: apt install chromium fonts-noto-cjk", file=sys.stderr)
        return 1
    names = sys.argv[1:] or [*SHOTS, "by-hand"]
    installation = install(default_folder(), report=print)
    for language in LANGUAGES:  # each has a server of its own, where nothing has been saved
        with tempfile.TemporaryDirectory() as folder:
            server = start_server(replace(installation, base=Path(folder)), flags=("--cpu",))
            try:
                with open_chromium() as browser:
                    take(browser, ComfyClient(server.url), language, names)
            finally:
                stop_server(Path(folder))
    return 0


def take(browser: Browser, client: ComfyClient, language: str, names: Sequence[str]) -> None:
    for name in names:
        if name == "by-hand":
            shoot_walk(browser, client, language)
            continue
        with open_comfyui(browser, client, language) as page:
            SHOTS[name](page)
            png = page.screenshot()
        save(Image.open(io.BytesIO(png)), FIGURES / f"comfyui-{name}-{language}.png")


if __name__ == "__main__":
    sys.exit(main())
