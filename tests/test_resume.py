"""`train.py --save_every N` and `--resume`: a training that was ended goes on."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import models.states
from models import checkpoint
from models.states import STATE
from tests.conftest import NO_GRAPH, SMALL, call, fails

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def folder(demo, tmp_path) -> Path:
    shutil.copytree(demo / "flange" / "train" / "good", tmp_path / "good")
    return tmp_path / "good"


def train(folder: Path, output: Path, *arguments):
    size = [word for word in SMALL if word not in ("--batch_size", 4)]
    return call(
        *("train", "--normal_dir", folder, "--save_path", output, "--log_dir", output / "logs"),
        *(*size, *NO_GRAPH, "--batch_size", 2, *arguments),
    )


@pytest.fixture
def killed(monkeypatch):
    """A training that ends right after it saved its first state."""

    def run(*arguments):
        def save(*known):
            models.states.save_state(*known)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr("tasks.states.save_state", save)
            found = train(*arguments)
        assert found.code == 130, found.err

    return run


def arrays_of(output: Path):
    return checkpoint.load(output / "custom" / "best.pdparams")


@pytest.mark.parametrize("method", ["padim", "patchcore", "spade"])
def test_the_same_model_comes_out(method, folder, killed, tmp_path):
    options = ("--method", method)
    assert train(folder, tmp_path / "whole", *options).code == 0
    killed(folder, tmp_path / "part", *options, "--save_every", 3)
    state = tmp_path / "part" / "custom" / "training.state"
    assert checkpoint.load_record(state, STATE).pictures == 4  # two batches
    assert not (tmp_path / "part" / "custom" / "best.pdparams").exists()
    result = train(folder, tmp_path / "part", *options, "--resume")
    assert result.code == 0, result.err
    assert f"{state}: goes on after 4 pictures" in result.err
    assert not state.exists()
    (ours, record), (theirs, other) = (arrays_of(tmp_path / name) for name in ("part", "whole"))
    for name, array in theirs.items():
        np.testing.assert_allclose(ours[name], array, rtol=1e-6, atol=1e-6)
    assert record.pictures == other.pictures == 8
    found, wanted = record.calibration.normal, other.calibration.normal
    assert found.pictures_sha256 == wanted.pictures_sha256
    assert found.image.values == pytest.approx(wanted.image.values, rel=1e-5)


def test_an_end_after_the_last_picture(folder, killed, tmp_path):
    assert train(folder, tmp_path / "whole").code == 0
    killed(folder, tmp_path / "part", "--save_every", 8)
    result = train(folder, tmp_path / "part", "--resume")
    assert result.code == 0, result.err
    for name, array in arrays_of(tmp_path / "whole")[0].items():
        np.testing.assert_array_equal(arrays_of(tmp_path / "part")[0][name], array)


def test_pictures_that_were_skipped_stay_skipped(folder, killed, tmp_path):
    (folder / "001.png").write_bytes(b"no picture")
    assert train(folder, tmp_path / "whole", "--skip_bad").code == 0
    killed(folder, tmp_path / "part", "--skip_bad", "--save_every", 4)
    learned = checkpoint.load(tmp_path / "part" / "custom" / "training.state", STATE)[0]["learned"]
    assert learned.tolist() == [0, 2, 3, 4]
    result = train(folder, tmp_path / "part", "--skip_bad", "--resume")
    assert result.code == 0, result.err
    (ours, record), (theirs, other) = (arrays_of(tmp_path / name) for name in ("part", "whole"))
    assert record.pictures == other.pictures == 7
    for name, array in theirs.items():
        np.testing.assert_allclose(ours[name], array, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--dims", 30), ("dims 20", "not 30")),
        (("--method", "spade"), ("method padim", "not spade")),
        (("--img_size", 56), ("crop (64, 64)", "not (56, 56)")),
        (("--epsilon", 0.1), ("epsilon 0.01", "not 0.1")),
        (("--backbone", "resnet18", "--pretrained_backbone", "random"), ("was of weights ",)),
        (("--precision", "bf16"), ("--precision",)),
        (("--roi", "mask.png"), ("roi False", "not True")),
    ],
)
def test_changed_options_are_refused(options, words, folder, killed, tmp_path):
    killed(folder, tmp_path / "part", "--save_every", 2)
    if "--roi" in options:
        from PIL import Image

        Image.new("L", (96, 96), 255).save(tmp_path / "mask.png")
        options = ("--roi", tmp_path / "mask.png")
    result = train(folder, tmp_path / "part", "--resume", *options)
    fails(result, 2, "--resume", "training.state", *words, "without --resume")
    assert not (tmp_path / "part" / "custom" / "best.pdparams").exists()


def add(folder: Path):
    shutil.copy(folder / "000.png", folder / "008.png")


def remove(folder: Path):
    (folder / "007.png").unlink()


def replace(folder: Path):
    (folder / "003.png").write_bytes((folder / "004.png").read_bytes())


@pytest.mark.parametrize("change", [add, remove, replace])
def test_changed_pictures_are_refused(change, folder, killed, tmp_path):
    killed(folder, tmp_path / "part", "--save_every", 2)
    change(folder)
    result = train(folder, tmp_path / "part", "--resume")
    fails(result, 2, "--resume", "training.state", "other training pictures", "without --resume")
    result = train(folder, tmp_path / "part")  # the remedy
    assert result.code == 0, result.err
    assert not (tmp_path / "part" / "custom" / "training.state").exists()


def test_without_a_state_all_pictures_are_read(folder, tmp_path):
    result = train(folder, tmp_path / "out", "--resume")
    assert result.code == 0 and "there is nothing to resume; all pictures are read" in result.err


def test_a_damaged_state_is_refused(folder, killed, tmp_path):
    killed(folder, tmp_path / "part", "--save_every", 2)
    state = tmp_path / "part" / "custom" / "training.state"
    whole = state.read_bytes()
    for count in range(1, 16):
        state.write_bytes(whole[: count * len(whole) // 16])
        result = train(folder, tmp_path / "part", "--resume")
        fails(result, 1, state, "training state", "start again without --resume")
    for place in (len(whole) // 2, len(whole) - 9):
        state.write_bytes(whole[:place] + bytes([whole[place] ^ 64]) + whole[place + 1 :])
        fails(train(folder, tmp_path / "part", "--resume"), 1, state, "damaged")


def test_options_that_contradict_each_other_are_refused(folder, tmp_path):
    out = tmp_path / "out"
    fails(train(folder, out, "--resume", "--folds", 2), 2, "--folds", "--resume")
    seeds = ("--val", "--seeds", 1, 2)
    fails(train(folder, out, "--save_every", 2, *seeds), 2, "--save_every", "--seeds")
    assert train(folder, out, "--save_every", 0).code == 2


@pytest.mark.process
def test_a_training_that_is_killed_goes_on(folder, tmp_path):
    assert train(folder, tmp_path / "whole").code == 0
    size = [word for word in SMALL if word not in ("--batch_size", 4)]
    command = [
        *(sys.executable, "train.py", "--normal_dir", folder, "--save_path", tmp_path / "part"),
        *("--log_dir", tmp_path, *size, *NO_GRAPH, "--batch_size", 1, "--save_every", 1),
    ]
    state = tmp_path / "part" / "custom" / "training.state"
    process = subprocess.Popen([*map(str, command)], cwd=ROOT, stderr=subprocess.DEVNULL)
    while not state.exists() and process.poll() is None:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    result = train(folder, tmp_path / "part", "--resume")
    assert result.code == 0, result.err
    assert "goes on after" in result.err
    (ours, _), (theirs, _) = (arrays_of(tmp_path / name) for name in ("part", "whole"))
    for name, array in theirs.items():
        np.testing.assert_allclose(ours[name], array, rtol=2e-3, atol=1e-4)
