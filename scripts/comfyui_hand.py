"""A hand on ComfyUI's page: mouse and keyboard, and where on the screen the things are that it reaches for."""

import time
from dataclasses import dataclass
from typing import Literal

from playwright.sync_api import Page

Spot = tuple[float, float]  # pixels of the page, from its upper left corner
Box = tuple[float, float, float, float]  # left, top, right, bottom

# Where a part of a node is: of the last one of its type, for a graph may have several.
WHERE = """([kind, part, name, across]) => {
    const node = app.graph.nodes.findLast(node => node.type == kind)
    const [left, top, width, height] = [...node.pos, ...node.size]
    const of = entries => {
        const found = entries.findIndex(entry => entry.name == name)
        if (found < 0) throw new Error(`${kind} has no ${part} ${name}, but ${entries.map(entry => entry.name)}`)
        return found
    }
    const points = {
        title: () => [[left + 90, top - 15]],
        input: () => [node.getInputPos(of(node.inputs))],
        output: () => [node.getOutputPos(of(node.outputs))],
        field: () => [[left + across * width, top + node.widgets[of(node.widgets)].y + 10]],
        picture: () => [[left + across * width, top + height - 140]],
        all: () => [[left, top - 30], [left + width, top + height]],
    }
    const {scale, offset} = app.canvas.ds
    const page = app.canvas.canvas.getBoundingClientRect()
    return points[part]().map(([x, y]) => [page.x + scale * (x + offset[0]), page.y + scale * (y + offset[1])])
}"""
# The view is moved and scaled as the wheel and a pull at the background would, only exactly.
LOOK = """([kind, x, y, scale]) => {
    const node = app.graph.nodes.find(node => node.type == kind)
    const page = app.canvas.canvas.getBoundingClientRect()
    app.canvas.ds.scale = scale
    app.canvas.ds.offset = [(x - page.x) / scale - node.pos[0], (y - page.y) / scale - node.pos[1] + 30]
    app.canvas.setDirty(true, true)
}"""


@dataclass(frozen=True)
class Hand:
    """What a person does with a page, and nothing that a person could not do."""

    page: Page

    def at(self, selector: str, across: float = 0.5) -> Spot:
        """A spot on an element of the page: at half its height, and as far `across` from its left."""
        box = self.page.locator(selector).first.bounding_box()
        assert box is not None, f"{selector} is not to be seen"
        return box["x"] + across * box["width"], box["y"] + box["height"] / 2

    def on(self, kind: str, part: str, name: str = "", across: float = 0.5) -> Spot:
        """A part of a node of type `kind`: its title, its picture, or the input, output or field called `name`.

        Args:
            across: how far across the node, for its picture and fields.
        """
        x, y = self.page.evaluate(WHERE, [kind, part, name, across])[0]
        return x, y

    def around(self, *kinds: str, margin: float = 16) -> Box:
        """A box around all nodes of these types."""
        corners = [self.page.evaluate(WHERE, [kind, "all", "", 0]) for kind in kinds]
        left, top = (min(first[axis] for first, _ in corners) for axis in (0, 1))
        right, bottom = (max(last[axis] for _, last in corners) for axis in (0, 1))
        return left - margin, top - margin, right + margin, bottom + margin

    def look(self, kind: str, spot: Spot, scale: float) -> None:
        """Move the view so that the node of type `kind` has its upper left corner at `spot`."""
        self.page.evaluate(LOOK, [kind, *spot, scale])
        self.rest()

    def click(self, spot: Spot, button: Literal["left", "right"] = "left") -> None:
        self.page.mouse.click(*spot, button=button)
        self.rest()

    def double_click(self, spot: Spot) -> None:
        self.page.mouse.move(*spot)
        self.rest(0.3)  # the page must know first what lies there
        self.page.mouse.dblclick(*spot, delay=40)
        self.rest()

    def pull(self, start: Spot, end: Spot) -> None:
        """Press at `start` and move to `end`, without letting go."""
        self.page.mouse.move(*start)
        self.rest(0.2)
        self.page.mouse.down()
        self.page.mouse.move(*end, steps=12)
        self.rest(0.2)

    def let_go(self) -> None:
        self.page.mouse.up()
        self.rest()

    def drag(self, start: Spot, end: Spot) -> None:
        self.pull(start, end)
        self.let_go()

    def press(self, key: str) -> None:
        self.page.keyboard.press(key)
        self.rest()

    def write(self, text: str) -> None:
        self.page.keyboard.type(text)
        self.rest(1.2)  # the page searches while one types

    def rest(self, seconds: float = 0.6) -> None:
        time.sleep(seconds)
