"""serve.py --stats: the file of scores."""

import threading
import time
from collections import Counter

import pytest

from common import score_log
from common.errors import WorkError
from common.score_log import read
from inspection import Inspector
from service.stats import Collector
from tests.conftest import call, fails


@pytest.fixture(scope="module")
def inspector(exported):
    return Inspector.open(exported)


def described(score: float, name: str | None = None) -> dict:
    return {"name": name, "score": score, "p_value": 0.5, "verdict": "good", "map": "…"}


def collected(path, inspector, *answers) -> Counter:
    """Gives answers to a Collector, or calls them; returns what it counted."""
    counted = Counter()
    collector = Collector(path, lambda how, n: counted.update({how: n}))
    for answer in answers:
        answer(collector) if callable(answer) else collector.add(inspector, answer)
    collector.close(10)
    return counted


def test_answers_are_appended_with_their_names(inspector, tmp_path):
    path = tmp_path / "s"
    counted = collected(path, inspector, [described(1.5, "a.png"), described(2.5)], [])
    counted += collected(path, inspector, [described(3.5)])
    assert counted == {"written": 3}
    found = read(path)
    assert [(one.path, one.score) for one in found.pictures] == [
        *(("a.png", 1.5), (None, 2.5), (None, 3.5)),
    ]
    (line,) = found.models.values()
    assert line.arrays_sha256 == inspector.record.digests


def test_a_file_that_was_renamed_is_begun_anew(inspector, tmp_path):
    def rename(collector):
        end = time.monotonic() + 10
        while b"picture" not in (path.read_bytes() if path.exists() else b""):
            assert time.monotonic() < end
        path.rename(tmp_path / "yesterday")
        collector.reopen()

    path = tmp_path / "s"
    collected(path, inspector, [described(1.0)], rename, [described(2.0)])
    assert [one.score for one in read(tmp_path / "yesterday").pictures] == [1.0]
    assert [one.score for one in read(path).pictures] == [2.0]


def test_a_full_disk_is_said_once_and_mended(inspector, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("service.stats.RETRY_SECONDS", 0)
    add, calls = score_log.ScoreLog.add, []

    def fail_twice(self, *arguments):
        calls.append(arguments)
        if len(calls) in (2, 3):
            self._write(b'{"line":"pict')
            raise WorkError("s: cannot be written: No space left on device")
        add(self, *arguments)

    monkeypatch.setattr(score_log.ScoreLog, "add", fail_twice)
    answers = [[described(float(number))] for number in range(4)]
    assert collected(tmp_path / "s", inspector, *answers) == {"written": 2, "failed": 2}
    found = read(tmp_path / "s")
    assert [one.score for one in found.pictures] == [0.0, 3.0] and len(found.damaged) == 2
    assert caplog.text.count("No space left") == 1


def test_too_many_answers_are_dropped_and_delay_nobody(inspector, tmp_path, monkeypatch):
    monkeypatch.setattr("service.stats.WAITING", 3)
    free = threading.Event()
    monkeypatch.setattr(score_log.ScoreLog, "add", lambda *_: free.wait(10))

    def give(collector):
        for _ in range(20):
            collector.add(inspector, [described(1.0)])
        free.set()

    counted = collected(tmp_path / "s", inspector, give)
    assert counted["dropped"] >= 16 and sum(counted.values()) == 20


def test_a_model_or_file_that_cannot_be_used_is_said_at_the_start(exported, tmp_path):
    (tmp_path / "notes").write_text("mine")
    options = ("--model_dir", exported, "--port", 0, "--stats")
    fails(
        call("serve", *options, tmp_path / "notes"), 2, "--stats", "notes", "not a file of scores"
    )
    assert (tmp_path / "notes").read_text() == "mine"
