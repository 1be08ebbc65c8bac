"""The picture-book world at a glance: every place at every time, and every style."""

from PIL import Image

from kolors_course.art import PLACES, STYLE_ZH, STYLES, TIMELESS, TIMES, Scene, caption, find_subject, render
from kolors_course.art.captions import LABEL_PLACE_EN, LABEL_PLACE_ZH, TIME_ZH
from kolors_course.viz.figures import picture_grid, stack

PLACES_IN_A_ROW = 5


def _scene(
    seed: int, place: str, time: str, *names: str, size: str = "normal", position: str = "middle"
) -> Scene:
    return Scene(tuple(find_subject(name) for name in names), place, time, size, position, seed)


def world_scenes() -> tuple[Scene, ...]:
    """One scene for each place and time, in the order of `PLACES` and `TIMES`."""
    return (
        _scene(106, "meadow", "day", "sheep", "butterfly"),
        _scene(2, "meadow", "night", "hedgehog"),
        _scene(102, "meadow", "dusk", "horse", size="big"),
        _scene(4, "snow", "day", "penguin", "snowman"),
        _scene(5, "snow", "night", "rabbit"),
        _scene(101, "snow", "dusk", "fox", position="right"),
        _scene(100, "desert", "day", "camel", size="big"),
        _scene(8, "desert", "night", "snake", position="left"),
        _scene(9, "desert", "dusk", "dinosaur", "palm tree"),
        _scene(10, "beach", "day", "crab", "umbrella"),
        _scene(11, "beach", "night", "turtle"),
        _scene(107, "beach", "dusk", "flamingo", size="big"),
        _scene(13, "sea", "day", "dolphin", "duck"),
        _scene(14, "sea", "night", "whale", size="big"),
        _scene(15, "sea", "dusk", "sailboat"),
        _scene(16, "city", "day", "bus", "bicycle"),
        _scene(17, "city", "night", "fire truck", size="big"),
        _scene(18, "city", "dusk", "airplane", position="right"),
        _scene(19, "forest", "day", "squirrel", "mushroom"),
        _scene(20, "forest", "night", "owl"),
        _scene(102, "forest", "dusk", "deer", position="left"),
        _scene(22, "mountain", "day", "cow", size="big"),
        _scene(23, "mountain", "night", "tent", "bear"),
        _scene(106, "mountain", "dusk", "train"),
        _scene(25, "space", TIMELESS, "rocket", "UFO"),
        _scene(26, "room", "day", "cat", "teddy bear"),
        _scene(101, "room", "night", "ghost", size="small", position="right"),
        _scene(28, "room", "dusk", "birthday cake", "gift box"),
    )


def styled_scenes() -> tuple[Scene, ...]:
    """Ten scenes, one for each place, that look well in every style."""
    return (
        _scene(5, "snow", "night", "rabbit"),
        _scene(106, "meadow", "day", "sheep", "butterfly"),
        _scene(16, "city", "night", "bus"),
        _scene(15, "sea", "dusk", "sailboat"),
        _scene(25, "space", TIMELESS, "rocket"),
        _scene(26, "room", "day", "cat", "teddy bear"),
        _scene(102, "forest", "dusk", "deer"),
        _scene(100, "desert", "day", "camel", size="big"),
        _scene(105, "beach", "dusk", "crab", position="left"),
        _scene(105, "mountain", "day", "house", "tree"),
    )


def world_figure(px: int = 128) -> Image.Image:
    """All ten places (columns) at their times of day (rows), in the base look; each cell is px x px."""
    pictures = {(scene.place, scene.time): render(scene, px) for scene in world_scenes()}
    sheets = []
    for start in range(0, len(PLACES), PLACES_IN_A_ROW):
        places = PLACES[start : start + PLACES_IN_A_ROW]
        # Outer space has no time of day: its one picture stands in the first row.
        cells = [
            pictures.get((place, time)) or (pictures[place, TIMELESS] if time == TIMES[0] else None)
            for time in TIMES
            for place in places
        ]
        hours = [f"{TIME_ZH[time][0]}\n{time}" for time in TIMES]
        names = [_place_name(place) for place in places]
        sheets.append(picture_grid(cells, len(places), row_labels=hours, column_labels=names))
    return stack(sheets)


def _place_name(place: str) -> str:
    chinese, english = LABEL_PLACE_ZH[place], LABEL_PLACE_EN.get(place, place)
    return f"{chinese}（不分昼夜）\n{english} ({TIMELESS})" if place == "space" else f"{chinese}\n{english}"


def style_figure(px: int = 128) -> Image.Image:
    """Ten scenes (columns) in the base look and in the seven styles (rows); each cell is px x px."""
    scenes = styled_scenes()
    pictures = [render(scene, px, style) for style in STYLES for scene in scenes]
    looks = [f"{STYLE_ZH[style]}\n{style}" for style in STYLES]
    titles = [_title(scene) for scene in scenes]
    return picture_grid(pictures, len(scenes), row_labels=looks, column_labels=titles)


def _title(scene: Scene) -> str:
    """The scene's label in both languages: who on one line, where and when on the next."""
    chinese, english = caption(scene, "zh", "label"), caption(scene, "en", "label")
    return "\n".join((*chinese.split("，", 1), *english.split(", ", 1)))
