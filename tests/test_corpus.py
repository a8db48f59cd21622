"""The corpus of hostile inputs: each row gives its documented error, or works."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.corpus import tables, watch
from tests.corpus.rows import Row
from tests.corpus.watch import Outcome
from tests.fuzz.targets import TARGETS, checked

ROOT = Path(__file__).parents[1]


@pytest.mark.process
def test_every_row_gives_its_documented_error(demo, trained, exported, tmp_path):
    """Every third one that does not start Paddle; `python -m tests.corpus` runs all."""
    for name, folder in {"demo": demo, "trained": trained, "exported": exported}.items():
        (tmp_path / name).symlink_to(folder)
    command = [
        sys.executable,
        "-m",
        "tests.corpus",
        "--quick",
        "--every",
        3,
        "--json",
        tmp_path / "found",
    ]
    command += ["--given", tmp_path]
    subprocess.run([*map(str, command)], cwd=ROOT, stdout=subprocess.DEVNULL, timeout=120)
    found = json.loads((tmp_path / "found").read_text())
    assert found["rows"] > 500
    assert found["wrong"] == []


def test_names_of_rows_are_unique():
    titles = [row.title for row in tables.rows()]
    assert len(set(titles)) == len(titles) > 500


def row(reader, error=None, **known) -> Row:
    return Row("tests", "a row", reader, lambda folder: folder, error, **known)


@pytest.mark.process
@pytest.mark.parametrize(
    ("does", "problem"),
    [
        ("raise ValueError('x')", "traceback"),
        ("import os; os.kill(os.getpid(), 9)", "crashed: SIGKILL"),
        ("import os; os._exit(3)", "ended with 3"),
        ("import time; time.sleep(60)", "took more than 1 s"),
        ("x = bytearray(3 * 2**30)", "MemoryError"),
        ("pass", "worked in place of"),
        ("raise WorkError('other')", "says 'other' in place of 'expected'"),
        ("raise UsageError('expected')", "exit code 2 in place of 1"),
        ("raise WorkError('expected')", None),
    ],
)
def test_the_watch_notices(monkeypatch, does, problem):
    from common import errors
    from tests.corpus import readers

    def read(made):
        exec(does, vars(errors))

    monkeypatch.setattr(watch, "SECONDS", 1)
    monkeypatch.setitem(readers.READERS, "test", read)
    after = row("test", None if problem is None else "expected")
    (first, second) = watch.watched([row("test", "expected"), after])
    found = first.problem(row("test", "expected"))
    assert found == problem if problem is None else problem in found
    assert isinstance(second, Outcome)


def test_a_peak_above_the_limit_is_wrong():
    assert Outcome(0, "", 1.0, 2**31).problem(row("test")) is None
    assert "took 3072 MiB" in Outcome(0, "", 1.0, 3 * 2**30).problem(row("test"))


@pytest.mark.parametrize("name", [name for name in TARGETS if not name.endswith("-parts")])
def test_targets_of_the_fuzzer_read_what_they_begin_with(name, tmp_path):
    for make in TARGETS[name].seeds:
        make(tmp_path / "seed")
        content = (tmp_path / "seed").read_bytes()
        TARGETS[name].read(content, tmp_path / "input")
        checked(TARGETS[name], content[: len(content) // 2], tmp_path / "input")
