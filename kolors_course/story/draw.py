"""Drawing a story with a model, and putting pictures, page and facts into a folder."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from kolors_course.art import Scene
from kolors_course.files import atomic_path, ensure_folder, json_text
from kolors_course.story.choices import LAYOUTS
from kolors_course.story.layouts import save_sheets
from kolors_course.story.storyboard import Storyboard

if TYPE_CHECKING:
    from kolors_course.diffusion import SamplerState
    from kolors_course.kolors import KolorsModel, Sampling


def draw_story(
    model: "KolorsModel",
    storyboard: Storyboard,
    sampling: "Sampling | None" = None,
    progress: Callable[[int], None] | None = None,
    watch: "Callable[[SamplerState], None] | None" = None,
) -> list[Image.Image]:
    """One picture for each panel, from its prompt, negative prompt and seed.

    Args:
        sampling: its negative prompt, if any, stands instead of the story's; a panel's own one wins. None for the
            model's own.
        progress: called with the number of panels finished so far.
        watch: see `kolors_course.kolors.generate`.

    Raises:
        CourseError: what `kolors_course.kolors.generate` refuses.
    """
    # Imported here: reading a storyboard and setting a page need not wait for torch to load.
    from kolors_course.kolors import generate

    prompts = [panel.prompt for panel in storyboard.panels]
    seeds = [panel.seed for panel in storyboard.panels]
    negatives = storyboard.negative_prompts(sampling.negative_prompt if sampling else "")
    return generate(model, prompts, seeds, sampling, progress, negatives=negatives, watch=watch)


def write_story(
    folder: str | Path,
    storyboard: Storyboard,
    panels: Sequence[Image.Image],
    base_panels: Sequence[Image.Image] | None,
    page: Image.Image | Sequence[Image.Image],
    sampling: "Sampling | None" = None,
    *,
    model: str = "",
    loras: Sequence[tuple[str | Path, float]] = (),
    scores: Mapping[str, object] | None = None,
    layout: str = "grid",
) -> Path:
    """Write `story.png` (`story.webp`, `story.pdf`, as the layout is), `panels/01.png`...,
    `base/01.png`... and, last of all, `story.json`.

    Each file appears complete or not at all. Numbered pictures of an earlier story in the same folder that
    this one does not overwrite are removed.

    Args:
        page: the page, or the sheets of `story_sheets`.
        model: the name of the model that drew the pictures.
        loras: the LoRAs of `panels`, each a file and its strength; only the file's name is written down.
        scores: anything JSON can hold, without NaN.

    Returns:
        The path of the page.

    Raises:
        CourseError: the folder cannot be written to.
        ValueError: the numbers of pictures and panels differ, or a score is not a finite number.
    """
    folder = ensure_folder(folder)
    facts = {
        "title_zh": storyboard.title_zh,
        "title_en": storyboard.title_en,
        "panels": _panel_facts(storyboard, panels, base_panels, sampling),
        "model": model,
        "loras": [{"file": Path(path).name, "strength": strength} for path, strength in loras],
        "sampling": asdict(sampling) if sampling else None,
        "scores": dict(scores or {}),
    }
    # Written to a string first: what JSON cannot hold is refused before any file is touched.
    text = json_text(facts, indent=2, allow_nan=False) + "\n"
    _write_pictures(folder / "panels", panels)
    _write_pictures(folder / "base", base_panels or ())
    written = folder / f"story{LAYOUTS[layout]}"
    save_sheets([page] if isinstance(page, Image.Image) else page, written)
    for suffix in set(LAYOUTS.values()) - {written.suffix}:  # of an earlier story
        (folder / f"story{suffix}").unlink(missing_ok=True)
    with atomic_path(folder / "story.json") as temporary:
        temporary.write_text(text, encoding="utf-8")
    return written


def _panel_facts(
    storyboard: Storyboard,
    panels: Sequence[Image.Image],
    base_panels: Sequence[Image.Image] | None,
    sampling: "Sampling | None",
) -> list[dict]:
    facts = []
    base = [False] * len(panels) if base_panels is None else base_panels
    negatives = storyboard.negative_prompts(sampling.negative_prompt if sampling else "")
    rows = zip(storyboard.panels, negatives, panels, base, strict=True)
    for number, (panel, negative, _, plain) in enumerate(rows, start=1):
        facts.append(
            {
                "prompt": panel.prompt,
                "negative": negative,
                "seed": panel.seed,
                "caption_zh": panel.caption_zh,
                "caption_en": panel.caption_en,
                "scene": _scene_facts(panel.scene) if panel.scene else None,
                "picture": f"panels/{_file_name(number)}",
                "base_picture": f"base/{_file_name(number)}" if plain else None,
            }
        )
    return facts


def _scene_facts(scene: Scene) -> dict:
    names = [subject.en for subject in scene.subjects]
    words = {key: getattr(scene, key) for key in ("place", "time", "size", "position")}
    return {"subjects": names, **words}


def _file_name(number: int) -> str:
    return f"{number:02d}.png"


def _write_pictures(folder: Path, pictures: Sequence[Image.Image]) -> None:
    written = set()
    for number, picture in enumerate(pictures, start=1):
        path = folder / _file_name(number)
        with atomic_path(path) as temporary:
            picture.save(temporary)
        written.add(path)
    for path in set(folder.glob("[0-9][0-9].png")) - written:
        path.unlink()
