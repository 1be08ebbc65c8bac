"""Shape fidelity of pictures whose damage is known."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageFilter

from kolors_course.art import STYLES, Cutout, Scene, cutouts, find_subject, render
from kolors_course.errors import CourseError
from kolors_course.evaluation import HeldOutPrompt, Likeness, Match, measure_fidelity, shape_fidelity
from kolors_course.evaluation import likeness as likeness_module
from kolors_course.evaluation.fidelity import SIDE, best_match
from kolors_course.evaluation.likeness import Fidelity
from kolors_course.viz import worst_sheet

NAMES = ("penguin", "camel", "giraffe", "bicycle", "house", "strawberry", "robot", "flamingo")
SCENES = tuple(
    Scene((find_subject(name),), place, "day", seed=i)
    for i, name in enumerate(NAMES)
    for place in ("meadow", "snow")
)
PAIR = Scene((find_subject("cat"), find_subject("penguin")), "snow", "dusk", seed=3)


def fidelity(picture: Image.Image, scene: Scene, style: str = "colour") -> float:
    (match,) = shape_fidelity(picture, scene, style)
    return match.value


def mean(damage) -> float:
    """Of all scenes, after `damage` of scene and picture."""
    return float(np.mean([fidelity(damage(scene, render(scene)), scene) for scene in SCENES]))


def blurred(radius: float):
    return lambda scene, picture: picture.filter(ImageFilter.GaussianBlur(radius))


def without_half(scene: Scene, picture: Image.Image) -> Image.Image:
    """The right half of the subject is painted over with the colour beside it."""
    (cutout,) = cutouts(scene)
    pixels = np.array(picture)
    height, width = cutout.alpha.shape
    pixels[cutout.top : cutout.top + height, cutout.left + width // 2 : cutout.left + width] = pixels[
        cutout.top, cutout.left - 1
    ]
    return Image.fromarray(pixels)


def recoloured(scene: Scene, picture: Image.Image) -> Image.Image:
    """The subject's channels change places, the background does not."""
    (cutout,) = cutouts(scene)
    pixels = np.array(picture)
    height, width = cutout.alpha.shape
    box = pixels[cutout.top : cutout.top + height, cutout.left : cutout.left + width]
    box[cutout.alpha > 0.5] = box[cutout.alpha > 0.5][:, [1, 2, 0]]
    return Image.fromarray(pixels)


def swapped(scene: Scene, picture: Image.Image) -> Image.Image:
    other = NAMES[(NAMES.index(scene.subjects[0].en) + 1) % len(NAMES)]
    return render(replace(scene, subjects=(find_subject(other),)))


def moved(scene: Scene, picture: Image.Image) -> Image.Image:
    return Image.fromarray(np.roll(np.array(picture), (5, -4), axis=(0, 1)))


def elsewhere(scene: Scene, picture: Image.Image) -> Image.Image:
    """The same words at another place, drawn anew; by day, when nothing tints the subject."""
    return render(replace(scene, place="city" if scene.place == "snow" else "desert", seed=99))


@pytest.mark.parametrize("style", STYLES)
def test_the_world_itself_is_1_in_every_style(style):
    for scene in (SCENES[2], replace(SCENES[5], place="sea", size="small", position="right")):
        assert fidelity(render(scene, style=style), scene, style) == pytest.approx(1, abs=1e-5)


def test_place_and_background_do_not_count():
    assert mean(moved) > 0.995
    assert mean(elsewhere) > 0.98


def test_every_damage_counts_and_more_damage_more():
    blurs = [mean(blurred(radius)) for radius in (1, 2, 4)]
    assert 0.97 > blurs[0] > blurs[1] + 0.05 > blurs[2] + 0.15
    half, colours, swap = mean(without_half), mean(recoloured), mean(swapped)
    assert max(half, colours, swap) < 0.65 < 0.9 < blurs[0]
    assert swap < 0.4


def test_a_missing_subject_is_not_found_in_the_landscape():
    assert mean(lambda scene, picture: Image.new("RGB", picture.size, (120, 180, 90))) < 0.15
    empty = mean(lambda scene, picture: render(replace(scene, subjects=(find_subject("bee"),), size="small")))
    assert empty < 0.4


def test_a_mirrored_subject_is_a_wrong_one():
    scene = Scene((find_subject("rocket"),), "snow", "day", seed=1)
    mirrored = render(scene).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    assert fidelity(mirrored, scene) < 0.8


@pytest.mark.parametrize(("position", "size"), [("left", "big"), ("right", "big"), ("left", "small")])
def test_a_subject_at_the_border(position, size):
    scene = Scene((find_subject("whale"),), "beach", "night", size, position, seed=8)
    (match,) = shape_fidelity(render(scene), scene)
    (cutout,) = cutouts(scene)
    assert match.value == pytest.approx(1, abs=1e-5)
    assert match.box[:2] == (cutout.left / SIDE, cutout.top / SIDE)
    assert fidelity(moved(scene, render(scene)), scene) > 0.8


def test_each_subject_of_a_pair_has_its_own_value():
    picture = render(PAIR)
    assert [m.value for m in shape_fidelity(picture, PAIR)] == pytest.approx([1, 1], abs=1e-5)
    other = render(replace(PAIR, subjects=(find_subject("robot"), PAIR.subjects[1])))
    first, second = shape_fidelity(other, PAIR)
    assert first.value < 0.7
    assert second.value == pytest.approx(1, abs=0.01)


def drawing_of_one_colour(colour: int) -> Cutout:
    colours = np.full((40, 30, 3), colour, dtype=np.uint8)
    alpha = np.zeros((40, 30))
    alpha[5:35, 5:25] = 1
    return Cutout(find_subject("balloon"), 40, 50, colours, alpha)


def test_a_drawing_of_one_colour():
    cutout = drawing_of_one_colour(128)
    ground = np.full((SIDE, SIDE, 3), 20, dtype=np.uint8)
    there = ground.copy()
    there[55:85, 45:65] = 128
    noise = np.random.default_rng(0).integers(0, 256, ground.shape, dtype=np.uint8)
    there, ground, noise = (
        best_match(Image.fromarray(pixels), cutout).value for pixels in (there, ground, noise)
    )
    assert there == pytest.approx(1, abs=1e-5)
    assert ground < 0.15
    assert noise < 0.5
    same = Image.new("RGB", (SIDE, SIDE), (128, 128, 128))  # a grey thing on grey ground cannot be seen
    assert best_match(same, cutout).value == pytest.approx(1, abs=1e-5)


def test_pictures_of_other_sizes_are_judged_alike():
    assert fidelity(render(SCENES[4], 256), SCENES[4]) > 0.9
    with pytest.raises(CourseError, match="square pictures, not in 128x64"):
        shape_fidelity(Image.new("RGB", (128, 64)), SCENES[0])


def test_what_another_subject_covers_is_not_ones_own():
    scene = replace(PAIR, subjects=(find_subject("crocodile"), find_subject("dragon")))
    picture = render(scene, style="paper-cut")
    left, right = cutouts(scene, style="paper-cut")
    for cutout in (left, right):
        height, width = cutout.alpha.shape
        box = (cutout.left, cutout.top, cutout.left + width, cutout.top + height)
        assert np.array_equal(np.array(picture.crop(box)), cutout.colours)
    both = np.zeros((SIDE, SIDE))
    for cutout in (left, right):
        height, width = cutout.alpha.shape
        both[cutout.top : cutout.top + height, cutout.left : cutout.left + width] += cutout.alpha
    assert left.left + left.alpha.shape[1] > right.left  # their boxes overlap
    assert both.max() == pytest.approx(1, abs=1e-5)


PROMPTS = tuple(
    HeldOutPrompt(scene, language, "words", 1) for scene in (SCENES[0], PAIR) for language in ("en", "zh")
)


@pytest.fixture
def measured(monkeypatch) -> Fidelity:
    """English pictures are the world's, Chinese ones are blurred, the VAE blurs a little."""
    batches = []

    def again(model, pictures):
        batches.append(len(pictures))
        return [picture.filter(ImageFilter.GaussianBlur(1)) for picture in pictures]

    monkeypatch.setattr(likeness_module, "encode_pictures", again)
    monkeypatch.setattr(likeness_module, "decode_latents", lambda model, latents: latents)
    pictures = [
        render(p.scene) if p.language == "en" else render(p.scene).filter(ImageFilter.GaussianBlur(3))
        for p in PROMPTS
    ]
    fidelity = measure_fidelity("model", PROMPTS, pictures, batch_size=1)
    assert batches == [1, 1]
    return fidelity


def test_means_by_language_and_subject(measured):
    english, chinese = measured.means("en"), measured.means("zh")
    assert english["model"] == pytest.approx(1, abs=1e-5)
    assert chinese["model"] < chinese["vae"] < chinese["world"] == pytest.approx(1, abs=0.01)
    assert measured.means()["model"] == pytest.approx((english["model"] + chinese["model"]) / 2)
    by_subject = measured.by_subject()
    assert set(by_subject) == {"penguin", "cat"}
    assert list(by_subject) == sorted(by_subject, key=lambda name: by_subject[name]["model"])


def test_a_pair_counts_as_one_picture():
    matches = Match(0.5, (0, 0, 1, 1)), Match(1.0, (0, 0, 1, 1))
    assert Likeness(PAIR, Image.new("RGB", (8, 8)), matches).value == 0.75


def test_the_worst_are_each_subject_once_and_drawn_on_a_sheet(measured):
    worst = measured.worst(9)
    names = [PROMPTS[i].scene.subjects[place].en for i, place in worst]
    values = [measured.drawn[i].matches[place].value for i, place in worst]
    assert sorted(names) == ["cat", "penguin"]
    assert values == sorted(values)
    assert all(PROMPTS[i].language == "zh" for i, _ in worst)
    assert len(measured.worst(1)) == 1
    sheet = worst_sheet(measured)
    assert sheet.width > 8 * SIDE
    assert sheet.height > 3 * SIDE
    assert any(colour == (214, 40, 40) for _, colour in sheet.getcolors(2**24))
