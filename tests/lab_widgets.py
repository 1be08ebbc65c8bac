"""The widgets and films of a notebook that has run, each of their controls used twice, as by a person."""

from lab import PATIENCE, Lesson
from playwright.sync_api import Locator, expect

expect.set_options(timeout=PATIENCE)

ERRORS = "[data-mime-type='application/vnd.jupyter.error'], [data-mime-type='application/vnd.jupyter.stderr']"
LIVE = ".widget-hprogress"  # what draws beside the page: that the kernel has answered does not say that it has drawn
PROMPTS = ("a cat in the snow at night", "a fox on the beach at sunset")


def _choose(control: Locator, turn: int) -> None:
    number, count = control.evaluate("node => [node.selectedIndex, node.options.length]")
    control.select_option(index=(number + 1) % count)


def _slide(control: Locator, turn: int) -> None:
    at_end = control.get_attribute("aria-valuenow") == control.get_attribute("aria-valuemax")
    control.press("ArrowLeft" if at_end else "ArrowRight")


def _count(control: Locator, turn: int) -> None:
    control.press("ArrowUp")


def _write(control: Locator, turn: int) -> None:
    control.fill(PROMPTS[turn])


def _press(control: Locator, turn: int) -> None:
    control.click()


CONTROLS = {
    "select": _choose,
    ".noUi-handle": _slide,
    "input[type=number]": _count,
    "textarea": _write,
    "button.jupyter-button": _press,
}


def widgets(lesson: Lesson) -> dict[int, Locator]:
    """The outputs that hold a widget with controls, by the number of their code cell."""
    anything = ", ".join(f".jupyter-widgets {control}" for control in CONTROLS)
    return {n: output for n, output in enumerate(lesson.outputs()) if output.locator(anything).count()}


def films(lesson: Lesson) -> list[Locator]:
    return lesson.page.locator(".jp-Notebook .film").all()


def use_widget(lesson: Lesson, widget: Locator) -> None:
    """Each control twice; the picture is always there, one, and not always the same."""
    pictures = widget.locator("img")
    expect(pictures).to_have_count(1)
    seen = {pictures.get_attribute("src")}
    for kind, use in CONTROLS.items():
        for control in widget.locator(f".jupyter-widgets {kind}").all():
            for turn in range(2):
                before = pictures.get_attribute("src")
                use(control, turn)
                lesson.settle()
                if widget.locator(LIVE).count():
                    expect(pictures).not_to_have_attribute("src", before)
                expect(widget).not_to_contain_text("drawing")
                expect(widget.locator(f"{ERRORS}, .progress-bar-danger")).to_have_count(0)
                expect(pictures).to_have_count(1)
                assert pictures.evaluate("image => image.decode().then(() => image.naturalWidth)"), control
                seen.add(pictures.get_attribute("src"))
    assert len(seen) > 1, f"whatever its controls say, it shows the same: {widget.inner_text()}"


def use_film(film: Locator) -> None:
    """Play and stop, then drag to both ends."""
    picture, button, slider = (film.locator(part) for part in ("img", "button", "input"))
    last = picture.get_attribute("src")
    button.click()
    expect(picture).not_to_have_attribute("src", last)
    button.click()
    slider.press("End")
    expect(picture).to_have_attribute("src", last)
    slider.press("Home")
    expect(picture).not_to_have_attribute("src", last)
