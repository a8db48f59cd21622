"""One judgement, whatever the program that tells it: predict.py, infer.py, Inspector, val.py."""

import csv
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inspection import Inspector
from inspection.regions import original_mask
from models.engine import Engine
from tests.conftest import SMALL, call, fails, rows
from tests.test_regions import inverse, overlap

CPU = Engine(device="cpu")
QUIET = ("--no-save_picture",)
NUMBERS = ("score", "p_value", "normalised", "threshold")


@pytest.fixture(scope="module")
def pictures(demo) -> Path:
    return demo / "flange" / "test"


@pytest.fixture(scope="module")
def predicted(model, pictures) -> list[dict]:
    return rows("predict", "--model_path", model, "--picture_path", pictures, *QUIET)


def same(found: list[dict], expected: list[dict]) -> None:
    assert len(found) == len(expected) > 0
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours["path"], ours["verdict"]) == (theirs["path"], theirs["verdict"])
        for name in NUMBERS:
            assert ours[name] == pytest.approx(theirs[name], rel=1e-4)
        assert len(ours["regions"]) == len(theirs["regions"])
        for one, other in zip(ours["regions"], theirs["regions"], strict=True):
            assert np.abs(np.subtract(one["box"], other["box"])).max() <= 1
            assert one["area"] == pytest.approx(other["area"], rel=0.01, abs=3)
            assert one["peak"] == pytest.approx(other["peak"], rel=1e-4)


@pytest.mark.process
@pytest.mark.parametrize("graph", ["model", "fused"])
def test_exported_files_give_the_same_judgement(graph, exported, pictures, predicted):
    file = next(p for p in exported.glob(f"{graph}.*") if p.suffix in (".json", ".pdmodel"))
    same(rows("infer", "--model_file", file, "-i", pictures), predicted)


def test_the_inspector_gives_the_same_judgement(model, pictures, predicted):
    inspector = Inspector.open(model, CPU)
    found = []
    for one in inspector.inspect(sorted(pictures.rglob("*.png"))):
        numbers = {name: getattr(one, name) for name in (*NUMBERS, "verdict")}
        regions = json.loads(json.dumps([asdict(region) for region in one.regions]))
        found.append({"path": str(one.source), **numbers, "regions": regions})
        assert one.mask.shape == one.size[::-1]
        assert one.mask.sum() == sum(region.area for region in one.regions)
    same(found, predicted)


def test_a_defective_picture_has_regions_and_a_good_one_has_none(predicted):
    assert {row["verdict"] for row in predicted} == {"good", "defective"}
    for row in predicted:
        assert (row["verdict"] == "defective") == (row["normalised"] >= 0.5)
        assert (row["verdict"] == "defective") == (len(row["regions"]) > 0)
        assert 1 / 9 <= row["p_value"] <= 1
        for region in row["regions"]:
            left, top, right, bottom = region["box"]
            assert 0 <= left < right <= 96 and 0 <= top < bottom <= 96
            assert 0 < region["area"] <= (right - left) * (bottom - top)


@pytest.mark.parametrize("origin", [(), ("--threshold_from", "f1"), ("--fpr", 0.3)])
def test_val_judges_as_predict_does(origin, model, demo, pictures, tmp_path):
    result = call(
        *("val", "--data_path", demo, "--category", "flange", "--model_path", model, *QUIET),
        *("--save_path", tmp_path, "--calibrate", "False", *origin),
    )
    assert result.code == 0, result.err
    with (tmp_path / "flange" / "scores.csv").open(newline="") as file:
        table = {row["path"]: row for row in csv.DictReader(file)}
    told = rows("predict", "--model_path", model, "--picture_path", pictures, *QUIET, *origin)
    assert table.keys() == {row["path"] for row in told}
    for row in told:
        theirs = table[row["path"]]
        assert theirs["verdict"] == row["verdict"]
        for name in ("score", "p_value", "normalised"):
            assert float(theirs[name]) == pytest.approx(row[name], rel=1e-4)


def test_masks_have_the_size_of_the_picture_and_white_is_defective(model, pictures, tmp_path):
    for area in (0, 300, 10**6):
        folder = tmp_path / str(area)
        found = rows(
            *("predict", "--model_path", model, "--picture_path", pictures, *QUIET),
            *("--save_mask", folder, "--min_area", area),
        )
        assert len({row["mask"] for row in found}) == len(found) == 12
        for row in found:
            with Image.open(row["mask"]) as image:
                mask = np.asarray(image.convert("L"))
            assert set(np.unique(mask)) <= {0, 255} and mask.shape == (96, 96)
            assert (mask == 255).sum() == sum(region["area"] for region in row["regions"])
            assert all(region["area"] >= area for region in row["regions"])
            assert not (mask.any() and row["verdict"] == "good")
    assert not any(row["regions"] for row in found)


def test_a_mask_must_not_replace_a_picture(model, pictures):
    result = call(
        *("predict", "--model_path", model, "--picture_path", pictures / "chip", *QUIET),
        *("--save_mask", pictures / "chip"),
    )
    fails(result, 2, "--save_mask", "would overwrite a picture")


def noise(rng, size) -> np.ndarray:
    grey = rng.normal(110, 6, (*size[::-1], 1)).clip(0, 255)
    return np.broadcast_to(grey.astype(np.uint8), (*size[::-1], 3)).copy()


@pytest.mark.process
@pytest.mark.parametrize(
    ("size", "options"),
    [
        ((320, 240), ("--resize", 128, "--img_size", 128)),
        ((240, 320), ("--resize", 140, "--img_size", 128)),
        ((400, 200), ("--resize", "96x192", "--img_size", "96x192")),
    ],
)
def test_a_planted_defect_is_found_where_it_is(size, options, tmp_path):
    """In plain pictures, landscape and portrait, also turned by EXIF."""
    rng, folder = np.random.default_rng(0), tmp_path / "good"
    folder.mkdir()
    for i in range(8):
        Image.fromarray(noise(rng, size)).save(folder / f"{i}.png")
    trained = call(
        *("train", "--normal_dir", folder, "--category", "plain", "--save_path", tmp_path / "out"),
        *("--log_dir", tmp_path, *SMALL[4:], *options),
    )
    assert trained.code == 0, trained.err
    bad, boxes = tmp_path / "bad", {}
    bad.mkdir()
    middle = np.array(size) // 2
    for orientation, (x, y) in ((1, (20, -60)), (6, (-60, 30)), (8, (30, 40)), (3, (-70, -60))):
        box = (middle[0] + x, middle[1] + y, middle[0] + x + 40, middle[1] + y + 32)
        picture = noise(rng, size)
        picture[box[1] : box[3], box[0] : box[2]] = 250
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = bad / f"{orientation}.png"
        Image.fromarray(inverse(picture, orientation)).save(path, exif=exif)
        boxes[str(path)] = box
    found = rows(
        *("predict", "--model_path", tmp_path / "out" / "plain", "--picture_path", bad, *QUIET),
        *("--save_mask", tmp_path / "masks", "--save_map", tmp_path / "maps"),
    )
    assert len(found) == 4
    crop = Inspector.open(tmp_path / "out" / "plain").record.preprocessing.box(size)
    for row in found:
        box = boxes[row["path"]]
        assert row["verdict"] == "defective"
        with Image.open(row["mask"]) as image:
            assert image.size == size
            mask = np.asarray(image.convert("L")) > 0
        assert mask[box[1] : box[3], box[0] : box[2]].mean() > 0.8
        assert mask.mean() < 0.2
        assert overlap(row["regions"][0]["box"], box) > 0.15
        # The network sees around a defect, so that its region is larger; its middle is strongest.
        # It may be off by half a position of the coarsest map, which has a stride of 16 pixels.
        scores = np.load(row["map"])
        _, strongest = original_mask(scores, 0.7 * float(scores.max()), crop, size)
        centres = [((b[0] + b[2]) / 2, (b[1] + b[3]) / 2) for b in (strongest[0].box, box)]
        pixel = (crop[2] - crop[0]) / scores.shape[1]
        assert np.abs(np.subtract(*centres)).max() < 7.5 * pixel
        assert overlap(strongest[0].box, box) > 0.3
