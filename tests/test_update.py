"""`train.py --update MODEL`: pictures are added to a model, or taken out again."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from models import checkpoint
from tests.conftest import NO_GRAPH, SMALL, call, fails

METHODS = ("padim", "patchcore", "spade")


def update(model: Path, output: Path, *arguments):
    return call(
        *("train", "--update", model, "--save_path", output, "--log_dir", output / "logs"),
        *("--batch_size", 4, *NO_GRAPH, *arguments),
    )


def record_of(output: Path):
    return checkpoint.load_record(output / "flange" / "best.pdparams")


def assert_same(ours: Path, theirs: Path, rtol: float):
    (found, record), (wanted, other) = (
        checkpoint.load(p / "best.pdparams") for p in (ours, theirs)
    )
    assert record.pictures == other.pictures and found.keys() == wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_allclose(found[name], array, rtol=rtol, atol=rtol * np.abs(array).max())


@pytest.fixture(scope="module")
def shards(demo, tmp_path_factory) -> tuple[Path, Path]:
    """Folders with the first 5 and the last 3 training pictures."""
    root = tmp_path_factory.mktemp("shards")
    pictures = sorted((demo / "flange" / "train" / "good").iterdir())
    for name, part in (("old", pictures[:5]), ("new", pictures[5:])):
        (root / name).mkdir()
        for path in part:
            shutil.copy(path, root / name)
    return root / "old", root / "new"


@pytest.fixture(scope="module")
def trained_on(shards, demo, tmp_path_factory):
    """Models of the first 5 pictures and of all, by method; trained once."""
    found = {}

    def get(method: str) -> tuple[Path, Path]:
        if method not in found:
            root = tmp_path_factory.mktemp(method)
            for name, folder in (("old", shards[0]), ("all", demo / "flange" / "train" / "good")):
                done = call(
                    *("train", "--normal_dir", folder, "--save_path", root / name, *SMALL),
                    *("--category", "flange", "--method", method, "--log_dir", root, *NO_GRAPH),
                )
                assert done.code == 0, done.err
            found[method] = root / "old" / "flange", root / "all" / "flange"
        return found[method]

    return get


@pytest.mark.parametrize("method", ["padim", "spade"])
def test_it_is_the_model_of_all_pictures(method, trained_on, shards, tmp_path):
    old, whole = trained_on(method)
    result = update(old, tmp_path, "--normal_dir", shards[1])
    assert (result.code, result.lines) == (0, [str(tmp_path / "flange" / "best.pdparams")])
    assert "8 pictures, 5 before" in result.err
    assert_same(tmp_path / "flange", whole, 1e-3)  # factors in float32, with n < d


@pytest.mark.parametrize("method", METHODS)
def test_the_new_pictures_calibrate(method, trained_on, shards, tmp_path):
    """Their scores are those that they have when they are left out of a model of all pictures."""
    old, whole = trained_on(method)
    assert update(old, tmp_path, "--normal_dir", shards[1]).code == 0
    normal, of_all = (
        checkpoint.load_record(model / "best.pdparams").calibration.normal
        for model in (tmp_path / "flange", whole)
    )
    assert (normal.pictures, normal.source) == (3, "left out one by one")
    near = 0.3 if method == "patchcore" else 1e-3
    assert normal.image.values == pytest.approx(of_all.image.values[5:], rel=near)
    with (tmp_path / "flange" / "training.csv").open(newline="") as file:
        names = sorted(Path(row["path"]).name for row in csv.DictReader(file))
    assert names == ["005.png", "006.png", "007.png"]


@pytest.mark.parametrize("method", METHODS)
def test_a_model_may_be_updated_in_its_place(method, trained_on, shards, tmp_path):
    shutil.copytree(trained_on(method)[0], tmp_path / "flange")
    for pictures in (8, 11):
        result = update(tmp_path / "flange", tmp_path, "--normal_dir", shards[1])
        assert result.code == 0, result.err
        assert record_of(tmp_path).pictures == pictures
    assert "pictures of the same names" in result.err


def test_validation_follows_with_the_pictures_of_a_data_set(trained_on, demo, tmp_path):
    data = ("--data_path", demo, "--category", "flange", "--val", "True")
    result = update(trained_on("padim")[0], tmp_path, *data)
    assert result.code == 0, result.err
    metrics = json.loads((tmp_path / "flange" / "metrics.json").read_text())
    assert (metrics["model"]["n"], metrics["normal"]["pictures"]) == (13, 8)


def test_what_is_taken_out_leaves_no_trace(trained_on, shards, tmp_path):
    old, whole = trained_on("padim")
    result = update(whole, tmp_path, "--forget", shards[1])
    assert (result.code, result.lines) == (0, [str(tmp_path / "flange" / "best.pdparams")])
    assert "5 pictures, 8 before" in result.err
    assert_same(tmp_path / "flange", old, 1e-3)
    assert record_of(tmp_path).calibration.normal is None
    assert "no scores of good pictures any more" in result.err


def test_pictures_that_were_not_learned_cannot_be_taken_out(trained_on, shards, demo, tmp_path):
    folder = tmp_path / "out"
    shutil.copytree(shards[1], folder)
    shutil.copy(demo / "weave" / "train" / "good" / "000.png", folder / "006.png")
    (folder / "005.png").write_bytes(b"no picture")
    whole = trained_on("padim")[1]
    fails(update(whole, tmp_path / "a", "--forget", folder), 1, folder / "005.png", "--skip_bad")
    result = update(whole, tmp_path / "a", "--forget", folder, "--skip_bad")
    fails(result, 2, "--forget", folder / "006.png", "did not learn from this picture")
    assert list((tmp_path / "a" / "flange").iterdir()) == []
    everything = demo / "flange" / "train" / "good"
    fails(update(whole, tmp_path / "a", "--forget", everything), 2, "--forget", "8 pictures")
    fails(update(whole, tmp_path / "a", "--forget", tmp_path / "a"), 2, "--forget", "no pictures")
    fails(update(whole, tmp_path / "a", "--forget", tmp_path / "b"), 2, "--forget", "no such")


@pytest.mark.parametrize("method", ["patchcore", "spade"])
def test_a_method_without_sums_cannot_forget(method, trained_on, shards, tmp_path):
    result = update(trained_on(method)[1], tmp_path, "--forget", shards[1])
    fails(result, 2, "--forget", f"a model of {method} cannot take pictures out")


@pytest.mark.parametrize("forget", [True, False])
def test_pictures_of_a_folder_calibrate(forget, trained_on, shards, demo, tmp_path):
    whole, good = trained_on("padim")[1], demo / "flange" / "test" / "good"
    more = ("--forget", shards[1]) if forget else ()
    result = update(whole, tmp_path, "--calibration_dir", good, *more)
    assert result.code == 0, result.err
    record = record_of(tmp_path)
    assert record.pictures == (5 if forget else 8)
    assert (record.calibration.normal.pictures, record.calibration.normal.source) == (4, "held out")


def test_one_picture_is_enough_to_learn_but_promises_nothing(trained_on, shards, tmp_path):
    (tmp_path / "one").mkdir()
    shutil.copy(shards[1] / "005.png", tmp_path / "one")
    result = update(trained_on("padim")[0], tmp_path, "--normal_dir", tmp_path / "one")
    assert result.code == 0, result.err
    assert "no false-alarm rate can be promised by one picture" in result.err
    record = record_of(tmp_path)
    assert (record.pictures, record.calibration.normal) == (6, None)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--method", "padim"), ("--method", "is the model's")),
        (("--dims", 20), ("--dims", "is the model's")),
        (("--img_size", 64), ("--img_size", "is the model's")),
        (("--epsilon", 0.01), ("--epsilon", "is the model's")),
        (("--pretrained_backbone", "auto"), ("--pretrained_backbone", "is the model's")),
        (("--folds", 2), ("--folds", "does not work with --update")),
        (("--resume",), ("--resume", "does not work with --update")),
        (("--category", "weave"), ("--category", "weave", "is a model of flange")),
        (("--forget", "."), ("--forget", "a run of its own")),
        (("--calibrate", "False", "--audit"), ("--audit", "needs --calibrate True")),
    ],
)
def test_options_that_do_not_fit_are_refused(options, words, trained_on, shards, tmp_path):
    model = trained_on("padim")[0]
    fails(update(model, tmp_path, "--normal_dir", shards[1], *options), 2, *words)


def test_there_must_be_something_to_do(trained_on, shards, demo, tmp_path):
    model = trained_on("padim")[0]
    fails(update(model, tmp_path), 2, "--update", "expected pictures to add")
    fails(update(model, tmp_path, "--forget", shards[1], "--val"), 2, "--val", "needs pictures")
    result = update(model, tmp_path, "--data_path", demo)
    fails(result, 2, "--category", "2 categories for one model")
    fails(call("train", "--forget", shards[1]), 2, "--forget", "needs --update MODEL")
    fails(update(tmp_path / "none", tmp_path, "--normal_dir", shards[1]), 2, tmp_path / "none")


def test_a_model_that_would_need_too_much_memory_is_refused(
    trained_on, shards, tmp_path, monkeypatch
):
    model = trained_on("spade")[0]
    monkeypatch.setattr("models.memory.total_memory", lambda: 10**6)
    result = update(model, tmp_path, "--normal_dir", shards[1])
    fails(result, 2, "of memory", "number of training pictures")
    assert not (tmp_path / "flange" / "best.pdparams").exists()
