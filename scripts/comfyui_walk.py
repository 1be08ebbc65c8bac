"""The camp's task on ComfyUI's page, step by step as notebook 12 tells it, done with mouse and keyboard.

`walk` does the steps, and stops where the notebook shows a picture: what of the page it shows, and which spots on it
have numbers. So the steps are tried out whenever the pictures are taken, and by tests/test_comfyui_page.py.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from comfyui_hand import Box, Hand, Spot
from comfyui_page import FILE_INPUT, RUN_BUTTON

from kolors_course.comfyui.camp import import_camp
from kolors_course.comfyui.graph import ApiGraph, read_workflow
from kolors_course.comfyui.schema import NodeSchema
from kolors_course.platform.paths import data_dir

LOADER, LORA, PROMPT, SAMPLER, SAVER, PREVIEWER = (
    "KolorsCourseLoadModel",
    "KolorsCourseLoadLora",
    "KolorsCoursePrompt",
    "KolorsCourseSampler",
    "SaveImage",
    "PreviewImage",
)
WIDTH, HEIGHT = 1060, 740  # of the page, pixels
MENU, NEW_PAGE = ".comfyui-logo", "button:has(.pi-plus)"
BROWSE, PACK = ".p-tieredmenu-item >> nth=6", "text=kolors_course"
TEMPLATE = "[data-testid=template-workflow-mini-text-to-image]"
CLOSE_TEMPLATES, CLOSE_BANNER = "button.absolute:has(.pi-times)", "button:has([class*=lucide--x])"
SEARCH, FOUND = ".p-autocomplete input", ".p-autocomplete-option"
SAVE_PICTURE, NUMBER = ".litemenu-entry >> nth=2", ".graphdialog input"
DIALOG, CLOSE = "[role=dialog]", "[role=dialog] .p-dialog-close-button"
FILE_NAME, CONFIRM = (
    "[role=dialog] input",
    "[role=dialog] button.w-full, [role=dialog] .p-dialog-content button",
)
FREE = (140, 600)  # a spot of the page where no node is
DRAWING = 60_000  # milliseconds
TEXT = "夜晚雪地上的一只猫"
STRENGTH = 0.5
SAVED_AS = "my-first-lora"


@dataclass(frozen=True)
class Stop:
    """A picture of the notebook: what of the page it shows, and the spots that get the numbers 1, 2, …"""

    name: str
    box: Box
    spots: tuple[Spot, ...] = ()


def walk(hand: Hand) -> Iterator[Stop]:
    """All steps, from a page that is opened for the first time."""
    yield from open_page(hand)
    yield from first_nodes(hand)
    yield from load_workflow(hand)
    yield from draw(hand)
    yield from add_lora(hand)
    yield from draw_with_lora(hand)
    yield from save(hand)


def open_page(hand: Hand) -> Iterator[Stop]:
    hand.page.wait_for_selector(CLOSE_TEMPLATES)
    hand.rest(2)
    yield Stop("greeting", (0, 0, WIDTH, 480), (hand.at(CLOSE_TEMPLATES), hand.at(CLOSE_BANNER)))
    hand.click(hand.at(CLOSE_TEMPLATES))
    hand.click(hand.at(CLOSE_BANNER))
    hand.click(hand.at(NEW_PAGE))
    hand.click(FREE)
    yield Stop("empty", (0, 0, WIDTH, 480), (hand.at(NEW_PAGE), hand.at(MENU), hand.at(RUN_BUTTON, 0.9)))


def first_nodes(hand: Hand) -> Iterator[Stop]:
    """Search, add, drag and wire, on an empty page."""
    search(hand, LOADER, (200, 250))
    yield Stop("search", (60, 110, WIDTH, 480), (hand.at(SEARCH, 0.3), hand.at(FOUND, 0.3)))
    hand.press("Enter")
    hand.click(FREE)
    add_node(hand, PROMPT, (300, 400))
    hand.look(LOADER, (110, 130), 1)
    start = hand.on(PROMPT, "title")
    end = (start[0] + 330, start[1] - 100)
    hand.drag(start, end)
    yield Stop("drag", (70, 90, 980, 460), (start, end))
    hand.click(FREE)
    output, entry = hand.on(LOADER, "output", "model"), hand.on(PROMPT, "input", "model")
    hand.pull(output, (entry[0] - 40, entry[1] + 14))
    yield Stop("wire", (70, 90, 980, 460), (output, entry))
    hand.page.mouse.move(*entry)
    hand.let_go()


def load_workflow(hand: Hand) -> Iterator[Stop]:
    hand.click(hand.at(MENU))
    hand.page.wait_for_selector(BROWSE)
    hand.rest()
    yield Stop("menu", (0, 0, 460, 480), (hand.at(MENU), hand.at(BROWSE, 0.92)))
    hand.click(hand.at(BROWSE))
    hand.page.wait_for_selector(PACK)
    hand.click(hand.at(PACK))
    hand.page.locator(TEMPLATE).scroll_into_view_if_needed()
    hand.rest(1)
    yield Stop("templates", (40, 20, WIDTH - 40, 660), (hand.at(PACK, 1.1), hand.at(TEMPLATE)))
    hand.click(hand.at(TEMPLATE))
    hand.page.wait_for_function("app.graph.nodes.some(node => node.type == 'KolorsCourseSampler')")
    hand.rest(2)


def draw(hand: Hand) -> Iterator[Stop]:
    hand.look(LOADER, (90, 130), 1.2)
    yield Stop("prompt", hand.around(LOADER, PROMPT, margin=24), (write_prompt(hand),))
    hand.look(SAMPLER, (90, 190), 0.85)
    run(hand)
    yield Stop(
        "run", (60, 40, WIDTH, 640), (hand.at(RUN_BUTTON, 0.9), hand.on(SAVER, "picture", across=0.62))
    )


def add_lora(hand: Hand) -> Iterator[Stop]:
    hand.look(LOADER, (76, 130), 0.85)
    start = hand.on(PROMPT, "title")
    hand.drag(start, (start[0], start[1] + 285))
    hand.click(FREE)
    add_node(hand, LORA, (399, 220))  # on free ground: a double click on a wire does nothing
    output, entry = hand.on(LOADER, "output", "model"), hand.on(LORA, "input", "model")
    styled, sampler = hand.on(LORA, "output", "model"), hand.on(SAMPLER, "input", "model")
    road = hand.around(LOADER, PROMPT, SAMPLER, margin=22)
    yield Stop("lora-node", road, (output, entry, styled, sampler))
    hand.drag(output, entry)
    hand.click(FREE)
    yield Stop("beside", road, (sampler,))
    hand.drag(styled, sampler)
    hand.click(FREE)
    fields = [hand.on(LORA, "field", name, 0.05) for name in ("lora_name", "strength")]
    yield Stop("lora-wired", road, tuple(fields))
    yield from forget_a_wire(hand, output, entry)


def forget_a_wire(hand: Hand, output: Spot, entry: Spot) -> Iterator[Stop]:
    """What Run says where a wire is missing."""
    hand.drag(entry, (entry[0] - 30, entry[1] + 120))  # pulled off, and dropped where nothing is
    hand.press("Escape")
    hand.click(hand.at(RUN_BUTTON))
    hand.page.wait_for_selector(DIALOG)
    hand.rest(1)
    hand.click(hand.at(CLOSE))
    hand.click(FREE)
    yield Stop("unwired", hand.around(LOADER, LORA, margin=22), (entry,))
    hand.drag(output, entry)


def draw_with_lora(hand: Hand) -> Iterator[Stop]:
    hand.look(LORA, (76, 220), 0.7)
    run(hand)
    yield Stop(
        "lora-run", (60, 40, WIDTH, 660), (hand.at(RUN_BUTTON, 0.9), hand.on(SAVER, "picture", across=0.62))
    )
    hand.look(LORA, (110, 130), 1)
    hand.click(hand.on(LORA, "field", "strength", 0.7))
    hand.write(str(STRENGTH))
    yield Stop("strength", (80, 90, 780, 400), (hand.on(LORA, "field", "strength", 0.3), hand.at(NUMBER)))
    hand.press("Enter")
    hand.look(LORA, (76, 220), 0.7)
    run(hand)


def save(hand: Hand) -> Iterator[Stop]:
    hand.press("Control+s")
    hand.press("Control+a")
    hand.write(SAVED_AS)
    yield Stop("save", (300, 240, 760, 500), (hand.at(FILE_NAME, 0.8), hand.at(CONFIRM, 0.8)))
    hand.press("Enter")
    hand.look(SAVER, (400, 130), 1)
    hand.click(hand.on(SAVER, "picture"), button="right")
    yield Stop("picture", (300, 90, WIDTH, 660), (hand.on(SAVER, "picture"), hand.at(SAVE_PICTURE)))
    hand.click(FREE)


def open_file(hand: Hand, file: Path) -> Iterator[Stop]:
    """Open and run the camp's translated workflow, given as the computer's own window for files gives it."""
    hand.page.set_input_files(FILE_INPUT, file)
    hand.page.wait_for_function("app.graph.nodes.length == 6")
    hand.click(FREE)
    hand.press(".")  # the whole graph
    hand.rest(1)
    write_prompt(hand)
    hand.click(FREE)
    run(hand, PREVIEWER)
    yield Stop("camp", (0, 40, WIDTH, 560), (hand.at(RUN_BUTTON, 0.9), hand.on(PREVIEWER, "picture")))


def camp_by_hand(schemas: dict[str, NodeSchema]) -> ApiGraph:
    """The camp's workflow in the course's nodes, as notebook 12 writes it, for Kolors-mini and its ink LoRA."""
    camp = read_workflow(data_dir() / "workflows" / "kolors_with_lora_example.json")
    return import_camp(camp, schemas, model_name="mini", lora="ink.safetensors").api


def name_of(hand: Hand, kind: str) -> str:
    """What the page calls a type of node, in its language."""
    return hand.page.evaluate("kind => LiteGraph.registered_node_types[kind].title", kind)


def search(hand: Hand, kind: str, spot: Spot) -> None:
    hand.double_click(spot)
    hand.page.wait_for_selector(SEARCH)
    hand.write(name_of(hand, kind))


def add_node(hand: Hand, kind: str, spot: Spot) -> None:
    search(hand, kind, spot)
    hand.press("Enter")
    hand.click(FREE)  # nothing is chosen any more


def write_prompt(hand: Hand) -> Spot:
    """Write another prompt; returns where the hand clicked."""
    x, y = hand.on(PROMPT, "field", "prompt", 0.7)
    spot = (x, y + 20)
    hand.click(spot)
    hand.press("Control+a")
    hand.write(TEXT)
    return spot


def run(hand: Hand, kind: str = SAVER) -> None:
    """Press Run and wait until the node of type `kind` shows a new picture, which it does while it can be seen."""
    picture = f"app.graph.nodes.find(node => node.type == '{kind}').imgs?.[0]"
    before = hand.page.evaluate(f"{picture}?.src ?? ''")
    hand.click(hand.at(RUN_BUTTON))
    new = f"{picture}?.complete && {picture}.src != {before!r}"
    hand.page.wait_for_function(new, timeout=DRAWING)
    hand.rest(1.5)
