"""train.py --folds: left-out scores beside those of models fitted without a part."""

import json
import logging
import re

import numpy as np
import pytest
from PIL import Image
from scipy.stats import ks_2samp

from common.preprocessing import Preprocessing
from evaluation.folds import FoldCheck
from inspection.normal import LEFT_OUT, NormalPictures
from models.engine import Engine
from models.factory import build_detector
from models.kept import KeptMaps
from tasks.folds import check_folds
from tests.conftest import NO_GRAPH, SMALL, call, fails

IMAGES = np.random.default_rng(3).standard_normal((9, 3, 64, 64)).astype(np.float32)


@pytest.fixture
def detector():
    return build_detector(
        pretrained_backbone="random",
        backbone="resnet18",
        dims=6,
        preprocessing=Preprocessing(64, (64, 64)),
        engine=Engine(device="cpu", static=False),
    )


def fitted(detector, images, kept=None):
    detector.fit([images[start : start + 4] for start in range(0, len(images), 4)], kept)
    return detector


def found_of(scores) -> NormalPictures:
    return NormalPictures(LEFT_OUT, image=[float(score) for score in scores])


def test_each_score_is_that_of_a_model_without_its_part(detector, tmp_path):
    with KeptMaps(tmp_path) as kept:
        fitted(detector, IMAGES, kept)
        learned = detector.head
        check_folds(detector, kept, found_of(range(9)), 3, 0.2, tmp_path)
    assert detector.head is learned
    found = json.loads((tmp_path / "folds.json").read_text())["k_fold"]["scores"]
    for i in range(9):
        others = IMAGES[[j for j in range(9) if j % 3 != i % 3]]
        expected = fitted(detector, others).score(IMAGES[i : i + 1]).image[0]
        assert found[i] == pytest.approx(expected, rel=1e-4)


def test_the_check_is_limited_to_pictures_whose_maps_are_kept(detector, tmp_path, caplog):
    with KeptMaps(tmp_path) as size:
        fitted(detector, IMAGES[:4], size)
        room = sum(4 * np.prod(shape) for shape in size.shapes[0])
    with KeptMaps(tmp_path, int(room)) as kept, caplog.at_level(logging.INFO):
        fitted(detector, IMAGES, kept)
        check_folds(detector, kept, found_of(range(9)), 2, 0.2, tmp_path)
    assert "limited to the first 4 of 9 training pictures" in caplog.text
    record = json.loads((tmp_path / "folds.json").read_text())
    assert record["pictures"] == 4
    assert record["left_out"]["scores"] == [0, 1, 2, 3]


def test_scores_that_are_not_finite_are_not_compared(detector, tmp_path, caplog):
    with KeptMaps(tmp_path) as kept:
        fitted(detector, IMAGES, kept)
        check_folds(detector, kept, found_of([np.inf, *range(8)]), 2, 0.2, tmp_path)
    assert "no check of folds" in caplog.text
    assert not (tmp_path / "folds.json").exists()


def test_figures_of_a_check():
    left_out, k_fold = np.arange(20.0), np.arange(20.0) + 3.5
    check = FoldCheck(5, 0.1, left_out, k_fold)
    thresholds = [threshold.value for threshold in check.thresholds]
    assert thresholds == pytest.approx([18, 21.5])  # the 19th of 20 scores
    assert check.above == 5  # 18.5 to 22.5
    assert check.distance[0] == pytest.approx(0.2)
    assert check.distance[1] == pytest.approx(ks_2samp(left_out, k_fold).pvalue)
    assert "18 left out one by one, 21.5 by folds; 5 of 20" in check.text()
    assert "(extrapolated)" in FoldCheck(5, 0.01, left_out, k_fold).text()


def test_the_script_writes_plot_and_figures(demo, tmp_path):
    data = ("--data_path", demo, "--category", "flange", "--save_path", tmp_path)
    run = (*data, "--log_dir", tmp_path, *SMALL, *NO_GRAPH, "--fpr", "0.2")
    result = call("train", *run, "--folds", 4)
    assert result.code == 0, result.err
    lines = re.findall(r"4 folds: threshold for a false-alarm rate of 0.2.*", result.err)
    assert len(lines) == 1
    assert "Kolmogorov-Smirnov distance" in lines[0]
    folder = tmp_path / "flange"
    record = json.loads((folder / "folds.json").read_text())
    rows = [line.split(",") for line in (folder / "training.csv").read_text().splitlines()[1:]]
    highest = sorted(record["left_out"]["scores"], reverse=True)
    assert [float(row[1]) for row in rows] == pytest.approx(highest, abs=1e-5)
    with Image.open(folder / "folds.png") as image:
        assert min(image.size) > 400


def test_checks_that_cannot_work_are_refused(demo, tmp_path):
    data = ("--data_path", demo, "--category", "flange", "--save_path", tmp_path)
    run = ("train", *data, "--log_dir", tmp_path, *SMALL, *NO_GRAPH, "--folds")
    fails(call(*run, 9), 2, "--folds", "8 training pictures", "need 9")
    fails(call(*run, 1), 2, "--folds", "from 2")
    fails(call(*run, 2, "--calibrate", "False"), 2, "--folds", "--calibrate True")
    others = ("--calibration_dir", demo / "flange" / "train" / "good")
    fails(call(*run, 2, *others), 2, "--folds", "--calibration_dir")
