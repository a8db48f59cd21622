import numpy as np
import pytest
from PIL import Image, ImageColor

from evaluation.audit import GAP, LINES, MARGIN, PAD, TILE, TOP, Unusual, draw_audit
from evaluation.plots import DEFECTIVE
from evaluation.scale import Scale

SCALE = Scale(threshold=5.0, low=1.0, high=9.0, usual=1.0, peak=5.0, pixel_threshold=4.0)
FRAME = np.array(ImageColor.getrgb(DEFECTIVE), np.uint8)
HEIGHT = 2 * TILE + 3 * PAD + LINES  # of a cell with a square picture
LONG = "long_" * 60 + "零件.png"


def entry(beyond=False, name="good/001.png", gray=128, high=1.0, size=(32, 32)) -> Unusual:
    picture, anomaly_map = np.full((*size, 3), gray, np.uint8), np.full(size, high, np.float32)
    return Unusual(name, 12.5, 0.004, beyond, picture, anomaly_map)


def audit(path, entries, title="weave") -> np.ndarray:
    draw_audit(path, entries, SCALE, title)
    with Image.open(path) as image:
        return np.asarray(image)


def corner(sheet: np.ndarray, number: int) -> np.ndarray:
    """The first pixel of a cell."""
    row, column = divmod(number, 5)
    return sheet[TOP + row * (HEIGHT + GAP), MARGIN + column * (TILE + 2 * PAD + GAP)]


@pytest.mark.parametrize("count", range(1, 11))
def test_up_to_ten_cells_in_rows_of_five(tmp_path, count):
    sheet = audit(tmp_path / "a.png", [entry(gray=10 * i) for i in range(1, count + 1)])
    one = audit(tmp_path / "b.png", [entry()])
    assert sheet.shape[0] - one.shape[0] == (HEIGHT + GAP if count > 5 else 0)
    assert sheet.shape[1] > min(count, 5) * TILE
    for i in range(count):
        row, column = divmod(i, 5)
        x = MARGIN + column * (TILE + 2 * PAD + GAP) + PAD
        assert (sheet[TOP + PAD :, x : x + TILE] == 10 * (i + 1)).all(axis=2).sum() >= TILE**2


def test_only_those_beyond_the_others_have_a_frame(tmp_path):
    marks = [True, False, True, False, False, False, True]
    sheet = audit(tmp_path / "a.png", [entry(beyond) for beyond in marks])
    framed = [bool((corner(sheet, i) == FRAME).all()) for i in range(len(marks))]
    assert framed == marks


def test_heat_maps_share_one_scale(tmp_path):
    sheet = audit(tmp_path / "a.png", [entry(high=1.0), entry(high=9.0), entry(high=900.0)])
    heat = [sheet[TOP + 2 * PAD + TILE + 9, MARGIN + PAD + 9 + i * (TILE + 24)] for i in range(3)]
    assert not np.array_equal(heat[0], heat[1])
    assert np.array_equal(heat[1], heat[2])  # both beyond the end of the colours


@pytest.mark.parametrize("name", [LONG, "图片/零件\n.png", "テスト 부품 😀 $x$.png", ""])
def test_a_name_of_any_kind_stays_in_its_cell(tmp_path, name):
    sheet = audit(tmp_path / "a.png", [entry(), entry(name=name), entry()])
    usual = audit(tmp_path / "b.png", [entry(), entry(), entry()])
    assert sheet.shape == usual.shape
    changed = (sheet != usual).any(axis=(0, 2)).nonzero()[0]
    cell = MARGIN + TILE + 2 * PAD + GAP
    assert cell <= changed.min()
    assert changed.max() < cell + TILE + 2 * PAD


def test_a_long_title_does_not_widen_the_sheet(tmp_path):
    sheet = audit(tmp_path / "a.png", [entry()] * 5, title=LONG)
    assert sheet.shape == audit(tmp_path / "b.png", [entry()] * 5).shape
    assert (sheet[:TOP, -MARGIN:] == 255).all()


@pytest.mark.parametrize("size", [(1, 1), (10, 400), (400, 10), (300, 200)])
def test_pictures_of_any_size(tmp_path, size):
    sheet = audit(tmp_path / "a.png", [entry(True, size=size), entry(gray=7)])
    assert (sheet[..., :3] == FRAME).all(axis=2).any()
    assert (sheet == 7).all(axis=2).sum() >= TILE**2
