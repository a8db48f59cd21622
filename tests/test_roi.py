"""The region of interest: what is outside changes nothing, in every script and graph."""

import json

import numpy as np
import pytest
from PIL import Image

from inspection import Inspector
from models import checkpoint
from models.anomaly_map import AnomalyMap
from models.engine import Engine
from models.methods import METHODS
from models.roi import Roi
from tests.conftest import SMALL, call, fails, rows

CPU = Engine(device="cpu")
SIZE = 64


def square(size=(SIZE, SIZE), start=16, stop=40) -> np.ndarray:
    pixels = np.zeros(size, bool)
    pixels[start:stop, start:stop] = True
    return pixels


@pytest.fixture(scope="module")
def mask(tmp_path_factory):
    """The upper left quarter of the demo's pictures of 96 × 96 pixels."""
    path = tmp_path_factory.mktemp("roi") / "roi.png"
    pixels = np.zeros((96, 96), np.uint8)
    pixels[:48, :48] = 255
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture(scope="module")
def outside(demo, tmp_path_factory):
    """A picture, and the same with other pixels outside the region."""
    folder = tmp_path_factory.mktemp("pictures")
    picture = np.array(Image.open(demo / "flange/test/rust/000.png").convert("RGB"))
    Image.fromarray(picture).save(folder / "a.png")
    # Two pixels more than the region: the resize mixes pixels at the border.
    picture[50:] = np.random.default_rng(0).integers(0, 255, picture[50:].shape)
    picture[:, 50:] = 255
    Image.fromarray(picture).save(folder / "b.png")
    return folder


def test_places_are_those_with_a_pixel_inside():
    roi = Roi(square(start=16, stop=33))
    expected = np.zeros((8, 8), bool)
    expected[2:5, 2:5] = True
    assert np.array_equal(roi.places((8, 8)), expected)
    assert np.array_equal(roi.places((SIZE, SIZE)), roi.pixels)
    assert roi.places((1, 1)).all()
    uneven = roi.places((5, 7))  # which do not divide 64
    for i, j in np.argwhere(roi.pixels):
        assert uneven[i * 5 // 64, j * 7 // 64]


def test_it_survives_a_file():
    roi = Roi(square((33, 47)))
    again = Roi.from_arrays(roi.arrays(), (33, 47))
    assert np.array_equal(again.pixels, roi.pixels)
    with pytest.raises(ValueError, match="expected 1024 bits"):
        Roi.from_arrays(roi.arrays(), (32, 32))
    with pytest.raises(KeyError):
        Roi.from_arrays({}, (33, 47))
    with pytest.raises(ValueError, match="no pixel"):
        Roi(np.zeros((8, 8), bool))


def test_the_map_is_zero_outside_and_even_inside():
    roi = Roi(square())
    maps = AnomalyMap((16, 16), (SIZE, SIZE), 4.0, roi)(np.full((1, 16, 16), 3.0, np.float32))
    assert (maps[0][~roi.pixels] == 0).all()
    assert maps[0][roi.pixels] == pytest.approx(3.0, rel=1e-5)
    loud = np.zeros((1, 16, 16), np.float32)
    loud[0, 12:, 12:] = 1e6
    assert (AnomalyMap((16, 16), (SIZE, SIZE), 4.0, roi)(loud) == 0).all()


@pytest.mark.process
@pytest.mark.parametrize("method", sorted(METHODS))
def test_pixels_outside_change_nothing(method, demo, mask, outside, tmp_path):
    trained = call(
        *("train", "--data_path", demo, "--category", "flange", "--save_path", tmp_path, *SMALL),
        *("--method", method, "--roi", mask, "--log_dir", tmp_path),
        *(["--val"] if method == "padim" else []),
    )
    assert trained.code == 0, trained.err
    assert "region of interest: " in trained.err
    folder = tmp_path / "flange"
    _, record = checkpoint.load(folder / "best.pdparams")
    assert record.roi
    normal = record.calibration.normal.image.values
    assert max(normal) < 20 * np.median(normal)  # no training picture is odd by its outside

    ways = {"trained": rows("predict", "--picture_path", outside, "--model_path", folder)}
    exported = call(
        *("export_model", "--model_path", folder, "--save_dir", tmp_path / "export", "--fused")
    )
    assert exported.code == 0, exported.err
    for name in ("model", "fused"):
        graph = next(p for p in (tmp_path / "export").glob(f"{name}.*") if p.suffix != ".pdiparams")
        ways[name] = rows("infer", "-i", outside, "--model_file", graph)
    for found in ways.values():
        first, second = (row["score"] for row in found)
        assert second == pytest.approx(first, rel=1e-5)
        assert first == pytest.approx(ways["trained"][0]["score"], rel=1e-4)
        for row in found:
            for region in row["regions"]:
                assert max(region["box"]) <= 50


def test_maps_and_regions_end_at_the_region(demo, mask, tmp_path):
    call(
        *("train", "--data_path", demo, "--category", "flange", "--save_path", tmp_path, *SMALL),
        *("--roi", mask, "--log_dir", tmp_path, "--dims", 10),
    )
    inspector = Inspector.open(tmp_path / "flange", CPU, threshold=1e-6)
    pictures = sorted((demo / "flange" / "test").rglob("*.png"))
    for judgement in inspector.inspect(pictures):
        assert (judgement.map[:, 32:] == 0).all()
        assert judgement.map[:32, :32].min() > 0
        assert judgement.mask.any()
        assert not judgement.mask[50:].any()
        assert not judgement.mask[:, 50:].any()


def test_the_metrics_name_it(demo, mask, tmp_path):
    options = ("--data_path", demo, "--category", "flange", "--save_path", tmp_path, *SMALL)
    call("train", *options, "--roi", mask, "--val", "--log_dir", tmp_path)
    metrics = json.loads((tmp_path / "flange" / "metrics.json").read_text())
    assert metrics["model"]["roi"] is True
    assert metrics["normal"]["pictures"] == 8


def test_a_region_that_does_not_fit_is_refused(demo, tmp_path):
    options = ("--data_path", demo, "--category", "flange", "--save_path", tmp_path, *SMALL)
    options += ("--log_dir", tmp_path)
    path = tmp_path / "mask.png"
    fails(call("train", *options, "--roi", path), 2, "--roi", path)
    Image.new("L", (96, 48), 255).save(path)
    fails(call("train", *options, "--roi", path), 2, "--roi", "96×48", "96×96")
    Image.new("L", (96, 96), 0).save(path)
    fails(call("train", *options, "--roi", path), 2, "--roi", "no white pixel")
    path.write_text("no picture")
    fails(call("train", *options, "--roi", path), 2, "--roi", path)
    assert not (tmp_path / "flange" / "best.pdparams").exists()
