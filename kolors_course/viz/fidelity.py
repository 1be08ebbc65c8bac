"""The worst drawn subjects beside what they should be."""

from PIL import Image, ImageDraw

from kolors_course.art import render
from kolors_course.evaluation.likeness import Fidelity, Likeness
from kolors_course.viz.figures import picture_grid, stack

COLUMNS = 8
FRAME = (214, 40, 40)


def worst_sheet(fidelity: Fidelity, count: int = 24) -> Image.Image:
    """The `count` worst drawn subjects, each in its worst picture: as drawn, after the VAE alone, and as it is.

    The red frame is where the true drawing matches best.
    """
    worst = fidelity.worst(count)
    return stack([_rows(fidelity, worst[start : start + COLUMNS]) for start in range(0, len(worst), COLUMNS)])


def _rows(fidelity: Fidelity, places: list[tuple[int, int]]) -> Image.Image:
    drawn = [_framed(fidelity.drawn[i], place) for i, place in places]
    side = drawn[0].width
    vae = [fidelity.vae[i].picture for i, _ in places]
    true = [render(fidelity.prompts[i].scene, side, fidelity.style) for i, _ in places]
    missing = [None] * (COLUMNS - len(places))
    labels = [_label(fidelity, i, place) for i, place in places] + [""] * len(missing)
    return picture_grid(
        [*drawn, *missing, *vae, *missing, *true, *missing],
        COLUMNS,
        row_labels=("model\n模型", "VAE alone\n仅 VAE", "world\n真图"),
        column_labels=labels,
    )


def _framed(likeness: Likeness, place: int) -> Image.Image:
    picture = likeness.picture.convert("RGB")
    left, top, width, height = (round(part * picture.width) for part in likeness.matches[place].box)
    thick = max(1, picture.width // 128)
    ImageDraw.Draw(picture).rectangle(
        (left, top, left + width - 1, top + height - 1), outline=FRAME, width=thick
    )
    return picture


def _label(fidelity: Fidelity, i: int, place: int) -> str:
    subject = fidelity.prompts[i].scene.subjects[place]
    model, vae = (kind[i].matches[place].value for kind in (fidelity.drawn, fidelity.vae))
    return f"{subject.zh} {subject.en}\n{model:.2f} (VAE {vae:.2f})"
