"""Sheets: the panels, their places and contents, the colour bar, and text of any kind."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import binary_dilation, binary_erosion

from evaluation import canvas
from evaluation.heat import COLORS, color_bar, overlay, ticks
from evaluation.pictures import GAP, MARGIN, OUTLINE, TOP, Sheet, outlined, panel_size
from evaluation.scale import Scale

ROOT = Path(__file__).resolve().parent.parent
SIZE = (32, 48)
WIDTH, HEIGHT = 4 * 48, 4 * 32  # of the panel of such a picture
JUDGED = Scale(threshold=5.0, low=1.0, high=9.0, usual=1.0, peak=5.0, pixel_threshold=4.0)
OPEN = Scale(threshold=None, low=0.5, high=3.0, usual=1.0)  # no threshold is known
NAMES = ("a.png", "$a 图片.png", "テスト 부품 😀\n.png", "very long " * 30 + ".png", "")


def drawn(path: Path, scale=JUDGED, truth=True, mask=None, name="a.png", score=50.0) -> np.ndarray:
    """A sheet, uint8 [H,W,3], of a picture with a bright corner and a spot in its map."""
    picture = np.full((*SIZE, 3), 90, np.uint8)
    picture[:4, :4] = 200
    anomaly_map = np.ones(SIZE, np.float32)
    anomaly_map[10:15, 20:25] = score
    Sheet(scale, truth).save(path, name, picture, score, anomaly_map, mask)
    return np.asarray(Image.open(path))


def spot() -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[11:14, 20:30] = True
    return mask


def enlarged(mask: np.ndarray) -> np.ndarray:
    return np.kron(mask, np.ones((4, 4), bool)) * np.uint8(255)


def panel(sheet: np.ndarray, number: int) -> np.ndarray:
    """A panel's contents; a negative number counts from the right, where no colour bar is."""
    width = WIDTH + GAP
    x = MARGIN + number * width if number >= 0 else sheet.shape[1] - MARGIN + GAP + number * width
    return sheet[TOP : TOP + HEIGHT, x : x + WIDTH]


def test_panels_show_picture_and_masks(tmp_path):
    sheet = drawn(tmp_path / "a.png", mask=spot())
    assert (panel(sheet, 0)[:16, :16] == 200).all()
    assert (panel(sheet, 0)[16:] == 90).all()
    found = np.zeros(SIZE, bool)
    found[10:15, 20:25] = True
    assert np.array_equal(panel(sheet, -2)[..., 0], enlarged(found))
    assert np.array_equal(panel(sheet, -1)[..., 0], enlarged(spot()))
    assert (panel(sheet, -3) == OUTLINE).all(axis=2).any()


def test_without_a_mask_only_the_panel_of_the_ground_truth_is_missing(tmp_path):
    known = drawn(tmp_path / "known.png", mask=spot())
    unknown = drawn(tmp_path / "unknown.png")
    assert known.shape[1] - unknown.shape[1] == WIDTH + GAP
    left = unknown.shape[1] - MARGIN
    assert np.array_equal(known[:, :left], unknown[:, :left])
    assert np.array_equal(unknown, drawn(tmp_path / "b.png", truth=False, mask=spot()))


def test_a_good_picture_has_neither_region_nor_outline(tmp_path):
    sheet = drawn(tmp_path / "a.png", mask=np.zeros(SIZE, bool), score=2.0)
    assert (panel(sheet, -1) == 0).all()
    assert (panel(sheet, -2) == 0).all()
    assert np.array_equal(panel(sheet, -3), panel(sheet, 0))


def test_without_a_threshold_there_is_no_panel_for_the_region(tmp_path):
    with_region = drawn(tmp_path / "a.png")
    without = drawn(tmp_path / "b.png", scale=OPEN)
    assert 2 * WIDTH < with_region.shape[1] - without.shape[1] < 3 * WIDTH


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scale", [JUDGED, OPEN])
def test_a_name_of_any_kind_changes_the_headline_only(tmp_path, name, scale):
    sheet = drawn(tmp_path / "a.png", scale, name=name)
    usual = drawn(tmp_path / "b.png", scale, name="b.png")
    assert np.array_equal(sheet[TOP - 25 :], usual[TOP - 25 :])
    assert not np.array_equal(sheet, usual)
    assert (sheet[: TOP - 25, -MARGIN // 2 :] == 255).all()  # the verdict is not cut off


@pytest.mark.parametrize("size", [(1, 1), (5, 900), (900, 5), (700, 500), (224, 224)])
def test_pictures_of_any_size(tmp_path, size):
    picture, anomaly_map = np.zeros((*size, 3), np.uint8), np.full(size, 9, np.float32)
    Sheet(JUDGED, True).save(tmp_path / "a.png", "a", picture, 9, anomaly_map, anomaly_map > 0)
    width, height = panel_size(picture)
    sheet = np.asarray(Image.open(tmp_path / "a.png"))
    assert 192 <= max(width, height) <= 448
    assert (sheet[TOP : TOP + height, MARGIN : MARGIN + width] == 0).all()


def test_the_map_may_have_another_size_than_the_picture(tmp_path):
    anomaly_map = np.ones((8, 12), np.float32)
    anomaly_map[:, 6:] = 9
    picture = np.zeros((*SIZE, 3), np.uint8)
    Sheet(JUDGED, False).save(tmp_path / "a.png", "a", picture, 9, anomaly_map)
    region = panel(np.asarray(Image.open(tmp_path / "a.png")), -1)
    assert (region[:, : WIDTH // 2] == 0).all()
    assert (region[:, WIDTH // 2 :] == 255).all()


def test_the_outline_is_two_pixels_wide():
    mask = np.random.default_rng(0).random((40, 50)) > 0.8
    border = binary_dilation(mask) & ~binary_erosion(mask, border_value=1)
    lined = outlined(np.zeros((40, 50, 3), np.uint8), mask)
    assert np.array_equal((lined == OUTLINE).all(axis=2), border)


def test_a_speck_is_not_lost_where_a_mask_is_reduced():
    for i in range(50):
        mask = np.zeros((1000, 900), bool)
        mask[17 * i, 16 * i] = True
        assert canvas.resized_mask(mask, 403, 448).any()


def test_heat_is_where_the_score_is():
    picture = np.full((*SIZE, 3), 128, np.uint8)
    anomaly_map = np.ones(SIZE, np.float32)
    anomaly_map[:, 30:] = 9
    heat = overlay(picture, anomaly_map, JUDGED).astype(int)
    assert (heat[:, :30] == heat[0, 0]).all()
    assert heat[0, 40, 0] - heat[0, 40, 2] > 60  # red there


def test_the_strength_of_a_heat_map():
    random = np.random.default_rng(0)
    picture = random.integers(0, 256, (8, 8, 3)).astype(np.uint8)
    anomaly_map = random.uniform(JUDGED.low, JUDGED.high, (8, 8)).astype(np.float32)
    gray = picture.mean(axis=2, dtype=np.float32).astype(np.uint8)[..., None]
    none, half, usual, opaque = (
        overlay(picture, anomaly_map, JUDGED, strength).astype(int) for strength in (0, 0.5, 1, 99)
    )
    assert (none == gray).all() and (usual == overlay(picture, anomaly_map, JUDGED)).all()
    assert np.abs(2 * half - none - usual).max() <= 2
    level = (anomaly_map - JUDGED.low) * (255 / (JUDGED.high - JUDGED.low))
    assert (opaque == COLORS[level.astype(np.uint8)]).all()


def test_colours_are_those_of_turbo():
    from matplotlib import colormaps

    exact = colormaps["turbo"](np.arange(256), bytes=True)[:, :3].astype(int)
    assert abs(exact - COLORS).mean() < 10
    assert abs(exact - COLORS).max() < 40


def test_the_colour_bar_has_all_colours_and_a_line_at_the_threshold():
    bar = np.asarray(color_bar(JUDGED, 300))
    assert len(np.unique(bar[:, 7], axis=0)) > 200
    dark = (bar[:, 7] == 0).all(axis=1).nonzero()[0]
    assert abs(dark.mean() - 149.5) <= 1  # `peak` is the middle of the colours
    bar = np.asarray(color_bar(OPEN, 300))
    assert not (bar[:, 7] == 0).all(axis=1).any()


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (8.5, 26, [10, 15, 20, 25]),
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (-30, 1e5, [0, 1e5]),
        (5, 5, [5]),
    ],
)
def test_ticks_are_round_numbers(low, high, expected):
    most = 2 if high == 1e5 else 6
    assert ticks(low, high, most) == pytest.approx(expected)


def test_text_is_shortened_in_the_middle_to_the_width_it_has():
    name = "first_" + "x" * 300 + "_last.png"
    short = canvas.fitted(name, 12, 200)
    assert short.startswith("first_")
    assert short.endswith("_last.png")
    assert 180 < canvas.text_width(short, 12) <= 200
    assert canvas.fitted("short.png", 12, 200) == "short.png"


@pytest.mark.process
def test_a_sheet_needs_no_matplotlib(tmp_path):
    code = (
        "import sys, numpy as np; from pathlib import Path\n"
        "from evaluation.pictures import Sheet; from evaluation.scale import Scale\n"
        "args = np.zeros((9, 9, 3), np.uint8), 1.0, np.ones((9, 9), np.float32)\n"
        "Sheet(Scale(None, 1.0, 2.0, 1.0), False).save(Path(sys.argv[1]), 'a.png', *args)\n"
        "assert not {'matplotlib', 'scipy'} & sys.modules.keys()\n"
    )
    command = [sys.executable, "-c", code, tmp_path / "a.png"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.png").is_file()
