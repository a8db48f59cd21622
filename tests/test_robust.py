"""Signals, full disks, unusual names, damaged models, and two runs at the same time."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from common.calibration import Calibration
from common.errors import WorkError
from common.names import target_names
from common.preprocessing import Preprocessing
from models import checkpoint
from models.backbones.sources import EMBEDDED
from tests.conftest import NO_GRAPH, SMALL, call, fails
from tests.test_checkpoint import RECORD

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def model(trained, tmp_path) -> Path:
    """A copy of a trained model, to be damaged."""
    return shutil.copy(trained / "flange" / "best.pdparams", tmp_path / "best.pdparams")


def predict(model, pictures, *arguments):
    options = ("--model_path", model, "--picture_path", pictures, *NO_GRAPH)
    return call("predict", *options, *arguments)


def test_a_model_whose_scores_are_no_numbers_judges_nothing(model, demo):
    arrays, record = checkpoint.load(model)
    arrays["head.own0"][0, 0] = np.nan
    checkpoint.save(model, arrays, record)
    result = predict(model, demo / "flange/test/chip", "--no-save_picture")
    fails(result, 1, "own0", "not finite", model)
    assert result.out == ""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s["bn1.weight"].__imul__(np.float16(60000)), "covariance"),
        (lambda s: s["bn1.running_var"].__imul__(-1), "negative: bn1.running_var"),
    ],
)
def test_weights_that_cannot_work(demo, tmp_path, change, words):
    state = {
        key: array.astype(np.float32) for key, array in load_file(EMBEDDED["resnet18"]).items()
    }
    for _ in range(3):
        change(state)
    save_file(state, tmp_path / "w.safetensors")
    result = call(
        *("train", "--data_path", demo, "--category", "flange", "--save_path", tmp_path / "out"),
        *("--log_dir", tmp_path, *SMALL, *NO_GRAPH),
        *("--pretrained_backbone", tmp_path / "w.safetensors"),
    )
    fails(result, 1, words, "w.safetensors")


def test_a_full_disk_is_failed_work(trained, tmp_path, monkeypatch):
    def full(arrays, path, metadata):
        raise SafetensorError("No space left on device")

    monkeypatch.setattr("safetensors.numpy.save_file", full)
    with pytest.raises(WorkError, match=r"best\.pdparams: cannot be written: No space"):
        checkpoint.save(tmp_path / "best.pdparams", {"a": np.ones(2)}, RECORD)
    assert not list(tmp_path.iterdir())


def start(model, pictures, out, **environment):
    command = [sys.executable, "predict.py", "--model_path", model, "--picture_path", pictures]
    return subprocess.Popen(
        [*map(str, command), "--save_path", str(out), "--batch_size", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **environment},
        cwd=ROOT,
        text=True,
    )


@pytest.mark.process
def test_terminated_it_leaves_results_alone_on_stdout_and_no_temporary_file(model, demo, tmp_path):
    process = start(model, demo / "flange/test", tmp_path / "out")
    first = process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 143, err
    assert all(line.count("\t") == 2 for line in (first + out).splitlines())
    assert len(out.splitlines()) < 11
    assert err.splitlines()[-1] == "error: terminated"
    assert not [path for path in (tmp_path / "out").rglob("*") if ".tmp" in path.name]


def test_a_model_that_is_replaced_after_its_record_was_read_is_validated(
    trained, model, demo, tmp_path, monkeypatch
):
    """The one that takes its place has another picture size."""
    arrays, record = checkpoint.load(model)
    replaced = replace(record, preprocessing=Preprocessing(32, (32, 32)), pictures=2)
    monkeypatch.setattr(
        "tasks.validation.tell_crop", lambda *_: checkpoint.save(model, arrays, replaced)
    )
    result = call(
        *("val", "--data_path", demo, "--category", "flange", "--model_path", model),
        *("--save_path", tmp_path / "out"),
    )
    assert result.code == 0, result.err
    assert "was changed by another process" in result.err
    ours, theirs = (folder / "flange/scores.csv" for folder in (tmp_path / "out", trained))
    assert ours.read_text() == theirs.read_text()
    assert checkpoint.load_record(model).size == (32, 32)


def test_a_model_trained_anew_meanwhile_is_left_alone(trained, model, demo, tmp_path, monkeypatch):
    def write_anew(*_):
        shutil.copy(trained / "flange/best.pdparams", model)
        os.utime(model, (1, 1))

    monkeypatch.setattr("tasks.validation.draw_sheets", write_anew)
    result = call(
        *("val", "--data_path", demo, "--category", "flange", "--model_path", model),
        *("--save_path", tmp_path / "out", *NO_GRAPH),
    )
    assert result.code == 0, result.err
    assert "changed by another process during validation" in result.err
    assert model.stat().st_mtime == 1


@pytest.mark.process
def test_validating_on_another_category_keeps_the_models_own_thresholds(model, demo, tmp_path):
    before = model.read_bytes()
    arguments = ("--data_path", demo, "--category", "weave", "--model_path", model)
    arguments += ("--save_path", tmp_path / "out", "--no-save_picture", *NO_GRAPH)
    result = call("val", *arguments)
    assert result.code == 0, result.err
    assert "trained on category flange, not weave" in result.err
    assert model.read_bytes() == before
    assert call("val", *arguments, "--calibrate").code == 0
    assert model.read_bytes() != before


def test_figures_of_an_earlier_run_do_not_stay_beside_new_ones(trained, model, demo, tmp_path):
    shutil.copytree(trained / "flange", tmp_path / "out" / "custom")
    result = call(
        *("val", "--test_normal_dir", demo / "flange/test/good", "--model_path", model),
        *("--save_path", tmp_path / "out", *NO_GRAPH),
    )
    assert result.code == 0, result.err
    assert "Class:custom: Image AUC: -" in result.out
    assert not (tmp_path / "out/custom/roc.png").exists()
    assert len(list((tmp_path / "out/custom/pictures").iterdir())) == 4


def test_test_pictures_none_of_which_decodes(model, tmp_path):
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "0.png").write_bytes(b"?")
    arguments = ("--abnormal_dir", bad, "--model_path", model, "--save_path", tmp_path / "out")
    fails(call("val", *arguments, "--skip_bad"), 1, bad, "none of the test pictures can be read")


def test_a_sheet_that_cannot_be_written_costs_no_answer(model, demo, tmp_path):
    (tmp_path / "out" / "000.png").mkdir(parents=True)
    result = predict(model, demo / "flange/test/chip", "--save_path", tmp_path / "out", "--json")
    assert result.code == 1
    assert [("picture" in json.loads(line)) for line in result.lines] == [False, True]
    assert "1 files could not be written" in result.err


def test_sheets_among_the_pictures_are_not_judged_the_next_time(model, demo, tmp_path):
    pictures = tmp_path / "in"
    shutil.copytree(demo / "flange/test/chip", pictures)
    for option in ("--save_picture", "--no-save_picture"):
        result = predict(model, pictures, "--save_path", pictures / "sheets", option)
        assert result.code == 0, result.err
        assert len(result.lines) == 2


def test_links_to_folders_are_followed_once(model, demo, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "chip").symlink_to(demo / "flange/test/chip")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    result = predict(model, tmp_path / "in", "--no-save_picture")
    assert len(result.lines) == 2


@pytest.mark.process
@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_names_that_are_no_text_get_their_line_without_a_home_folder_too(model, demo, tmp_path):
    pictures = tmp_path / "in"
    pictures.mkdir()
    for name in (b"bad\xff.png", b"two\nlines.png", "图 $a$.png".encode()):
        shutil.copy(demo / "flange/test/chip/000.png", os.fsencode(pictures) + b"/" + name)
    process = start(model, pictures, tmp_path / "out", HOME="/dev/null")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert len(out.splitlines()) == 3
    assert "two\\nlines.png" in out


@pytest.mark.parametrize("option", ["--picture_path", "--model_path"])
def test_names_too_long_for_the_system_are_no_traceback(model, demo, option):
    arguments = {"--picture_path": demo, "--model_path": model, option: "x" * 300}
    result = call("predict", *(part for pair in arguments.items() for part in pair))
    assert result.code in (1, 2)
    assert len(result.err.splitlines()) == 1


@pytest.mark.parametrize("name", ["../../x", "a/b", "", "a\nb"])
def test_a_category_never_leads_out_of_the_output(demo, tmp_path, name):
    result = call(
        *("train", "--normal_dir", demo / "flange/train/good", "--save_path", tmp_path / "out"),
        *("--category", name, *SMALL),
    )
    fails(result, 2, "--category")


def test_a_file_of_figures_that_is_something_else(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/metrics.json").write_text("[]")
    fails(call("evaluation.summary", tmp_path), 1, "metrics.json", "val.py")


def test_every_picture_has_a_target_of_its_own():
    names = ["x.png", "x.jpg", "x.png.bmp", "y.tif", "a/x.png", "_x.png.png"]
    targets = target_names(map(Path, names), ".png")
    assert len(set(targets)) == len(names)
    assert targets[3:5] == [Path("y.png"), Path("a/x.png")]


def test_targets_of_long_names_are_short_and_stay_different():
    names = ["a" * 251 + ".png", "a" * 250 + "b.png", "é" * 120 + ".v2.x.png", "a.b" + "c" * 252]
    names += [os.fsdecode(b"\xff" * 250 + b".png"), "a" * 255]
    targets = target_names([Path("d") / name for name in names], ".npy")
    assert len(set(targets)) == len(names)
    for target in targets:
        assert target.parent == Path("d") and target.suffix == ".npy"
        assert len(os.fsencode(target.name)) <= 250
    assert target_names([Path("a" * 230 + ".png")], ".npy") == [Path("a" * 230 + ".npy")]


@pytest.mark.process
def test_long_names_cost_a_validation_nothing(trained, model, demo, tmp_path):
    data = shutil.copytree(demo / "flange/test", tmp_path / "data/flange/test")
    long = "c" * 251 + ".png"
    (data / "chip/000.png").rename(data / "chip" / long)
    for kind in ("good", "chip"):
        masks = tmp_path / "data/flange/ground_truth" / kind
        masks.mkdir(parents=True)
    before = checkpoint.load_record(model)
    checkpoint.save(model, checkpoint.load(model)[0], replace(before, calibration=Calibration()))
    result = call(
        *("val", "--data_path", tmp_path / "data", "--category", "flange", "--save_picture"),
        *("--model_path", model, "--save_path", tmp_path / "out", "--html"),
    )
    assert result.code == 0, result.err
    assert checkpoint.load_record(model).calibration.best_f1 is not None
    sheets = [path.name for path in (tmp_path / "out/flange/pictures").iterdir()]
    assert [name for name in sheets if name.startswith("chip_ccc")]
    assert len(sheets) == len(list(data.rglob("*.png")))
    assert long in (tmp_path / "out/flange/scores.csv").read_text()
    judged = predict(
        *(model, data / "chip", "--save_path", tmp_path / "judged"),
        *("--save_map", tmp_path / "maps", "--save_mask", tmp_path / "masks"),
    )
    assert judged.code == 0, judged.err
    for name in ("judged", "maps", "masks"):
        assert len(list((tmp_path / name).glob("[!.]*"))) == 2
