"""Validation with good test pictures only: the promised threshold needs no defect."""

import json
import shutil

import pytest

from models import checkpoint
from tests.conftest import NO_GRAPH, SMALL, call


@pytest.fixture(scope="module")
def validated(demo, tmp_path_factory):
    """The folder of a run of train.py --val True, and its output."""
    place = tmp_path_factory.mktemp("good_only")
    shutil.copytree(demo / "flange/train", place / "data/flange/train")
    shutil.copytree(demo / "flange/test/good", place / "data/flange/test/good")
    folders = ("--data_path", place / "data", "--save_path", place / "out")
    result = call(
        *("train", *folders, "--log_dir", place / "logs", *SMALL, *NO_GRAPH, "--val", "True"),
        *("--fpr", 0.2),
    )
    assert result.code == 0, result.err
    return place, result


def test_the_promise_is_measured_and_said(validated):
    place, result = validated
    metrics = json.loads((place / "out/flange/metrics.json").read_text())
    promise, threshold = metrics["promise"], metrics["threshold"]
    assert metrics["threshold_from"] == "fpr" and threshold == promise["threshold"] > 0
    assert (promise["good"], promise["defective"], promise["recall"]) == (4, 0, None)
    assert f"threshold {threshold:.6g} for a false-alarm rate of 0.2" in result.out
    assert "false alarms" in result.out
    assert (place / "out/flange/report.html").exists()


def test_the_model_keeps_the_threshold(validated, demo):
    place, _ = validated
    model = place / "out/flange/best.pdparams"
    threshold = json.loads((place / "out/flange/metrics.json").read_text())["threshold"]
    calibration = checkpoint.load_record(model).calibration
    assert calibration.rule(0.2).threshold == pytest.approx(threshold)
    options = ("--picture_path", demo / "flange/test", "--no-save_picture", "--fpr", 0.2)
    result = call("predict", "--model_path", model, *options, *NO_GRAPH)
    verdicts = {line.split("\t")[2] for line in result.lines}
    assert verdicts == {"good", "defective"}


def test_val_alone_does_the_same(validated):
    place, _ = validated
    model = place / "out/flange/best.pdparams"
    before = model.read_bytes()
    options = ("--data_path", place / "data", "--category", "flange", "--fpr", 0.2)
    result = call("val", *options, "--save_path", place / "again", "--model_path", model, *NO_GRAPH)
    assert result.code == 0, result.err
    again = json.loads((place / "again/flange/metrics.json").read_text())
    first = json.loads((place / "out/flange/metrics.json").read_text())
    assert {**again["promise"], "threshold": 0} == {**first["promise"], "threshold": 0}
    assert model.read_bytes() == before
