"""predict.py as a user calls it."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from common.calibration import Calibration
from models import checkpoint
from tests.conftest import NO_GRAPH, call, fails


@pytest.fixture
def chips(demo):
    return demo / "flange/test/chip"


def predict(trained, *arguments):
    model = trained / "flange" / "best.pdparams"
    return call("predict", "--model_path", model, *arguments)


@pytest.mark.process
def test_a_line_a_picture_with_path_score_and_verdict(trained, chips, tmp_path):
    result = predict(trained, "--picture_path", chips, "--save_path", tmp_path)
    assert result.code == 0, result.err
    rows = [line.split("\t") for line in result.lines]
    assert [row[0] for row in rows] == [str(chips / f"00{i}.png") for i in range(2)]
    assert all(float(row[1]) > 0 for row in rows)
    assert {row[2] for row in rows} <= {"good", "defective"}
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [".model.json", "000.png", "001.png"]


@pytest.mark.process
def test_alone_or_in_a_folder_a_picture_has_the_same_score(trained, demo, chips, tmp_path):
    options = ("--json", "--no-save_picture", "--batch_size", 5)
    folder = predict(trained, "--picture_path", demo / "flange/test", *options)
    together = {row["path"]: row["score"] for row in map(json.loads, folder.lines)}
    assert len(together) == 12
    alone = json.loads(predict(trained, "--picture_path", chips / "001.png", *options).out)
    assert together[alone["path"]] == pytest.approx(alone["score"], rel=1e-5)


def test_json_lines_and_raw_maps(trained, demo, tmp_path):
    result = predict(
        *(trained, "--picture_path", demo / "flange/test", "--json", "--save_picture", "False"),
        *("--save_map", tmp_path / "maps"),
    )
    assert result.code == 0, result.err
    rows = [json.loads(line) for line in result.lines]
    assert {"path", "score", "verdict", "threshold", "category", "map"} <= set(rows[0])
    for row in rows:
        anomaly_map = np.load(row["map"])
        assert anomaly_map.shape == (64, 64)
        assert anomaly_map.dtype == np.float32
        assert anomaly_map.max() == pytest.approx(row["score"], rel=1e-6)
    # Pictures of one name in several folders keep apart.
    assert len({row["map"] for row in rows}) == 12


def test_one_picture_to_one_file(trained, chips, tmp_path):
    target = tmp_path / "new" / "sheet.png"
    result = predict(trained, "--picture_path", chips / "000.png", "--save_path", target)
    assert result.code == 0, result.err
    assert Image.open(target).width > 800


def test_a_threshold_of_ones_own(trained, chips):
    for threshold, expected in ((0.001, "defective"), (1e6, "good")):
        result = predict(
            *(trained, "--picture_path", chips, "--no-save_picture", "--json"),
            *("--threshold", threshold, *NO_GRAPH),
        )
        assert {json.loads(line)["verdict"] for line in result.lines} == {expected}


def test_without_a_threshold_the_verdict_is_unknown(trained, chips, tmp_path):
    (tmp_path / "flange").mkdir()
    arrays, record = checkpoint.load(trained / "flange/best.pdparams")
    record = replace(record, calibration=Calibration())  # as --no-calibrate leaves it
    checkpoint.save(tmp_path / "flange/best.pdparams", arrays, record)
    options = ("--save_path", tmp_path / "sheets", *NO_GRAPH)
    result = predict(tmp_path, "--picture_path", chips, *options)
    assert result.code == 0, result.err
    assert {line.split("\t")[2] for line in result.lines} == {"unknown"}
    assert "no threshold" in result.err


def test_verdicts_agree_with_the_validation(trained, demo):
    result = predict(trained, "--picture_path", demo / "flange/test", "--no-save_picture")
    predicted = {line.split("\t")[0]: line.split("\t")[2] for line in result.lines}
    rows = (trained / "flange" / "scores.csv").read_text().splitlines()[1:]
    validated = {row.split(",")[0]: row.split(",")[5] for row in rows}
    assert predicted == validated


def test_a_bad_picture_does_not_keep_the_others_from_their_answers(trained, chips, tmp_path):
    folder = tmp_path / "in"
    shutil.copytree(chips, folder)
    (folder / "000a.png").write_bytes(b"no picture")
    options = ("--picture_path", folder, "--no-save_picture", *NO_GRAPH)
    result = predict(trained, *options)
    assert result.code == 1
    assert len(result.lines) == 2
    assert "000a.png" in result.err
    assert predict(trained, *options, "--skip_bad").code == 0


@pytest.mark.process
def test_pictures_of_one_stem_get_a_sheet_each(trained, chips, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.png", "a.jpg"):
        Image.open(chips / "000.png").save(folder / name)
    options = ("--picture_path", folder, "--save_path", tmp_path / "out", *NO_GRAPH)
    assert predict(trained, *options).code == 0
    assert sorted(p.name for p in (tmp_path / "out").glob("[a-z]*")) == ["a.jpg.png", "a.png.png"]


def test_a_sheet_never_overwrites_its_picture(trained, chips, tmp_path):
    folder = tmp_path / "in"
    shutil.copytree(chips, folder)
    before = (folder / "000.png").read_bytes()
    result = predict(trained, "--picture_path", folder, "--save_path", folder)
    fails(result, 2, "would overwrite")
    assert (folder / "000.png").read_bytes() == before


def test_several_pictures_do_not_fit_one_file(trained, chips, tmp_path):
    result = predict(trained, "--picture_path", chips, "--save_path", tmp_path / "one.png")
    fails(result, 2, "one.png", "2 pictures")


@pytest.mark.parametrize("make", [None, "folder"])
def test_no_pictures_is_wrong_use(trained, tmp_path, make):
    path = tmp_path / "none"
    if make:
        path.mkdir()
    fails(predict(trained, "--picture_path", path), 2, "--picture_path", path)


@pytest.mark.parametrize("threshold", ["much", "nan", "inf"])
def test_a_threshold_is_a_number(trained, chips, threshold):
    fails(predict(trained, "--picture_path", chips, "--threshold", threshold), 2, "--threshold")


def test_the_model_is_found_by_its_category(trained, chips, tmp_path, monkeypatch):
    (tmp_path / "output").mkdir()
    shutil.copytree(trained / "flange", tmp_path / "output" / "flange")
    monkeypatch.chdir(tmp_path)
    for options in ((), ("--category", "flange", "--no-save_picture")):
        result = call("predict", "--picture_path", chips, *options, *NO_GRAPH)
        assert result.code == 0, result.err
    assert len(list((tmp_path / "output/flange/predictions").glob("*.png"))) == 2
    fails(call("predict", "--picture_path", chips, "--category", "nut"), 2, "nut")


@pytest.mark.process
def test_layer_by_layer_the_scores_are_the_same(trained, chips, monkeypatch):
    options = ("--picture_path", chips, "--json", "--no-save_picture")
    static = predict(trained, *options)
    monkeypatch.setattr("models.predictor.open_predictor", None)  # what a graph would need
    dynamic = predict(trained, *options, "--to_static", "False", "--cpu_threads", 1)
    found = [[json.loads(line)["score"] for line in run.lines] for run in (static, dynamic)]
    assert len(found[0]) == 2 and found[1] == pytest.approx(found[0], rel=1e-4)


def test_layer_by_layer_there_is_no_other_precision(trained, chips):
    options = ("--picture_path", chips, "--to_static", "False", "--precision", "bf16")
    fails(predict(trained, *options), 2, "--to_static", "bf16")
