"""The Chromium of this machine, driven by Playwright; used by tests and screenshots."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


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


@contextmanager
def open_chromium() -> Iterator["Browser"]:
    """A fresh headless browser; leaving ends it.

    Raises:
        FileNotFoundError: there is no Chromium on this machine.
    """
    from playwright.sync_api import sync_playwright

    chromium = find_chromium()
    if chromium is None:
        raise FileNotFoundError(f"none of {', '.join(PROGRAMS)} is installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium)
        try:
            yield browser
        finally:
            browser.close()
