"""Training in several processes: the same model as in one."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from models import checkpoint
from tasks.processes import Processes
from tests.conftest import SMALL, call

ROOT = Path(__file__).resolve().parent.parent


def launched(count: int, script: str, *arguments, folder: Path) -> subprocess.CompletedProcess:
    """`script` in so many processes; the output of rank 0 is in workerlog.0."""
    command = [sys.executable, "-m", "paddle.distributed.launch", "--nproc_per_node", count]
    command += ["--log_dir", folder / "launch", ROOT / f"{script}.py", *arguments]
    return subprocess.run([*map(str, command)], cwd=folder, capture_output=True, timeout=120)


def train(demo: Path, folder: Path) -> list:
    return [
        *("--data_path", demo, "--category", "flange", *SMALL, "--num_workers", 0),
        *("--save_path", folder, "--log_dir", folder / "logs"),
    ]


@pytest.mark.parametrize(("count", "length"), [(2, 7), (3, 8), (3, 2), (4, 0)])
def test_shares_are_the_whole_list(count, length):
    shares = [Processes(rank, count).share(range(length)) for rank in range(count)]
    assert [item for share in shares for item in share] == list(range(length))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.process
@pytest.mark.parametrize(("method", "count"), [("padim", 3), ("patchcore", 2)])
def test_several_processes_give_the_model_of_one(demo, tmp_path, method, count):
    one, several = tmp_path / "one", tmp_path / "several"
    more = ["--method", method]
    assert call("train", *train(demo, one), *more).code == 0
    done = launched(count, "train", *train(demo, several), *more, folder=tmp_path)
    assert done.returncode == 0, done.stdout
    paths = [folder / "flange" / "best.pdparams" for folder in (one, several)]
    arrays = [load_file(path) for path in paths]
    assert arrays[0].keys() == arrays[1].keys()
    for name, array in arrays[0].items():
        difference = np.abs(arrays[1][name].astype(float) - array).max()
        assert difference <= 1e-5 * max(1, np.abs(array).max()), name
    first, second = (checkpoint.load_record(path) for path in paths)
    assert second.pictures == first.pictures == 8
    assert second.looks == first.looks is not None
    normals = [record.calibration.normal for record in (first, second)]
    assert normals[0].pictures_sha256 == normals[1].pictures_sha256
    tables = [np.loadtxt(p.parent / "training.csv", str, delimiter=",")[1:] for p in paths]
    scores = [dict(zip(t[:, 0], t[:, 1].astype(float), strict=True)) for t in tables]
    assert scores[1] == pytest.approx(scores[0], rel=1e-4)


@pytest.mark.process
def test_what_needs_one_process_is_refused(tmp_path):
    options = ["--data_path", tmp_path, "--resume"]
    environment = {**os.environ, "PADDLE_TRAINER_ID": "1", "PADDLE_TRAINERS_NUM": "2"}
    command = [sys.executable, ROOT / "train.py", *map(str, options)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert "--resume: this option does not work in several processes" in done.stderr
