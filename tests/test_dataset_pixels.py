"""Pixels and micro-conditions, against values computed by hand."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from kolors_course.dataset import MicroConditions, check_divisible, open_picture, prepare_image, upright_rgb
from kolors_course.dataset.pixels import storage_quirks
from kolors_course.errors import CourseError

# 8-bit levels are 2/255 apart in [-1, 1]; float32 arithmetic on them is good to 1e-6.
TOLERANCE = 1e-6


def generator(number: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def from_rows(*rows: list[int]) -> Image.Image:
    """A grey RGB picture from rows of levels 0..255."""
    return Image.fromarray(np.array(rows, dtype=np.uint8)).convert("RGB")


def levels(pixel_values: torch.Tensor) -> list[list[int]]:
    """The red channel back in 0..255."""
    return ((pixel_values[0] + 1) * 127.5).round().int().tolist()


def test_range_shape_and_channel_order():
    image = Image.new("RGB", (2, 2), (0, 51, 255))
    pixel_values, _ = prepare_image(image, 2, 2, True, False, generator())
    assert pixel_values.shape == (3, 2, 2)
    assert pixel_values.dtype == torch.float32
    # 0 → -1, 51 → 51/127.5 - 1 = -0.6, 255 → 1
    expected = torch.tensor([-1.0, -0.6, 1.0]).view(3, 1, 1).expand(3, 2, 2)
    torch.testing.assert_close(pixel_values, expected, atol=TOLERANCE, rtol=0)


def test_centre_crop_without_resizing():
    image = from_rows([0, 1, 2, 3, 4, 5], [10, 11, 12, 13, 14, 15])
    pixel_values, conditions = prepare_image(image, 2, 2, True, False, generator())
    assert levels(pixel_values) == [[2, 3], [12, 13]]
    assert conditions == MicroConditions((2, 6), (0, 2), (2, 2))


def test_time_ids_are_true_values_in_sdxl_order():
    # 100 wide, 300 high, to 64x96: scale max(64/100, 96/300) = 0.64 → 64x192; the crop starts at
    # row (192 - 96) / 2 = 48 of the resized picture.
    _, conditions = prepare_image(Image.new("RGB", (100, 300)), 64, 96, True, False, generator())
    assert conditions == MicroConditions(
        original_size=(300, 100), crop_top_left=(48, 0), target_size=(96, 64)
    )
    time_ids = conditions.time_ids()
    assert time_ids.shape == (6,)
    assert time_ids.dtype == torch.float32
    assert time_ids.tolist() == [300, 100, 48, 0, 96, 64]


def test_shrinking_is_bilinear_and_antialiased():
    # Factor 2, triangle filter of half-width 2: the first output pixel lies at 1.0 and weighs the inputs
    # at 0.5, 1.5, 2.5 with .75, .75, .25, so it gets 255 * .25 / 1.75 = 36.4; the second mirrors it.
    # Without antialiasing they would be 0 and 255; bicubic and Lanczos would overshoot.
    image = from_rows(*[[0, 0, 255, 255]] * 4)
    pixel_values, _ = prepare_image(image, 2, 2, True, False, generator())
    assert levels(pixel_values) == [[36, 219], [36, 219]]


def test_enlarging_covers_the_target():
    pixel_values, conditions = prepare_image(
        Image.new("RGB", (3, 5), "white"), 8, 8, True, False, generator()
    )
    # scale 8/3: 8 x round(13.33) = 8 x 13, top = (13 - 8) // 2
    assert conditions == MicroConditions((5, 3), (2, 0), (8, 8))
    assert torch.equal(pixel_values, torch.ones(3, 8, 8))


@pytest.mark.parametrize("size", [(7, 13), (13, 7), (1, 50), (333, 334), (1023, 777)])
def test_any_size_covers_the_target(size):
    pixel_values, conditions = prepare_image(Image.new("RGB", size, "red"), 24, 16, False, True, generator())
    assert pixel_values.shape == (3, 16, 24)
    # No black border: the crop lies inside the picture.
    assert torch.equal(pixel_values[0], torch.ones(16, 24))
    assert conditions.original_size == size[::-1]


def test_random_crops_reach_every_place_and_tell_the_truth():
    image = from_rows([0, 1, 2, 3, 4, 5], [10, 11, 12, 13, 14, 15])
    random = generator(1)
    seen = set()
    for _ in range(100):  # 5 places: missing one has probability 5 * 0.8**100 = 1e-9
        pixel_values, conditions = prepare_image(image, 2, 2, False, False, random)
        top, left = conditions.crop_top_left
        assert top == 0
        assert levels(pixel_values) == [[left, left + 1], [10 + left, 11 + left]]
        seen.add(left)
    assert seen == {0, 1, 2, 3, 4}


def test_flip_comes_before_the_crop():
    image = from_rows([0, 1, 2, 3, 4], [10, 11, 12, 13, 14])
    random = generator(2)
    seen = set()
    for _ in range(60):  # missing one of the two has probability 2 * 0.5**60
        pixel_values, conditions = prepare_image(image, 2, 2, True, True, random)
        assert conditions.crop_top_left == (0, 1)
        seen.add(str(levels(pixel_values)))
    # Column 1 of the picture, or of its mirror image 4 3 2 1 0.
    assert seen == {"[[1, 2], [11, 12]]", "[[3, 2], [13, 12]]"}


def test_same_generator_state_same_result():
    image = Image.effect_noise((40, 30), 80)
    first, first_conditions = prepare_image(image, 8, 8, False, True, generator(3))
    second, second_conditions = prepare_image(image, 8, 8, False, True, generator(3))
    assert torch.equal(first, second)
    assert first_conditions == second_conditions


def test_nothing_is_drawn_for_centre_crops():
    random = generator(4)
    before = random.get_state()
    prepare_image(Image.new("RGB", (9, 5)), 4, 4, True, False, random)
    assert torch.equal(random.get_state(), before)


def test_transparent_parts_become_white():
    # Black at alpha 0, 51 and 255 over white: 255, 255 * (1 - 0.2) = 204, 0.
    image = Image.fromarray(np.array([[[0, 0, 0, 0], [0, 0, 0, 51], [0, 0, 0, 255]]], dtype=np.uint8))
    assert image.mode == "RGBA"
    assert [pixel[0] for pixel in (upright_rgb(image).getpixel((x, 0)) for x in range(3))] == [255, 204, 0]


def test_palette_pictures(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    rgb = upright_rgb(image)
    assert [rgb.getpixel((x, 0)) for x in range(2)] == [(255, 0, 0), (0, 0, 255)]
    image.save(tmp_path / "clear.png", transparency=1)
    rgb = open_picture(tmp_path / "clear.png")
    assert [rgb.getpixel((x, 0)) for x in range(2)] == [(255, 0, 0), (255, 255, 255)]


@pytest.mark.parametrize("mode", ["1", "L", "CMYK", "YCbCr"])
def test_other_modes_become_rgb(mode):
    image = Image.new("RGB", (2, 2), "white").convert(mode)
    assert upright_rgb(image).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_deep_pictures_are_refused(mode):
    with pytest.raises(CourseError, match=f"pixel format {mode} cannot become 8-bit RGB"):
        prepare_image(Image.new(mode, (4, 4)), 2, 2, True, False, generator())


def test_exif_orientation_is_applied(tmp_path):
    # Orientation 6: turn a quarter clockwise to view, so that left-right 10 20 reads 10 above 20.
    exif = Image.Exif()
    exif[0x0112] = 6
    from_rows([10, 20]).save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as image:
        pixel_values, conditions = prepare_image(image, 1, 2, True, False, generator())
    assert levels(pixel_values) == [[10], [20]]
    assert conditions.original_size == (2, 1)
    assert open_picture(tmp_path / "turned.png").size == (1, 2)


def test_open_picture_closes_the_file_and_names_what_is_missing(tmp_path, recwarn):
    Image.new("RGB", (2, 2)).save(tmp_path / "a.png")
    open_picture(tmp_path / "a.png").load()
    assert not [warning for warning in recwarn if warning.category is ResourceWarning]
    with pytest.raises(CourseError, match=r"b\.png does not exist"):
        open_picture(tmp_path / "b.png")


@pytest.mark.parametrize(("width", "height", "multiple"), [(8, 8, 8), (1024, 576, 64), (6, 4, 1)])
def test_valid_sizes_pass(width, height, multiple):
    check_divisible(width, height, multiple)


@pytest.mark.parametrize(
    ("width", "height", "multiple", "fault"),
    [
        (100, 64, 8, "width 100 (use 96 or 104)"),
        (64, 1000, 64, "height 1000 (use 960 or 1024)"),
        (50, 30, 16, "width 50 (use 48 or 64), height 30 (use 16 or 32)"),
        (5, 8, 8, "width 5 (use 8)"),
        (0, 8, 8, "width 0 (use 8)"),
        (8, -16, 8, "height -16 (use 8)"),
    ],
)
def test_invalid_sizes_name_the_nearest_valid_ones(width, height, multiple, fault):
    with pytest.raises(CourseError) as caught:
        check_divisible(width, height, multiple)
    assert str(caught.value) == f"picture sides must be multiples of {multiple}: {fault}"


def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def swapped_profile() -> bytes:
    """sRGB with the roles of red and blue exchanged, under another name."""
    data = srgb_profile().replace("sRGB".encode("utf-16-be"), "BGRs".encode("utf-16-be"))
    data = data.replace(b"rXYZ", b"tXYZ").replace(b"bXYZ", b"rXYZ").replace(b"tXYZ", b"bXYZ")
    return data.replace(b"sRGB", b"BGRs")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_other_colour_spaces_become_srgb(tmp_path, mode):
    image = Image.new("RGB", (2, 2), (255, 0, 0)).convert(mode)
    if mode == "RGBA":
        image.putalpha(51)
    image.save(tmp_path / "a.png", icc_profile=swapped_profile())
    picture = open_picture(tmp_path / "a.png")
    expected = (0, 0, 255) if mode != "RGBA" else (204, 204, 255)  # at 51 / 255 on white
    assert max(abs(one - two) for one, two in zip(picture.getpixel((0, 0)), expected, strict=True)) <= 1
    assert "icc_profile" not in picture.info
    assert "in another colour space than sRGB" in storage_quirks(tmp_path / "a.png")


@pytest.mark.parametrize("mode", ["RGB", "CMYK", "L"])
@pytest.mark.parametrize("profile", [srgb_profile(), b"broken"])
def test_profiles_of_srgb_and_useless_ones_change_nothing(tmp_path, mode, profile):
    """No profile of CMYK may get into an RGB picture either."""
    image = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3) * 5).convert(mode)
    image.save(tmp_path / "a.tif", icc_profile=profile)
    picture = open_picture(tmp_path / "a.tif")
    assert picture.tobytes() == image.convert("RGB").tobytes()
    assert "icc_profile" not in picture.info
    assert "in another colour space than sRGB" not in storage_quirks(tmp_path / "a.tif")


def test_a_profile_of_another_kind_of_picture_is_ignored(tmp_path):
    image = Image.new("CMYK", (2, 2), (0, 200, 100, 0))
    image.save(tmp_path / "a.tif", icc_profile=swapped_profile())
    assert open_picture(tmp_path / "a.tif").tobytes() == image.convert("RGB").tobytes()


def test_the_further_views_of_a_phone_are_no_animation(tmp_path):
    first, second = (Image.new("RGB", (8, 8), colour) for colour in ("red", "blue"))
    first.save(tmp_path / "phone.jpg", format="MPO", save_all=True, append_images=[second])
    assert storage_quirks(tmp_path / "phone.jpg") == ()
    first.save(tmp_path / "film.gif", save_all=True, append_images=[second])
    assert storage_quirks(tmp_path / "film.gif") == ("animated",)


def test_a_picture_that_is_too_large_is_not_called_damaged(tmp_path, monkeypatch):
    Image.new("RGB", (3000, 2000)).save(tmp_path / "wall.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2_000_000)
    with pytest.raises(CourseError, match=r"wall\.png has more than 4 million pixels; scale it down"):
        open_picture(tmp_path / "wall.png")
