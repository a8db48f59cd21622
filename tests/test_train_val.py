"""train.py and val.py as a user calls them."""

import json
import logging
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models import checkpoint
from tests.conftest import NO_GRAPH, SMALL, WEIGHTS, call

CLOSING = [r"Class:{}: Image AUC: [01]\.\d{{3}}", r"Class:{}: Pixel AUC: [01]\.\d{{3}}"]


def assert_closes_with(lines: list[str], category: str) -> None:
    for line, pattern in zip(lines[-2:], CLOSING, strict=True):
        assert re.fullmatch(pattern.format(category), line), line


def assert_table_of(folder: Path, categories: set[str]) -> None:
    assert set(json.loads((folder / "summary.json").read_text())["categories"]) == categories
    for name in ("summary.md", "summary.csv", "roc_all.png"):
        assert (folder / name).stat().st_size > 0


def train(output: Path, *arguments):
    logs = output / "logs"
    options = ("--save_path", output, "--log_dir", logs, *SMALL, *NO_GRAPH)
    return call("train", *options, *arguments)


def test_training_with_validation_ends_with_both_aucs(trained):
    assert_closes_with((trained / "stdout.txt").read_text().splitlines(), "flange")


def test_training_writes_model_figures_sheets_and_log(trained):
    folder = trained / "flange"
    for name in ("best.pdparams", "metrics.json", "scores.csv", "roc.png", "pr.png"):
        assert (folder / name).stat().st_size > 0
    assert len(list((folder / "pictures").glob("*.png"))) == 12
    assert {path.stat().st_mode & 0o777 for path in folder.glob("*.png")} != {0o600}
    log = (trained / "logs" / "flange.log").read_text()
    assert "weights: resnet18_tinyimagenet.safetensors of resnet18 (embedded), SHA-256" in log
    assert "fit flange: 8/8 pictures" in log
    assert "dims 20" in log
    assert "statistics" in log
    metrics = json.loads((folder / "metrics.json").read_text())
    assert f"{metrics['image']['auroc']:.4f}" in log


def test_no_temporary_file_is_left(trained):
    assert not [path for path in trained.rglob("*") if ".tmp" in path.name]


def test_the_checkpoint_holds_the_calibration_of_the_validation(trained):
    record = checkpoint.load(trained / "flange" / "best.pdparams")[1]
    metrics = json.loads((trained / "flange" / "metrics.json").read_text())
    assert record.calibration.best_f1.image == metrics["image"]["threshold"]
    assert record.calibration.best_f1.pixel == metrics["pixel"]["threshold"]
    assert record.category == "flange"


@pytest.mark.process
def test_validating_again_gives_the_same_figures(trained, demo, tmp_path):
    model = trained / "flange" / "best.pdparams"
    result = call(
        *("val", "--data_path", demo, "--category", "flange", "--model_path", model),
        *("--save_path", tmp_path, "--num_pictures", 5, "--batch_size", 3, "--calibrate", "False"),
    )
    assert result.code == 0, result.err
    assert_closes_with(result.lines, "flange")
    ours = json.loads((tmp_path / "flange" / "metrics.json").read_text())
    theirs = json.loads((trained / "flange" / "metrics.json").read_text())
    for level in ("image", "pixel"):
        assert ours[level] == pytest.approx(theirs[level], rel=1e-4)
    kinds = [p.stem.rsplit("_", 1)[0] for p in (tmp_path / "flange" / "pictures").iterdir()]
    assert len(kinds) == 5
    assert len(set(kinds)) == 5  # one of each kind before a second of any


@pytest.mark.process
def test_all_categories_get_a_model_each(demo, tmp_path):
    result = train(tmp_path, "--data_path", demo, "--category", "all", "--val")
    assert result.code == 0, result.err
    assert_closes_with(result.lines, "all")
    for name in ("flange", "weave"):
        assert (tmp_path / name / "best.pdparams").exists()
        assert f"Class:{name}: Image AUC:" in result.out
    assert_table_of(tmp_path, {"flange", "weave"})
    options = ("--save_path", tmp_path, "--no-save_picture", *NO_GRAPH)
    for path in tmp_path.glob("*.*"):
        path.unlink()
    result = call("val", "--data_path", demo, "--compare", *options)
    assert result.code == 0, result.err
    assert_closes_with(result.lines, "all")
    assert_table_of(tmp_path, {"flange", "weave"})
    assert "--compare has no effect" in result.err


def test_a_category_that_fails_does_not_stop_the_others(demo, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(demo / "flange", data / "flange")
    (data / "empty" / "train" / "good").mkdir(parents=True)
    result = train(tmp_path / "out", "--data_path", data)
    assert result.code == 1
    assert "empty: 0 pictures to train with" in result.err.replace(str(data) + "/", "")
    assert "failed categories: empty" in result.err
    assert (tmp_path / "out" / "flange" / "best.pdparams").exists()


def test_plain_folders(demo, tmp_path):
    part = demo / "flange"
    folders = (
        *("--normal_dir", part / "train/good", "--test_normal_dir", part / "test/good"),
        *("--abnormal_dir", part / "test/chip", "--mask_dir", part / "ground_truth/chip"),
    )
    result = train(tmp_path, *folders, "--val", "--category", "mine")
    assert result.code == 0, result.err
    assert_closes_with(result.lines, "mine")
    metrics = json.loads((tmp_path / "mine" / "metrics.json").read_text())
    assert metrics["pictures"] == {"good": 4, "defective": 2}


def test_without_masks_pixel_figures_are_left_out(demo, tmp_path):
    part = demo / "flange"
    result = train(
        *(tmp_path, "--normal_dir", part / "train/good", "--val"),
        *("--test_normal_dir", part / "test/good", "--abnormal_dir", part / "test/chip"),
    )
    assert result.code == 0, result.err
    assert result.lines[-1] == "Class:custom: Pixel AUC: -"
    assert "pixel figures are left out" in result.err


def test_pictures_of_every_shape_and_mode_train_together(demo, tmp_path):
    normal = tmp_path / "normal"
    normal.mkdir()
    source = Image.open(next((demo / "flange/train/good").iterdir()))
    source.convert("L").save(normal / "grey.png")
    source.resize((150, 70)).save(normal / "wide.jpg")
    source.convert("RGBA").save(normal / "alpha.WEBP")
    source.convert("P").save(normal / "palette.bmp")
    source.convert("CMYK").save(normal / "cmyk.tif")
    grey16 = np.asarray(source.convert("L")).astype(np.uint16) * 257
    Image.fromarray(grey16).save(normal / "deep.png")
    result = train(tmp_path / "out", "--normal_dir", normal)
    assert result.code == 0, result.err
    assert checkpoint.load(tmp_path / "out/custom/best.pdparams")[1].pictures == 6


@pytest.mark.process
def test_the_whole_of_a_wide_picture(demo, tmp_path):
    result = call(
        *("train", "--data_path", demo, "--category", "flange", "--save_path", tmp_path, "--val"),
        *("--log_dir", tmp_path, "--dims", 10, "--resize", "64x128", "--img_size", "64x128"),
        *WEIGHTS,
    )
    assert result.code == 0, result.err
    arrays, record = checkpoint.load(tmp_path / "flange/best.pdparams")
    assert record.size == (64, 128)
    assert len(arrays["head.own0"]) == 4 * 8


def test_a_crop_that_sees_little_is_mentioned(tmp_path):
    normal = tmp_path / "normal"
    normal.mkdir()
    for i in range(2):
        Image.new("RGB", (400, 100), (i, 9, 9)).save(normal / f"{i}.png")
    result = train(tmp_path / "out", "--normal_dir", normal)
    assert "only 25 % of a 400×100 picture is looked at" in result.err


@pytest.mark.process
def test_skip_bad_goes_on_and_counts(demo, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(demo / "flange", data / "flange")
    (data / "flange/train/good/000.png").write_bytes(b"not a picture")
    (data / "flange/test/chip/000.png").write_bytes(b"not a picture")
    result = train(tmp_path / "out", "--data_path", data, "--val", "--skip_bad")
    assert result.code == 0, result.err
    assert result.err.count("1 pictures were skipped") == 2
    metrics = json.loads((tmp_path / "out/flange/metrics.json").read_text())
    assert metrics["skipped"] == 1
    assert metrics["model"]["n"] == 7


def test_runs_add_to_the_log_and_failures_are_in_it(demo, tmp_path):
    options = ("--data_path", demo, "--category", "weave")
    assert train(tmp_path, *options).code == 0
    assert checkpoint.load(tmp_path / "weave/best.pdparams")[1].calibration.best_f1 is None
    result = train(tmp_path, *options, "--reduction", "none")
    assert result.err.count("--reduction: none") == 1
    log = (tmp_path / "logs/weave.log").read_text()
    assert log.index("fitted on 8 pictures") < log.index("ERROR --reduction: none")


def test_a_run_leaves_no_log_handler_behind(trained):
    handlers = logging.getLogger().handlers
    assert not [h for h in handlers if isinstance(h, logging.FileHandler)]
