"""Two versions of Paddle read each other's files. OTHER_PYTHON is an interpreter with another
version; see `make test-paddle26`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import SMALL

ROOT = Path(__file__).resolve().parent.parent
OTHER = os.environ.get("OTHER_PYTHON")
pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not OTHER, reason="OTHER_PYTHON names no interpreter"),
]


def by(python: str, script: str, *arguments) -> list[str]:
    command = [str(part) for part in (python, ROOT / script, *arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def scores(lines: list[str]) -> dict[str, tuple]:
    found = [json.loads(line) for line in lines]
    return {row["path"]: (row["score"], row["verdict"]) for row in found}


def version(python: str) -> str:
    command = [python, "-c", "import paddle; print(paddle.__version__)"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def reads_both(python: str) -> bool:
    return version(python).startswith("3")


def test_the_versions_differ():
    assert version(sys.executable) != version(OTHER)


@pytest.mark.parametrize("writer_is_this", [True, False])
def test_what_one_version_writes_the_other_reads(demo, tmp_path, writer_is_this):
    writer, reader = (sys.executable, OTHER) if writer_is_this else (OTHER, sys.executable)
    model, pictures = tmp_path / "flange", demo / "flange/test"
    train = ("--data_path", demo, "--category", "flange", "--save_path", tmp_path, "--val", *SMALL)
    by(writer, "train.py", *train, "--log_dir", tmp_path)
    folders = {}
    for python, name in ((writer, "written"), (reader, "read")):
        folders[python] = tmp_path / name
        by(python, "export_model.py", "--model_path", model, "--save_dir", folders[python])
    predict = ("--picture_path", pictures, "--model_path", model, "--json", "--no-save_picture")
    expected = scores(by(writer, "predict.py", *predict))
    infer = ("-i", pictures, "--json", "--model_dir")
    newer = []  # Paddle 3 reads the graphs of both
    if reads_both(reader):
        newer = [by(reader, "infer.py", *infer, folders[writer])]
    else:
        command = [reader, ROOT / "infer.py", *infer, folders[writer]]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
        assert done.returncode == 1 and "a graph of Paddle 3" in done.stderr
    found = [
        by(reader, "predict.py", *predict),
        by(writer, "infer.py", *infer, folders[writer]),
        by(reader, "infer.py", *infer, folders[reader]),
        *newer,
    ]
    assert len(expected) == 12
    for rows in map(scores, found):
        assert rows.keys() == expected.keys()
        for path, (score, verdict) in rows.items():
            assert score == pytest.approx(expected[path][0], rel=1e-4)
            assert verdict == expected[path][1]
