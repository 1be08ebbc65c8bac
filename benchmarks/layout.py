"""Can one say where a subject stands? Words against regional prompts.

    python benchmarks/layout.py --parts 1    # one more part; again until all are there

Subjects of normal size, each of which the world draws in one way, so that where it stands can be found: at the best
match of its drawing anywhere in the picture (`evaluation.fidelity.best_match`). A box is that of the drawing, put
where it is asked for; a picture is right if the middle of what was found lies in it.

* sides: left, middle and right in turn, at the height where the world puts it. Words can ask for these.
* corners: the four quarters in turn. No caption of the world says such a thing.
* pairs: two subjects, the first named on the left.

Asked for by: the prompt without a place ("nothing"), the words of a caption ("words"), a region beside the prompt of
the whole picture ("region"), and a region beside a prompt that names only the surroundings ("region alone").
"world" is the same for pictures that the world draws, which shows what the measurement itself can do.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from kolors_course.art import TIMELESS, Cutout, Scene, caption, cutouts, draw_scene, render
from kolors_course.art.captions import PLACE_EN, TIME_EN, with_article
from kolors_course.evaluation import Probe, load_probe
from kolors_course.evaluation.fidelity import SIDE, best_match
from kolors_course.evaluation.intervals import mean_interval, wilson
from kolors_course.evaluation.probes import agreement, look
from kolors_course.files import atomic_path
from kolors_course.kolors import KolorsModel, Region, current_profile, generate, load_profile
from kolors_course.platform.device import limit_threads
from kolors_course.platform.paths import data_dir
from kolors_course.platform.provenance import provenance

SIDES = ("left", "middle", "right")
CORNERS = {
    "top left": (0.3, 0.3),
    "top right": (0.7, 0.3),
    "bottom left": (0.3, 0.7),
    "bottom right": (0.7, 0.7),
}
PARTS = {
    "sides": ("world", "nothing", "words", "region", "region alone"),
    "corners": ("words", "region", "region alone"),
    "pairs": ("world", "words", "region", "region alone"),
}
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Task:
    """A scene, the drawings that are looked for, and the boxes asked for: left, top, right, bottom."""

    scene: Scene
    drawings: tuple[Cutout, ...]
    boxes: tuple[Box, ...]


def box_of(cutout: Cutout) -> Box:
    height, width = cutout.alpha.shape
    left, top, right, bottom = cutout.left, cutout.top, cutout.left + width, cutout.top + height
    return left / SIDE, top / SIDE, right / SIDE, bottom / SIDE


def moved(box: Box, middle: tuple[float, float]) -> Box:
    """A box of the same size around another middle, kept inside the picture."""
    width, height = box[2] - box[0], box[3] - box[1]
    left = min(max(middle[0] - width / 2, 0), 1 - width)
    top = min(max(middle[1] - height / 2, 0), 1 - height)
    return left, top, left + width, top + height


def tasks(part: str, count: int, seed: int = 7) -> Iterator[Task]:
    rng = np.random.default_rng(seed)
    for i in range(count):
        while True:
            scene = draw_scene(rng)
            if (len(scene.subjects) == 2) == (part == "pairs"):
                break
        if part == "pairs":
            drawings = cutouts(scene)
            yield Task(scene, drawings, tuple(map(box_of, drawings)))
            continue
        side = SIDES[i % 3] if part == "sides" else list(CORNERS)[i % 4].split()[1]
        scene = replace(scene, size="normal", position=side)
        (drawing,) = cutouts(scene)
        box = box_of(drawing)
        if part == "corners":
            box = moved(box, CORNERS[list(CORNERS)[i % 4]])
        yield Task(scene, (drawing,), (box,))


def surroundings(scene: Scene) -> str:
    """The place and the time alone, as a prompt."""
    time = "" if scene.time == TIMELESS else f" {TIME_EN[scene.time][0]}"
    return f"a picture {PLACE_EN[scene.place][0]}{time}"


def prompt_of(task: Task, way: str) -> tuple[str, list[Region]]:
    """What the model is asked."""
    scene = task.scene
    named = [with_article(subject.en) for subject in scene.subjects]
    regions = [Region(name, box) for name, box in zip(named, task.boxes, strict=True)]
    if way == "region alone":
        return surroundings(scene), regions
    if way == "words":
        return caption(scene, "en", "detailed"), []
    pair = len(scene.subjects) == 2
    text = caption(scene if pair else replace(scene, position="middle"), "en", "sentence")
    return text, regions if way == "region" else []


def overlap(box: Box, other: Box) -> float:
    """Intersection over union."""
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    common = max(width, 0) * max(height, 0)
    areas = ((b[2] - b[0]) * (b[3] - b[1]) for b in (box, other))
    return common / (sum(areas) - common)


def found(picture: Image.Image, task: Task) -> list[tuple[bool, float]]:
    """Of each subject: whether its middle lies in the box asked for, and the overlap with it."""
    results = []
    for drawing, box in zip(task.drawings, task.boxes, strict=True):
        left, top, width, height = best_match(picture, drawing, anywhere=True).box
        x, y = left + width / 2, top + height / 2
        inside = box[0] <= x <= box[2] and box[1] <= y <= box[3]
        results.append((inside, overlap((left, top, left + width, top + height), box)))
    return results


def measure(
    model: KolorsModel, probe: Probe, part: str, way: str, count: int
) -> tuple[dict, list[Image.Image]]:
    """The row of one way of asking."""
    asked = list(tasks(part, count))
    if way == "world":
        pictures = [render(task.scene, SIDE) for task in asked]
    else:
        prompts, regions = zip(*(prompt_of(task, way) for task in asked), strict=True)
        seeds = range(30_000, 30_000 + count)
        sampling = replace(model.sampling, batch_size=8)
        pictures = generate(model, prompts, seeds, sampling, regions=regions)
    results = [found(picture, task) for picture, task in zip(pictures, asked, strict=True)]
    named = [agreement(t.scene, v)["subject"] for t, v in zip(asked, look(probe, pictures), strict=True)]
    row = {
        "centre in box": asdict(wilson(sum(all(hit for hit, _ in each) for each in results), count)),
        "IoU": asdict(mean_interval([iou for each in results for _, iou in each])),
        "subject": asdict(wilson(sum(named), count)),
    }
    return row, list(pictures)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=36, help="pictures of each row (default %(default)s)")
    parser.add_argument("--parts", type=int, help="at most so many rows that are missing; default all")
    parser.add_argument("--again", action="store_true", help="measure what is there anew")
    parser.add_argument("--output", type=Path, default=data_dir() / "lessons" / "07" / "layout.json")
    chosen = parser.parse_args(arguments)
    limit_threads()
    rows: dict[str, dict[str, dict]] = {}
    if chosen.output.is_file() and not chosen.again:
        rows = json.loads(chosen.output.read_text(encoding="utf-8"))["parts"]
    missing = [(part, way) for part, ways in PARTS.items() for way in ways if way not in rows.get(part, {})]
    model, probe = (
        load_profile(current_profile("mini")),
        load_probe(data_dir() / "probes" / "probe.safetensors"),
    )
    facts = {
        "command": f"python benchmarks/layout.py --count {chosen.count}",
        **provenance(torch.device("cpu")),
    }
    for part, way in missing[: chosen.parts]:
        row, _ = measure(model, probe, part, way, chosen.count)
        rows.setdefault(part, {})[way] = row
        with atomic_path(chosen.output) as path:
            path.write_text(json.dumps({**facts, "parts": rows}, indent=1) + "\n", encoding="utf-8")
        print(part, way, {name: round(value["value"], 3) for name, value in row.items()}, flush=True)


if __name__ == "__main__":
    main()
