"""Training and validation in several processes: the same as in one."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from models import checkpoint
from tasks.processes import Processes
from tests.conftest import SMALL, call

ROOT = Path(__file__).resolve().parent.parent


@contextmanager
def started(commands: list[list]):
    """One process for each command, as if a launcher had started them on several machines."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    running, count = [], len(commands)
    for rank, command in enumerate(commands):
        environment = {
            **os.environ,
            "PADDLE_TRAINER_ID": str(rank),
            "PADDLE_TRAINERS_NUM": str(count),
            "PADDLE_MASTER": address,
            "PADDLE_TRAINER_ENDPOINTS": ",".join([address] * count),
        }
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        words = [sys.executable, *map(str, command)]
        running.append(subprocess.Popen(words, cwd=ROOT, env=environment, **pipes))
    try:
        yield running
    finally:
        for process in running:
            process.kill()
            process.communicate()


def together(count: int, script: str, *arguments) -> list[str]:
    """What `script` prints in each of so many processes, which all succeed."""
    with started([[ROOT / f"{script}.py", *arguments]] * count) as running:
        printed = []
        for process in running:
            out, errors = process.communicate(timeout=120)
            assert process.returncode == 0, errors
            printed.append(out)
    return printed


def train(demo: Path, folder: Path) -> list:
    return [
        *("--data_path", demo, "--category", "flange", *SMALL, "--num_workers", 0),
        *("--save_path", folder, "--log_dir", folder / "logs"),
    ]


def without_one(demo: Path, folder: Path) -> list:
    """Options that leave 7 of the 8 training pictures."""
    listed = folder / "excluded.txt"
    listed.write_text(sorted((demo / "flange/train/good").iterdir())[3].name + "\n")
    return ["--exclude", listed]


@pytest.mark.parametrize(("count", "length"), [(2, 7), (3, 8), (3, 2), (4, 0)])
def test_shares_are_the_whole_list(count, length):
    shares = [Processes(rank, count).share(range(length)) for rank in range(count)]
    assert [item for share in shares for item in share] == list(range(length))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.process
@pytest.mark.parametrize(
    ("count", "pictures", "options"),
    [
        (2, 7, ["--gaussians", "joint"]),
        (3, 8, ["--val", "--save_picture", "--num_pictures", 5, "--seed", 1]),
        (2, 7, ["--method", "patchcore"]),
    ],
)
def test_several_processes_give_the_model_of_one(demo, tmp_path, count, pictures, options):
    one, several = tmp_path / "one", tmp_path / "several"
    more = [*options, *(without_one(demo, tmp_path) if pictures == 7 else [])]
    assert call("train", *train(demo, one), *more).code == 0
    together(count, "train", *train(demo, several), *more)
    paths = [folder / "flange" / "best.pdparams" for folder in (one, several)]
    arrays = [load_file(path) for path in paths]
    assert arrays[0].keys() == arrays[1].keys()
    for name, array in arrays[0].items():
        difference = np.abs(arrays[1][name].astype(float) - array).max()
        assert difference <= 1e-5 * max(1, np.abs(array).max()), name
    first, second = (checkpoint.load_record(path) for path in paths)
    assert second.pictures == first.pictures == pictures
    assert second.looks == first.looks is not None
    normals = [record.calibration.normal for record in (first, second)]
    assert normals[0].pictures_sha256 == normals[1].pictures_sha256
    tables = [np.loadtxt(p.parent / "training.csv", str, delimiter=",")[1:] for p in paths]
    scores = [dict(zip(t[:, 0], t[:, 1].astype(float), strict=True)) for t in tables]
    assert scores[1] == pytest.approx(scores[0], rel=1e-4)
    if "--val" in options:
        same_results(one / "flange", several / "flange")


def same_results(one: Path, several: Path) -> None:
    """Assert equal figures, scores in the same order, and sheets of the same pictures."""
    figures = [json.loads((folder / "metrics.json").read_text()) for folder in (one, several)]
    for level in ("image", "pixel"):
        assert figures[1][level] == pytest.approx(figures[0][level], abs=1e-4), level
    assert figures[1]["confusion"]["kinds"] == figures[0]["confusion"]["kinds"]
    for name in ("skipped", "pictures"):
        assert figures[1][name] == figures[0][name]
    tables = [
        np.loadtxt(folder / "scores.csv", str, delimiter=",", skiprows=1)
        for folder in (one, several)
    ]
    assert (tables[1][:, 0] == tables[0][:, 0]).all()
    sheets = [{path.name for path in (folder / "pictures").iterdir()} for folder in (one, several)]
    assert sheets[0] == sheets[1] and len(sheets[0]) == 5


@pytest.mark.process
def test_launched_processes_validate_as_one(demo, trained, tmp_path):
    data = shutil.copytree(demo / "flange", tmp_path / "data" / "flange").parent
    (data / "flange/test/good/broken.png").write_bytes(b"no picture")  # and 12 whole ones
    model = trained / "flange" / "best.pdparams"
    options = [
        *("--data_path", data, "--category", "flange", "--model_path", model, "--skip_bad"),
        *("--no-calibrate", "--save_picture", "--num_pictures", 5),
    ]
    one, several = tmp_path / "one", tmp_path / "several"
    assert call("val", *options, "--save_path", one).code == 0
    command = [sys.executable, "-m", "paddle.distributed.launch", "--nproc_per_node", 2]
    command += ["--log_dir", tmp_path, ROOT / "val.py", *options, "--save_path", several]
    done = subprocess.run([*map(str, command)], cwd=tmp_path, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stdout
    same_results(one / "flange", several / "flange")
    assert json.loads((several / "flange/metrics.json").read_text())["skipped"] == 1
    said = [(tmp_path / f"workerlog.{rank}").read_text() for rank in (0, 1)]
    assert ["Class:flange: Image AUC" in text for text in said] == [True, False]


@pytest.mark.process
def test_several_processes_calibrate_with_other_pictures(demo, tmp_path):
    held_out = ["--calibration_dir", demo / "flange/test/good"]
    one, several = tmp_path / "one", tmp_path / "several"
    assert call("train", *train(demo, one), *held_out).code == 0
    model = several / "flange" / "best.pdparams"
    assert together(3, "train", *train(demo, several), *held_out) == [f"{model}\n", "", ""]
    normals = [
        checkpoint.load_record(folder / "flange" / "best.pdparams").calibration.normal
        for folder in (one, several)
    ]
    assert normals[1].image.ascending == pytest.approx(normals[0].image.ascending, rel=1e-4)
    assert normals[1].pictures_sha256 == normals[0].pictures_sha256


# Runs train.py with short times, in a process that no launcher watches, as on another machine.
ALONE = """import os, runpy, sys
from tasks import life, store
from tasks.processes import Processes
life.BEAT, life.SILENCE = 0.1, 2.0
what = sys.argv.pop(1)
if what == "waits":
    store.START = 1.0
if what == "dies":
    Processes.merged = lambda *_: os.kill(os.getpid(), 9)
elif what == "sleeps":
    Processes.merged = lambda *_: os.kill(os.getpid(), 19)
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.process
def test_the_reason_reaches_all_processes(demo, tmp_path):
    """Two of three fail at once; each says its own error, the third one the first of them."""
    bad = [*train(demo, tmp_path), "--max_pixels", 50]  # of a picture: it refuses all
    all_options = [train(demo, tmp_path), bad, bad]
    with started(
        [["-c", ALONE, "works", ROOT / "train.py", *own] for own in all_options]
    ) as running:
        errors = [process.communicate(timeout=60)[1] for process in running]
    assert [process.returncode for process in running] == [1, 1, 1]
    assert re.search(r"rank [12] failed: .*50", errors[0])
    assert all("error: " in text and "50" in text for text in errors[1:])


@pytest.mark.process
@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_never_starts_ends_the_others(demo, tmp_path, rank):
    words = [["-c", ALONE, "waits", ROOT / "train.py", *train(demo, tmp_path)] for _ in range(2)]
    words[rank] = ["-c", ""]
    with started(words) as running:
        _, errors = running[1 - rank].communicate(timeout=60)
    assert running[1 - rank].returncode == 1
    assert f"rank {rank} has not started within 1 s" in errors


@pytest.mark.process
@pytest.mark.parametrize(
    ("fault", "rank", "said"),
    [
        ("dies", 1, "rank 1 gave no sign of life for 2 s"),
        ("dies", 0, "rank 0 has ended, or cannot be reached"),
        ("sleeps", 0, "the store of rank 0 did not answer for 2 s"),
        ("fails", 1, "rank 1 failed: "),
    ],
)
def test_a_process_that_ends_ends_the_others(demo, tmp_path, fault, rank, said):
    options = [["-c", ALONE, "works", ROOT / "train.py", *train(demo, tmp_path)] for _ in range(2)]
    options[rank][2] = fault
    if fault == "fails":
        options[rank] += ["--max_pixels", 50]  # of a picture: it refuses all
    with started(options) as running:
        _, errors = running[1 - rank].communicate(timeout=60)
        assert said in errors
        assert running[1 - rank].returncode == 1
    assert list((tmp_path / "flange").iterdir()) == []


@pytest.mark.process
def test_a_port_of_another_program_is_said(demo, tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        place = {"PADDLE_TRAINER_ID": "0", "PADDLE_TRAINERS_NUM": "2"}
        place = os.environ | place | {"PADDLE_MASTER": f"127.0.0.1:{port}"}
        command = [*map(str, [sys.executable, ROOT / "train.py", *train(demo, tmp_path)])]
        done = subprocess.run(command, env=place, capture_output=True, text=True)
    assert done.returncode == 1
    assert f"error: port {port} cannot be used" in done.stderr


@pytest.mark.process
def test_what_needs_one_process_is_refused(tmp_path):
    with started([[ROOT / "train.py", "--data_path", tmp_path, "--resume"]] * 2) as running:
        _, errors = running[1].communicate(timeout=60)
        assert running[1].returncode == 2
        assert "--resume: this option does not work in several processes" in errors
