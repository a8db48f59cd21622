"""The arithmetic and the protocol of the comparison, with stand-ins for the implementations."""

import io
import json
import logging
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import bench
from benchmarks.pasted import SIDES, pasted
from benchmarks.process import ROOT, Process, Unavailable
from benchmarks.table import Results, Row, ratios, table
from benchmarks.worker import Worker, serve
from common.errors import UsageError, WorkError

pytestmark = pytest.mark.once

FAKE = """
print("noise of an import")

class Contender:
    about = "a fake 1.0"

    def __init__(self, precision):
        if precision == "bf16":
            raise NotImplementedError("no bfloat16 here")

    def fit(self, paths):
        print("noise of a fit")
        if not paths:
            raise ValueError("nothing to fit")

    def decode(self, paths):
        return [float(path) for path in paths]

    def score_arrays(self, images):
        return images

    def score_file(self, path):
        return float(path)

    def score_files(self, paths, batch):
        return self.decode(paths)

    def save(self, folder):
        (folder / "model").write_bytes(b"12345")
        return {"saved": folder / "model", "deployed": folder / "model"}
"""


@pytest.fixture
def fake(tmp_path):
    path = tmp_path / "fake.py"
    path.write_text(FAKE)

    def start(precision="fp32"):
        return Process(sys.executable, path, {"precision": precision}, False)

    return start


@pytest.mark.process
def test_answers_come_through_whatever_a_contender_prints(fake):
    with fake() as process:
        assert process.ask("hello") == {"about": "a fake 1.0"}
        fit = process.ask("fit", pictures=["1", "2"])
        assert fit["rate"] == pytest.approx(2 / fit["seconds"])
        assert process.ask("scores", pictures=["3", "4"], batch=2) == {"scores": [3, 4]}
        assert process.ask("save") == {"saved": 5, "deployed": 5}
        assert process.ask("memory")["bytes"] > 1e6


@pytest.mark.process
def test_a_failed_request_is_told_and_does_not_end_the_process(fake):
    with fake() as process:
        with pytest.raises(WorkError, match=r"fake.py: fit: ValueError: nothing to fit"):
            process.ask("fit", pictures=[])
        assert process.ask("hello")


@pytest.mark.process
def test_what_cannot_run_here_says_why(fake):
    with fake("bf16") as process, pytest.raises(Unavailable, match="no bfloat16 here"):
        process.ask("hello")


@pytest.mark.process
def test_a_process_that_dies_is_told_with_its_last_words(tmp_path):
    path = tmp_path / "dying.py"
    path.write_text("import os, sys\nprint('no memory', file=sys.stderr)\nos._exit(3)\n")
    with (
        Process(sys.executable, path, {}, False) as process,
        pytest.raises(WorkError, match="no memory"),
    ):
        process.ask("hello")


@pytest.mark.process
def test_peers_do_not_find_our_packages(tmp_path):
    path = tmp_path / "contender.py"
    path.write_text(
        "from importlib.util import find_spec\n"
        "class Contender:\n    about = getattr(find_spec('evaluation'), 'origin', None)\n"
    )
    with Process(sys.executable, path, {}, True) as process:
        assert process.ask("hello")["about"] == str(ROOT / "evaluation/__init__.py")
    with Process(sys.executable, path, {}, False) as process:
        assert process.ask("hello")["about"] is None


def test_requests_are_lines_and_so_are_answers():
    answers = io.StringIO()
    serve(lambda: SimpleNamespace(about="it"), ['{"do": "hello"}\n'] * 2, answers)
    assert [json.loads(line) for line in answers.getvalue().splitlines()] == [
        {"ok": {"about": "it"}}
    ] * 2


def test_percentile_is_that_of_the_slowest_twentieth(monkeypatch):
    times = iter([*range(1, 21)])
    monkeypatch.setattr("benchmarks.worker._seconds", lambda *_: next(times) / 1000)
    contender = SimpleNamespace(score_file=lambda path: None)
    assert Worker(contender).predict_png(["x"] * 20) == {"median": 10.5, "p95": 19}


def test_a_throughput_scores_all_pictures_in_batches():
    seen = []
    contender = SimpleNamespace(decode=list, score_arrays=seen.append)
    assert Worker(contender).throughput_decoded("abcde", 2)["rate"] > 0
    assert seen == [["a", "b"], ["a", "b"], ["c", "d"], ["e"]]  # the first is the warm-up


def test_ratios_are_of_the_same_round_and_above_one_where_ours_is_better():
    assert ratios([1, 2], [4, 6], more=False) == [4, 3]
    assert ratios([4, 6], [1, 2], more=True) == [4, 3]


def results():
    made = Results(absent={"ours bf16": "no bfloat16"})
    for seconds, theirs in ((1, 3), (2, 4), (10, 50)):
        made.add("ours fp32", "fit", {"seconds": seconds, "rate": 100 / seconds})
        made.add("peer", "fit", {"seconds": theirs, "rate": 100 / theirs})
    for name in ("ours fp32", "peer"):
        made.add(name, "scores", {"auroc": 0.98765})
    return made


def test_the_table_has_medians_dashes_and_paired_ratios():
    lines = table(results(), ["ours fp32", "ours bf16"], ["peer"]).splitlines()
    assert lines == [
        "|  | ours fp32 | ours bf16 | peer | ours fp32 : peer |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| fit, from PNG files (s) | 2.0 | – | 4.0 | 3.00× (2.00–5.00) |",
        "| fit, from PNG files (pictures/s) | 50.0 | – | 25.0 | 3.00× (2.00–5.00) |",
        "| image AUROC | 0.988 | – | 0.988 |  |",
    ]


def test_values_come_in_the_unit_of_their_row():
    made = Results()
    made.add("a", "save", {"saved": 137_900_000})
    assert made.values("a", Row("MB", "save", "saved", scale=1e-6)) == pytest.approx([137.9])


def test_the_report_says_why_a_column_is_empty():
    options = SimpleNamespace(category="bottle", threads=2, rounds=3, batch_size=32)
    made = results()
    made.absent = {"ours, default, bf16": "no bfloat16"}
    text = bench.report(options, made, ["peer"], 209, 83)
    assert text.startswith("bottle: 209 pictures to fit, 83 to test; 2 processors")
    assert "- ours, default, bf16: –, because no bfloat16.\n" in text


def test_the_report_has_a_table_of_each_of_our_networks():
    options = SimpleNamespace(category="bottle", threads=2, rounds=1, batch_size=32)
    made = Results()
    for i, name in enumerate([*bench.OURS, "peer"], 1):
        made.add(name, "predict_decoded", {"median": i, "p95": i})
    lines = bench.report(options, made, ["peer"], 209, 83).splitlines()
    heads = [line.split(" | ")[1:3] for line in lines if line.startswith("|  |")]
    assert heads == [
        ["ours, default, fp32", "ours, default, bf16"],
        ["ours, the peers' network, fp32", "ours, the peers' network, bf16"],
    ]
    rows = [line.split(" | ")[1:] for line in lines if "picture, median" in line]
    assert [row[:3] for row in rows] == [["1.0", "2.0", "5.0"], ["3.0", "4.0", "5.0"]]
    assert [row[3] for row in rows] == ["5.00×", "1.67×"]


def test_a_peer_that_is_not_there_is_left_out_and_named(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.INFO)
    options = SimpleNamespace(method="padim", anomalib=Path(sys.executable), anomavision=None)
    assert bench.find_peers(options) == {"anomalib": options.anomalib}
    assert [record.getMessage() for record in caplog.records] == [
        "AnomaVision is left out: no .venv-anomavision/bin/python; give another with --anomavision"
    ]
    options.method = "patchcore"
    assert bench.find_peers(options) == {"anomalib": options.anomalib}
    assert len(caplog.records) == 1  # AnomaVision does not have this method


def test_an_interpreter_that_was_named_must_be_there(tmp_path):
    options = SimpleNamespace(method="padim", anomalib=tmp_path / "python", anomavision=None)
    with pytest.raises(UsageError, match="python: no such file") as caught:
        bench.find_peers(options)
    assert caught.value.setting == "anomalib"


def test_pictures_are_spread_over_all_and_repeated_where_few():
    assert bench.spread("abcdef", 3) == ["a", "c", "e"]
    assert bench.spread("ab", 4) == ["a", "a", "b", "b"]


@pytest.mark.parametrize("size", ["small", "large"])
def test_a_pasted_defect_is_where_its_mask_is(size):
    picture = np.random.default_rng(1).integers(0, 256, (96, 80, 3), np.uint8)
    changed, mask = pasted(picture, size, np.random.default_rng(0))
    differs = (changed != picture).any(axis=2)
    assert changed.dtype == np.uint8 and not differs[~mask].any()
    assert differs[mask].mean() > 0.9
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    assert mask.sum() == len(rows) * len(columns)
    assert all(SIDES[size][0] <= len(side) < SIDES[size][1] for side in (rows, columns))
    again, _ = pasted(picture, size, np.random.default_rng(0))
    np.testing.assert_array_equal(again, changed)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_the_profile_of_a_command_counts_its_processors():
    from benchmarks import overlap

    busy = "import time; end = time.time() + 1\nwhile time.time() < end: pass"
    steps = overlap.profile([sys.executable, "-c", busy])
    assert len(steps) >= 2 and 0.05 < max(processors for _, processors in steps) < 1.3
    with pytest.raises(UsageError, match="exit code 3"):
        overlap.profile([sys.executable, "-c", "raise SystemExit(3)"])
