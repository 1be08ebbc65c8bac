"""ComfyUI's page in a headless Chromium, ready to be used."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kolors_course.comfyui.client import ComfyClient

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

READY = "!!(window.app?.graph && window.app?.extensionManager?.workflow?.activeWorkflow)"
RUN_BUTTON = "[data-testid=queue-button] button, button[data-testid=queue-button]"
FILE_INPUT = "#comfy-file-input"
PATIENCE = 60_000  # milliseconds that anything on the page may take
SETTINGS = {
    "Comfy.Minimap.Visible": False,
    "Comfy.Graph.CanvasInfo": False,
    "LiteGraph.Canvas.MinFontSizeForLOD": 0,  # small text is drawn, too
}
# The page greets newcomers with dialogs that would lie over everything.
SILENCE = """
    localStorage.setItem("vueNodesBannerDismissed", "true");
    localStorage.setItem("comfy.vueNodesMigration.dismissed", "true");
"""


@contextmanager
def open_comfyui(
    browser: "Browser",
    client: ComfyClient,
    language: str = "en",
    width: int = 1280,
    height: int = 720,
    first_visit: bool = False,
) -> Iterator["Page"]:
    """The page of a server, in English ("en") or Chinese ("zh"); with its greetings if `first_visit`."""
    greeting = {"Comfy.TutorialCompleted": not first_visit}
    client.post("/api/settings", {**SETTINGS, **greeting, "Comfy.Locale": language})
    with browser.new_context(viewport={"width": width, "height": height}) as context:
        context.set_default_timeout(PATIENCE)
        if not first_visit:
            context.add_init_script(SILENCE)
        page = context.new_page()
        page.goto(client.url)
        page.wait_for_function(READY)
        yield page
