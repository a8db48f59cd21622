"""Options of calibration, as a user gives them to the scripts."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models import checkpoint
from models.methods import METHODS
from tests.conftest import NO_GRAPH, SMALL, call, fails


def train(output: Path, *arguments):
    logs = ("--log_dir", output / "logs")
    return call("train", "--save_path", output, *logs, *SMALL, *NO_GRAPH, *arguments)


def record_of(output: Path, category: str = "flange"):
    return checkpoint.load_record(output / category / "best.pdparams")


@pytest.fixture
def flange(demo) -> tuple:
    return "--data_path", demo, "--category", "flange"


@pytest.fixture(scope="module")
def uncalibrated(demo, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("uncalibrated")
    data = ("--data_path", demo, "--category", "flange")
    result = train(output, *data, "--calibrate", "False")
    assert result.code == 0, result.err
    return output


@pytest.mark.parametrize("fpr", ["0", "-0.1", "0.6", "1", "nan", "inf", "1e-12", "often", ""])
@pytest.mark.parametrize("script", ["train", "val", "predict", "infer"])
def test_a_rate_out_of_range_is_refused(script, fpr):
    needed = {"predict": ("--picture_path", "."), "infer": ("-i", ".")}.get(script, ())
    fails(call(script, *needed, f"--fpr={fpr}"), 2, "--fpr")


def test_training_tells_the_threshold_and_what_it_can_promise(trained):
    log = (trained / "logs" / "flange.log").read_text()
    assert "for a false-alarm rate of 0.01, EXTRAPOLATED: 8 good pictures left out one by" in log
    assert "a rate of 0.11 at best; 0.01 needs 99" in log


def test_metrics_have_the_promise_and_the_scores_of_good_pictures(trained):
    metrics = json.loads((trained / "flange" / "metrics.json").read_text())
    promise, normal = metrics["promise"], metrics["normal"]
    assert (promise["fpr"], promise["extrapolated"], promise["smallest_fpr"]) == (0.01, True, 1 / 9)
    assert (promise["good"], promise["defective"]) == (4, 8)
    assert promise["false_alarm_rate"] == promise["false_alarms"] / 4
    assert promise["recall"] == promise["found"] / 8
    for name in ("false_alarm", "recall"):
        low, high = promise[f"{name}_interval"]
        rate = promise["recall" if name == "recall" else "false_alarm_rate"]
        assert 0 <= low <= rate + 1e-9 and rate - 1e-9 <= high <= 1
    assert (metrics["threshold_from"], metrics["threshold"]) == ("fpr", promise["threshold"])
    assert (normal["pictures"], normal["source"]) == (8, "left out one by one")
    assert normal["image"] == sorted(normal["image"]) and normal["ranks"] == list(range(8))
    assert metrics["seconds"]["fit"] > 0 and metrics["seconds"]["picture"] > 0
    with (trained / "flange" / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    called = {"good": 0, "defective": 0}
    for row in rows:
        bad, count = (
            row["verdict"] == "defective",
            sum(score >= float(row["score"]) - 1e-6 for score in normal["image"]),
        )
        assert bad == (float(row["score"]) >= promise["threshold"])
        assert float(row["p_value"]) == pytest.approx((1 + count) / 9, rel=1e-5)
        called["good" if row["kind"] == "good" else "defective"] += bad
    assert called == {"good": promise["false_alarms"], "defective": promise["found"]}


def test_no_label_is_read_in_training(trained, demo, tmp_path):
    """Without the folder of test pictures and masks the same model comes out."""
    part = tmp_path / "data" / "flange"
    shutil.copytree(demo / "flange" / "train", part / "train")
    options = ("--data_path", tmp_path / "data", "--category", "flange")
    for output, data in ((tmp_path / "a", demo), (tmp_path / "b", tmp_path / "data")):
        result = train(output, "--data_path", data, "--category", "flange")
        assert result.code == 0, result.err
    (ours, record), (theirs, other) = (
        checkpoint.load(tmp_path / name / "flange" / "best.pdparams") for name in "ab"
    )
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        np.testing.assert_array_equal(theirs[name], array)
    assert record == other and record.calibration.normal.pictures == 8
    assert record.calibration.best_f1 is None
    fails(train(tmp_path / "c", *options, "--val"), 2, "test")


def test_without_calibration_there_is_no_promise(uncalibrated, demo, flange, tmp_path):
    record = record_of(uncalibrated)
    assert (record.calibration.normal, record.calibration.best_f1) == (None, None)
    assert not (uncalibrated / "flange" / "training.csv").exists()
    picture = demo / "flange" / "test" / "chip" / "000.png"
    model = ("--model_path", uncalibrated / "flange", *NO_GRAPH)
    judging = ("predict", *model, "--picture_path", picture, "--no-save_picture")
    result = call(*judging, "--json")
    row = json.loads(result.out)
    assert (row["verdict"], row["p_value"], row["normalised"]) == ("unknown", None, None)
    assert row["regions"] == [] and "the model has no threshold" in result.err
    problem = "the model has no scores of good pictures"
    fails(call(*judging, "--threshold_from", "fpr"), 2, "--threshold_from", problem)
    fails(call(*judging, "--threshold_from", "f1"), 2, "has no thresholds of best F1")
    validating = ("val", *flange, *model, "--save_path", tmp_path, "--no-save_picture")
    fails(call(*validating, "--threshold_from", "fpr"), 2, "--threshold_from", problem)
    assert not (tmp_path / "flange" / "metrics.json").exists()
    result = call(*validating, "--calibrate", "False")
    assert result.code == 0, result.err
    metrics = json.loads((tmp_path / "flange" / "metrics.json").read_text())
    assert (metrics["promise"], metrics["normal"]) == (None, None)
    assert (metrics["threshold_from"], metrics["seconds"]["fit"]) == ("f1", None)


def test_the_threshold_of_best_f1_stays_available(flange, tmp_path):
    """Also in training, where it is not known before the validation."""
    result = train(tmp_path, *flange, "--val", "--threshold_from", "f1")
    assert result.code == 0, result.err
    metrics = json.loads((tmp_path / "flange" / "metrics.json").read_text())
    assert metrics["threshold_from"] == "f1"
    assert metrics["threshold"] == metrics["image"]["threshold"]
    promise = metrics["promise"]  # what the promised threshold does is told beside it
    assert promise["fpr"] == 0.01 and promise["threshold"] != metrics["threshold"]
    assert train(tmp_path, *flange, "--threshold_from", "f1").code == 0


@pytest.mark.parametrize("own", [True, False])
def test_good_pictures_of_a_folder_calibrate_instead(own, demo, flange, tmp_path):
    folder = tmp_path / "good" / ("flange" if own else "")
    shutil.copytree(demo / "flange" / "test" / "good", folder)
    if own:
        (tmp_path / "good" / "other.png").write_bytes(b"is not read")
    result = train(tmp_path / "out", *flange, "--calibration_dir", tmp_path / "good")
    assert result.code == 0, result.err
    normal = record_of(tmp_path / "out").calibration.normal
    assert (normal.pictures, normal.source) == (4, "held out")
    assert "from a" not in result.err and "4 good pictures held out" in result.err
    assert not (tmp_path / "out" / "flange" / "training.csv").exists()


def test_a_folder_for_each_of_several_categories(demo, tmp_path):
    for name in ("flange", "weave"):
        shutil.copytree(demo / name / "test" / "good", tmp_path / "good" / name)
    data = ("--data_path", demo, "--category", "all")
    options = (*data, "--calibration_dir", tmp_path / "good")
    assert train(tmp_path / "out", *options).code == 0
    assert record_of(tmp_path / "out", "weave").calibration.normal.source == "held out"
    shutil.rmtree(tmp_path / "good" / "weave")
    result = train(tmp_path / "out", *options)
    assert result.code == 1 and "weave: --calibration_dir" in result.err


def test_calibration_folders_that_do_not_serve_are_refused_before_the_work(flange, tmp_path):
    empty, one = tmp_path / "empty", tmp_path / "one"
    empty.mkdir(), one.mkdir()
    Image.new("RGB", (96, 96)).save(one / "0.png")
    for folder, problem in (
        *((tmp_path / "none", "no such folder"), (empty, "0 good pictures")),
        (one, "1 good pictures; calibration needs at least 2"),
    ):
        result = train(tmp_path / "out", *flange, "--calibration_dir", folder)
        fails(result, 2, "--calibration_dir", folder, problem)
        assert not (tmp_path / "out" / "flange" / "best.pdparams").exists()


def test_a_calibration_picture_that_cannot_be_read(demo, flange, tmp_path):
    folder = tmp_path / "good"
    shutil.copytree(demo / "flange" / "test" / "good", folder)
    (folder / "000.png").write_bytes(b"not a picture")
    options = (*flange, "--calibration_dir", folder)
    fails(train(tmp_path / "out", *options), 1, folder / "000.png", "--skip_bad skips it")
    result = train(tmp_path / "out", *options, "--skip_bad")
    assert result.code == 0, result.err
    assert record_of(tmp_path / "out").calibration.normal.pictures == 3
    for name in ("001.png", "002.png"):
        (folder / name).write_bytes(b"not a picture")
    result = train(tmp_path / "new", *options, "--skip_bad")
    fails(result, 1, "only 1 of the 4 pictures in --calibration_dir can be read")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--audit", "True"), ("--audit", "--calibrate True")),
        (("--calibration_dir", "."), ("--calibration_dir", "--calibrate True")),
        (("--threshold_from", "fpr", "--val"), ("--threshold_from", "--calibrate True")),
    ],
)
def test_options_that_need_calibration_are_refused_without(options, words, flange, tmp_path):
    fails(train(tmp_path, *flange, "--calibrate", "False", *options), 2, *words)


def test_the_audit_is_of_the_training_pictures(flange, tmp_path):
    options = (*flange, "--calibration_dir", tmp_path, "--audit")
    fails(train(tmp_path, *options), 2, "--audit", "--calibration_dir has others")


@pytest.mark.parametrize("method", METHODS)
def test_the_audit_names_a_defective_picture_and_exclude_leaves_it_out(method, demo, tmp_path):
    good = tmp_path / "good"
    shutil.copytree(demo / "flange" / "train" / "good", good)
    with Image.open(good / "000.png") as image:
        picture = np.array(image.convert("RGB"))
    picture[30:50, 40:60] = (0, 255, 0)
    Image.fromarray(picture).save(good / "planted.png")
    sizes = [word for i, word in enumerate(SMALL) if "--dims" not in SMALL[max(0, i - 1) : i + 1]]
    run = ("train", "--normal_dir", good, "--method", method, *sizes, *NO_GRAPH)
    run += ("--log_dir", tmp_path, "--save_path", tmp_path / "out")
    result = call(*run, "--audit", "True")
    assert result.code == 0, result.err
    folder = tmp_path / "out" / "custom"
    with (folder / "training.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 9 and Path(rows[0]["path"]).name == "planted.png"
    with Image.open(folder / "audit.png") as sheet:
        assert sheet.width > 500
    # What is there afterwards is of the model that is there.
    (tmp_path / "bad.txt").write_text("planted.png\n")
    result = call(*run, "--exclude", tmp_path / "bad.txt")
    assert result.code == 0, result.err
    assert "1 training pictures are left out" in result.err
    assert record_of(tmp_path / "out", "custom").pictures == 8
    assert "planted.png" not in (folder / "training.csv").read_text()
    assert not (folder / "audit.png").exists()
    assert call(*run, "--calibrate", "False").code == 0
    assert not (folder / "training.csv").exists()


def test_exclude_of_unknown_pictures_is_refused(flange, demo, tmp_path):
    file = tmp_path / "bad.txt"
    file.write_text("train/good/000.png\nno.png\n")
    fails(train(tmp_path, *flange, "--exclude", file), 2, "--exclude", file, "no.png")
    result = train(tmp_path, "--data_path", demo, "--exclude", file)  # of all categories
    assert result.code == 0, result.err
    assert {record_of(tmp_path, name).pictures for name in ("flange", "weave")} == {7}
    file.write_text("\n".join(f"00{i}.png" for i in range(7)))
    fails(train(tmp_path, *flange, "--exclude", file), 2, "1 pictures to train with")
