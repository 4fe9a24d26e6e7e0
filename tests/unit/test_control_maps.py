"""Control maps: what users see of a picture's edges and colours."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from imagegen.media.control_maps.canny import canny
from imagegen.media.control_maps.colors import color, gray, invert, none, tile
from imagegen.media.control_maps.lines import scribble, softedge
from imagegen.media.control_maps.preprocessors import PREPROCESSORS

Levels = NDArray[np.int64]
LINES = ("canny", "softedge", "scribble")
# Left, top, right and bottom of a square, as PIL means them.
SQUARE = (60, 40, 139, 119)


def draw_square(size: tuple[int, int] = (200, 160), paper: str = "white", ink: str = "black") -> Image.Image:
    picture = Image.new("RGB", size, paper)
    ImageDraw.Draw(picture).rectangle(SQUARE, fill=ink)
    return picture


def levels(picture: Image.Image) -> Levels:
    return np.asarray(picture.convert("L")).astype(int)


def distance_to_border(size: tuple[int, int]) -> Levels:
    """Returns for each pixel how many pixels it is away from the border of the square, with diagonal steps."""
    left, top, right, bottom = SQUARE
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    outside = np.maximum.reduce([left - x, x - right, top - y, y - bottom])
    distance: Levels = np.abs(outside)
    return distance


def draw_noise(size: tuple[int, int]) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


# Those that are no networks.
MAKE = {str(name): each.make for name, each in PREPROCESSORS.items() if each.make is not None}


@pytest.mark.parametrize("name", MAKE)
@pytest.mark.parametrize("size", [(1, 1), (2, 1), (1, 3000), (3000, 1), (700, 530)], ids=str)
def test_a_map_has_the_size_of_its_picture_and_is_always_the_same(name: str, size: tuple[int, int]) -> None:
    for picture in (Image.new("RGB", size, (10, 200, 30)), draw_noise(size)):
        made = MAKE[name](picture)
        assert (made.mode, made.size) == ("RGB", size)
        assert made.tobytes() == MAKE[name](picture).tobytes()


@pytest.mark.parametrize("name", LINES)
def test_a_plain_picture_has_no_lines(name: str) -> None:
    assert MAKE[name](Image.new("RGB", (90, 70), "orange")).getextrema() == ((0, 0),) * 3


@pytest.mark.parametrize("name", LINES)
def test_lines_are_white_on_black_in_all_channels(name: str) -> None:
    pixels = np.asarray(MAKE[name](draw_square()))
    assert pixels.max() > 200
    assert np.median(pixels) == 0
    assert (pixels == pixels[..., :1]).all()


def test_canny_draws_the_border_of_a_square_and_nothing_else() -> None:
    lines = levels(canny(draw_square()))
    away = distance_to_border(lines.shape[::-1])
    assert set(np.unique(lines)) == {0, 255}
    assert away[lines == 255].max() <= 1
    left, top, right, bottom = SQUARE
    # One pixel wide, and on all four sides without a gap.
    for side in (lines[top + 3 : bottom - 2, left - 2 : left + 3], lines[top + 3 : bottom - 2, right - 2 : right + 3]):
        assert ((side == 255).sum(axis=1) == 1).all()
    for side in (lines[top - 2 : top + 3, left + 3 : right - 2], lines[bottom - 2 : bottom + 3, left + 3 : right - 2]):
        assert ((side == 255).sum(axis=0) == 1).all()


def test_canny_sees_colours_of_the_same_brightness() -> None:
    picture = draw_square(paper="#ff0000", ink="#008200")
    assert np.ptp(levels(gray(picture))) <= 1
    assert (levels(canny(picture)) == 255).sum() > 300


def test_canny_follows_a_faint_line_only_from_a_clear_one() -> None:
    picture = Image.new("RGB", (200, 60), (128, 128, 128))
    pen = ImageDraw.Draw(picture)
    # A step of 30 levels has a gradient of 120: between the thresholds.
    pen.rectangle((0, 20, 199, 59), fill=(158, 158, 158))
    assert levels(canny(picture)).max() == 0
    pen.rectangle((0, 20, 20, 59), fill=(255, 255, 255))
    assert (levels(canny(picture))[17:23, 30:190].max(axis=0) == 255).all()
    assert levels(canny(picture, low=130))[:, 30:190].max() == 0
    assert levels(canny(picture, low=10, high=100)).max() == 255


def test_canny_follows_a_long_spiral() -> None:
    x, y = np.meshgrid(np.arange(-150, 150), np.arange(-150, 150))
    radius, is_line = np.hypot(x, y), (np.hypot(x, y) / 14 - np.arctan2(y, x) / (2 * np.pi)) % 1 < 0.5
    faint, clear = np.full(radius.shape, 27), 27 + (100 - radius).clip(0)
    for contrast, crossings in ((faint, 0), (clear, 2 * 140 / 14)):
        picture = Image.fromarray((128 + contrast * is_line).clip(0, 255).astype(np.uint8)).convert("RGB")
        lines = levels(canny(picture.filter(ImageFilter.GaussianBlur(1)), 30, 200))
        # Both borders of each turn, from the middle to the right.
        assert (lines[150, 160:] == 255).sum() == pytest.approx(crossings, abs=1)


def test_thresholds_of_canny_may_change_places() -> None:
    picture = draw_noise((50, 40)).resize((200, 160), Image.Resampling.BICUBIC)
    assert canny(picture, 150, 50).tobytes() == canny(picture, 50, 150).tobytes()
    assert levels(canny(picture, 50, 150)).sum() > levels(canny(picture, 150, 300)).sum() > 0


def test_soft_edges_fade_beside_the_border() -> None:
    lines = levels(softedge(draw_square()))
    away = distance_to_border(lines.shape[::-1])
    assert lines[away == 0].min() > 150
    assert 0 < lines[away == 2].mean() < lines[away == 0].mean()
    assert lines[away > 8].max() == 0


def test_a_weak_edge_is_grayer_than_a_strong_one() -> None:
    weak, strong = (levels(softedge(draw_square(ink=ink))).max() for ink in ("#c0c0c0", "#909090"))
    assert 20 < weak < strong < 255


def test_soft_edges_of_a_large_picture_look_like_those_of_a_small_one() -> None:
    picture = draw_square((512, 512))
    large = softedge(picture.resize((1024, 1024), Image.Resampling.NEAREST)).resize((512, 512), Image.Resampling.BOX)
    assert np.abs(levels(large) - levels(softedge(picture))).mean() < 1


def test_a_scribble_is_a_thick_line_where_a_dark_one_was_drawn() -> None:
    picture = Image.new("RGB", (512, 512), "white")
    ImageDraw.Draw(picture).line((100, 250, 400, 250), fill="navy", width=4)
    lines = levels(scribble(picture))
    rows, columns = np.nonzero(lines)
    assert set(np.unique(lines)) == {0, 255}
    assert (rows.min(), rows.max()) == pytest.approx((249, 251), abs=3)
    assert (columns.min(), columns.max()) == pytest.approx((100, 400), abs=3)
    assert (lines[:, 250] == 255).sum() >= 4


def test_gray_keeps_the_brightness() -> None:
    picture = draw_noise((40, 30))
    pixels = np.asarray(gray(picture))
    assert (pixels == pixels[..., :1]).all()
    assert np.array_equal(levels(gray(picture)), levels(picture))


def test_a_tile_keeps_areas_and_loses_details() -> None:
    pixels = np.full((256, 256), 255, np.uint8)
    pixels[:, :128] = 0
    pixels[::2, ::2] = 128
    made = levels(tile(Image.fromarray(pixels).convert("RGB")))
    assert np.ptp(made[20:-20, 20:100]) <= 1
    assert np.ptp(made[20:-20, 156:-20]) <= 1
    assert made[:, 150:].mean() - made[:, :100].mean() > 150
    assert levels(tile(draw_square(), 1)).tobytes() == levels(draw_square()).tobytes()


def test_a_colour_grid_has_eight_cells_along_the_shorter_side() -> None:
    picture = draw_noise((16, 8)).resize((512, 256), Image.Resampling.NEAREST)
    assert color(picture).tobytes() == picture.tobytes()
    grid = np.asarray(color(draw_noise((1024, 512)))).reshape(8, 64, 16, 64, 3)
    assert np.ptp(grid, axis=(1, 3)).max() == 0
    assert np.abs(grid.astype(int) - 127).max() < 10


def test_invert_makes_black_lines_on_white_white_on_black() -> None:
    assert invert(draw_square()).tobytes() == draw_square(paper="black", ink="white").tobytes()


def test_none_leaves_a_map_as_it_is() -> None:
    assert none(draw_square()).tobytes() == draw_square().tobytes()


def test_each_name_of_the_web_ui_means_one_preprocessor() -> None:
    names = [name for each in PREPROCESSORS.values() for name in each.a1111_names]
    assert len(names) == len(set(names))
    assert {"none", "canny", "scribble_xdog", "tile_resample", "t2ia_color_grid"} <= set(names)
