"""ComfyUI's page in a headless Chromium, past its greetings and ready to be used."""

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
# The page greets newcomers with dialogs that would lie over everything.
SETTINGS = {
    "Comfy.TutorialCompleted": True,
    "Comfy.Minimap.Visible": False,
    "LiteGraph.Canvas.MinFontSizeForLOD": 0,  # small text is drawn, too
}
SILENCE = """
    localStorage.setItem("vueNodesBannerDismissed", "true");
    localStorage.setItem("comfy.vueNodesMigration.dismissed", "true");
"""


@contextmanager
def open_comfyui(
    browser: "Browser", client: ComfyClient, language: str = "en", width: int = 1280, height: int = 720
) -> Iterator["Page"]:
    """The page of a server, in English ("en") or Chinese ("zh")."""
    client.post("/api/settings", {**SETTINGS, "Comfy.Locale": language})
    with browser.new_context(viewport={"width": width, "height": height}) as context:
        context.set_default_timeout(PATIENCE)
        context.add_init_script(SILENCE)
        page = context.new_page()
        page.goto(client.url)
        page.wait_for_function(READY)
        yield page
