"""Look for the seeds of the stories: of a few for each panel, which picture shows what its scene says, and how well.

    python scripts/build_storybook.py            # all stories of the book
    python scripts/build_storybook.py little_ghost --seeds 16
    python scripts/build_storybook.py --pages    # draw the pages of the book, for the README

For each panel it prints the seed whose picture has the most facts right, as the probe sees it, and of those the one
whose subjects are most like their true drawings; and how the seed that the storyboard states does. A sheet of all
pictures, panels from top to bottom and seeds from left to right, is for looking: the last word has who looks. Some
minutes.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from diffusers.utils import make_image_grid
from PIL import Image

from kolors_course.art import Scene
from kolors_course.errors import CourseError
from kolors_course.evaluation import agreement, load_probe, look, shape_fidelity
from kolors_course.files import atomic_path, ensure_folder
from kolors_course.kolors import current_profile, generate, load_profile
from kolors_course.lora import load_lora, unload_lora
from kolors_course.platform.device import limit_threads
from kolors_course.platform.paths import REPOSITORY, data_dir, outputs_dir
from kolors_course.story import draw_story, read_storyboard, story_sheets

PAGE = 900  # pixels
BOOK = {"hare_and_tortoise": "ink", "little_ghost": "pixel"}  # story -> the style of its LoRA


def merits(pictures: Sequence[Image.Image], scene: Scene, style: str) -> list[tuple[float, float]]:
    """Of each picture: the share of facts that the probe finds right, and the mean shape fidelity of its subjects."""
    probe = load_probe(data_dir() / "probes" / "probe.safetensors")
    found = []
    for picture, verdict in zip(pictures, look(probe, pictures), strict=True):
        facts = agreement(scene, verdict).values()
        found.append((fmean(facts), fmean(match.value for match in shape_fidelity(picture, scene, style))))
    return found


def search(name: str, style: str, seeds: Sequence[int], folder: Path) -> None:
    """Draw a story with every seed, say what was found, and write the sheet."""
    model = load_profile(current_profile("mini"), "cpu")
    load_lora(model.unet, data_dir() / "loras" / f"{style}.safetensors")
    story, cells = read_storyboard(data_dir() / "stories" / f"{name}.yaml"), []
    for number, panel in enumerate(story.panels):
        every = list(dict.fromkeys([*seeds, panel.seed]))
        pictures = generate(model, [panel.prompt] * len(every), every)
        cells += pictures[: len(seeds)]
        if panel.scene is None:
            raise CourseError(f"{name} panel {number + 1} has no scene, so that nothing can be measured")
        found = dict(zip(every, merits(pictures, panel.scene, style), strict=True))
        best = max(seeds, key=lambda seed: found[seed])
        told = (
            f"{seed}: facts {found[seed][0]:.0%}, fidelity {found[seed][1]:.2f}"
            for seed in (best, panel.seed)
        )
        print(f"{name} {number + 1}: best seed {' · stated '.join(told)}", flush=True)
    unload_lora(model.unet)
    with atomic_path(ensure_folder(folder) / f"{name}.png") as path:
        make_image_grid(cells, len(story.panels), len(seeds)).save(path)


def draw_page(name: str, style: str) -> None:
    """A story as a comic page, for the README."""
    model = load_profile(current_profile("mini"), "cpu")
    load_lora(model.unet, data_dir() / "loras" / f"{style}.safetensors")
    story = read_storyboard(data_dir() / "stories" / f"{name}.yaml")
    (page,) = story_sheets("comic", story, draw_story(model, story), None, f"{style}.safetensors × 1")
    page = page.resize((PAGE, round(page.height * PAGE / page.width)), Image.Resampling.LANCZOS)
    with atomic_path(REPOSITORY / "docs" / "figures" / f"storybook-{name}.webp") as path:
        page.save(path, quality=88)
    print(f"{name}: {page.width}x{page.height}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stories", nargs="*", metavar="STORY", help=f"of {', '.join(BOOK)} (default: all)")
    parser.add_argument("--seeds", type=int, default=8, help="how many, from 0 on (default %(default)s)")
    parser.add_argument("--pages", action="store_true", help="draw the pages instead of looking for seeds")
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.stories) - set(BOOK)):
        parser.error(f"there is no story {unknown[0]}; choose of {', '.join(BOOK)}")
    limit_threads()
    for chosen in arguments.stories or BOOK:
        if arguments.pages:
            draw_page(chosen, BOOK[chosen])
        else:
            search(chosen, BOOK[chosen], range(arguments.seeds), outputs_dir() / "storybook")
