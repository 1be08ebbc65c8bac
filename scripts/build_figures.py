"""Write the figures of the documentation: docs/figures/world.png and docs/figures/styles.png."""

from pathlib import Path

from PIL import Image

from kolors_course.files import atomic_path
from kolors_course.viz import style_figure, world_figure

FIGURES = Path(__file__).resolve().parents[1] / "docs" / "figures"


def save(picture: Image.Image, path: Path) -> None:
    # The lowest bit of a colour is invisible, but setting it everywhere makes the file a sixth smaller.
    picture = picture.point([value | 1 for value in range(256)] * 3)
    with atomic_path(path) as temporary:
        picture.save(temporary, optimize=True)
    print(f"{path.name}: {picture.width}x{picture.height}, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    save(world_figure(), FIGURES / "world.png")
    save(style_figure(), FIGURES / "styles.png")
