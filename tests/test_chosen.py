"""Which pictures predict.py and infer.py judge, and where their results go."""

import io
import os
import shutil
import sys

import pytest

from models import checkpoint
from tasks.owned import warn_of_results
from tests.conftest import NO_GRAPH, call, fails


@pytest.fixture
def place(demo, tmp_path, monkeypatch):
    """The working folder, with two pictures of one name in it."""
    for kind in ("chip", "rust"):
        (tmp_path / kind).mkdir()
        shutil.copy(demo / f"flange/test/{kind}/000.png", tmp_path / kind)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def other(model, tmp_path):
    """Another model of the same category, with other arrays."""
    arrays, record = checkpoint.load(model)
    name = next(name for name in arrays if name.startswith("head.mean"))
    path = tmp_path / "other.pdparams"
    checkpoint.save(path, arrays | {name: arrays[name] + 0.01}, record)
    return path


def predict(model, *arguments):
    return call("predict", "--model_path", model, *NO_GRAPH, *arguments)


def names(folder) -> list[str]:
    return sorted(os.path.relpath(path, folder) for path in folder.rglob("*.png"))


def test_several_pictures_and_folders(model, place):
    result = predict(model, "--picture_path", "chip/000.png", "rust", "chip", "--save_path", "out")
    assert result.code == 0, result.err
    assert [line.split("\t")[0] for line in result.lines] == ["chip/000.png", "rust/000.png"]
    assert names(place / "out") == ["chip/000.png", "rust/000.png"]


def test_a_list_on_stdin(model, place, monkeypatch):
    content = b"rust/000.png\n\nchip/000.png\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    result = predict(model, "--picture_path", "-", "--no-save_picture")
    assert [line.split("\t")[0] for line in result.lines] == ["rust/000.png", "chip/000.png"]


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"\n", "no paths on stdin"), (b"rust/000.png\nrust/none.png\n", "rust/none.png: no such")],
)
def test_a_list_that_names_nothing(model, place, monkeypatch, content, words):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    fails(predict(model, "--picture_path", "-"), 2, "--picture_path", words)
    assert not (place / "output").exists()


@pytest.mark.process
def test_infer_takes_several_and_saves_sheets_where_it_is_told(exported, place):
    result = call("infer", "--model_dir", exported, "-i", "chip", "rust", "--save_path", "sheets")
    assert result.code == 0, result.err
    assert names(place / "sheets") == ["chip/000.png", "rust/000.png"]
    assert f"sheets: {'sheets'}\n" in result.err
    silent = call("infer", "--model_dir", exported, "-i", "chip")
    assert silent.code == 0 and "sheets" not in silent.err


def test_a_folder_without_sheets_is_warned_of(model, place):
    options = ("--picture_path", "chip", "--no-save_picture", "--save_path", "out")
    result = predict(model, *options)
    assert "--save_path has no effect" in result.err and not (place / "out").exists()


def test_the_folders_are_said(model, place):
    result = predict(model, "--picture_path", "chip", "--save_map", "m", "--save_mask", "k")
    last = result.err.splitlines()[-3:]
    assert last == ["sheets: output/flange/predictions", "maps: m", "masks: k"]
    one = predict(model, "--picture_path", "chip", "--save_path", "sheet.png")
    assert one.err.splitlines()[-1] == "sheet: sheet.png"


def test_another_models_sheets_are_not_overwritten(model, other, place):
    assert predict(model, "--picture_path", "chip").code == 0
    usual = place / "output/flange/predictions"
    before = (usual / "000.png").read_bytes()
    for _ in range(2):  # the second time it has a folder
        result = predict(other, "--picture_path", "chip")
        assert "sheets: output/flange/predictions_2" in result.err
    assert (usual / "000.png").read_bytes() == before
    assert names(place / "output/flange") == ["predictions/000.png", "predictions_2/000.png"]


@pytest.mark.parametrize("option", ["save_path", "save_map", "save_mask"])
def test_nor_in_a_folder_that_is_named(model, other, place, option):
    options = ("--picture_path", "chip", "--no-save_picture")
    options += ("--save_picture",) if option == "save_path" else ()
    assert predict(model, *options, f"--{option}", "named").code == 0
    refused = predict(other, *options, f"--{option}", "named")
    fails(refused, 2, f"--{option}", "another model", model, ".model.json")
    (place / "named/.model.json").unlink()  # as the message says
    assert predict(other, *options, f"--{option}", "named").code == 0


def test_a_model_that_is_trained_again_or_moved_keeps_its_folder(model, other, place):
    mine = shutil.copy(model, place / "mine.pdparams")
    options = ("--picture_path", "chip", "--save_path", "out")
    assert predict(mine, *options).code == 0
    shutil.copy(other, mine)
    assert predict(mine, *options).code == 0
    shutil.move(mine, place / "moved.pdparams")
    assert predict(place / "moved.pdparams", *options).code == 0


def test_a_validation_warns_before_it_replaces_results_of_another_model(trained, other, caplog):
    warn_of_results(trained / "flange", trained / "flange/best.pdparams")
    warn_of_results(other.parent, other)
    assert not caplog.messages
    warn_of_results(trained / "flange", other)
    assert "are replaced; another --save_path keeps them" in caplog.text
    assert str(trained / "flange/best.pdparams") in caplog.text
