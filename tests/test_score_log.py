"""The file of scores: written line by line, read again, damaged, hostile."""

import json
import os
from datetime import datetime, timezone

import pytest

from common import score_log
from common.calibration import HELD_OUT, Normal, NormalScores
from common.errors import UsageError, WorkError
from common.score_log import ModelLine, ScoreLog, read


def model_line(scores=(1.0, 3.0, 2.0), category="nut", source=HELD_OUT) -> ModelLine:
    values = NormalScores.of(scores)
    return ModelLine.of(category, ("a" * 64,), Normal(values, values, 1.0, source, "0" * 64))


MODEL = model_line()


def written(path, *pictures, model=MODEL):
    """Appends (path, score) of each picture."""
    with ScoreLog(path, model) as log:
        for name, score in pictures:
            log.add(name, score, model.normal.p_value(score), "good")
    return path


def test_what_was_appended_is_read_again(tmp_path):
    path = tmp_path / "new" / "scores.jsonl"
    before = datetime.now(timezone.utc)
    written(path, ("a.png", 1.5), ("b\n\u2028.png", 2.5))
    written(path, (None, 0.5))
    found = read(path)
    assert found.models == {MODEL.model: MODEL} and found.damaged == []
    assert found.models[MODEL.model].normal == NormalScores((1.0, 3.0, 2.0), 3)
    assert [one.path for one in found.pictures] == ["a.png", "b\n\u2028.png", None]
    assert [one.score for one in found.pictures] == [1.5, 2.5, 0.5]
    assert [one.p_value for one in found.pictures] == [0.75, 0.5, 1.0]
    assert all(before <= one.time <= datetime.now(timezone.utc) for one in found.pictures)
    assert len(path.read_bytes().splitlines()) == 4  # the model is there once


def test_several_programs_append_to_one_file(tmp_path):
    path, other = tmp_path / "s", model_line((5.0, 6.0))
    with ScoreLog(path, MODEL) as one, ScoreLog(path, other) as two:
        one.add("a", 1.0, 1.0, "good")
        two.add("b", 2.0, 1.0, "good")
        one.add("c", 3.0, 0.5, "defective")
    found = read(path)
    names = {MODEL.model: "one", other.model: "two"}
    assert [names[picture.model] for picture in found.pictures] == ["one", "two", "one"]


def test_other_scores_of_good_pictures_are_another_model():
    lines = [MODEL, model_line((1.0, 3.0, 2.5)), model_line(category="bolt")]
    assert len({line.model for line in lines}) == 3


def test_an_incomplete_line_costs_only_itself(tmp_path):
    path = written(tmp_path / "s", ("a", 1.0), ("b", 2.0))
    path.write_bytes(path.read_bytes()[:-30])  # killed while it wrote
    assert [one.path for one in read(path).pictures] == ["a"]
    assert read(path).damaged == [3]
    written(path, ("c", 3.0))
    assert [one.path for one in read(path).pictures] == ["a", "c"]
    assert read(path).damaged == [3]


def test_lines_are_read_by_time(tmp_path):
    path = written(tmp_path / "s", ("a", 1.0), ("b", 2.0))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], lines[2], lines[1]]))
    assert [one.path for one in read(path).pictures] == ["a", "b"]


def test_a_file_of_something_else_stays_as_it_is(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text("path,kind\n")
    with pytest.raises(UsageError, match="scores.csv: not a file of scores"):
        ScoreLog(path, MODEL)
    with pytest.raises(WorkError, match="scores.csv: not a file of scores"):
        read(path)
    assert path.read_text() == "path,kind\n"


def test_places_that_cannot_be_files_of_scores(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()
    for name, reason in (("pipe", "regular file"), (".", "irectory"), ("file/s", "xist|irectory")):
        with pytest.raises(UsageError, match=reason) as error:
            ScoreLog(tmp_path / name, MODEL)
        assert error.value.setting == "stats"
    for name in ("pipe", ".", "none"):
        with pytest.raises(UsageError, match="no such file"):
            read(tmp_path / name)


@pytest.mark.parametrize("change", ["full", "short"])
def test_a_full_disk_is_said(tmp_path, monkeypatch, change):
    def write(file, data):
        if change == "full":
            raise OSError(28, "No space left on device")
        return len(data) - 1

    with ScoreLog(tmp_path / "s", MODEL) as log:
        monkeypatch.setattr(score_log.os, "write", write)
        with pytest.raises(WorkError, match="cannot be written"):
            log.add("a", 1.0, 1.0, "good")


def changed(before: bytes, values: dict) -> bytes:
    return json.dumps({**json.loads(before), **values}).encode()


@pytest.mark.parametrize(
    "values",
    [
        {"score": "1"},
        {"score": None},
        {"score": 10**400},
        {"time": "yesterday"},
        {"time": "2026-01-31T08:00:00"},
        {"line": "other"},
        {"model": "unknown"},
        {"path": 3},
    ],
)
def test_a_whole_line_of_something_else_is_named(tmp_path, values):
    path = written(tmp_path / "s", ("a", 1.0))
    path.write_bytes(path.read_bytes() + changed(path.read_bytes().splitlines()[1], values))
    with pytest.raises(WorkError, match="s, line 3: .*remove"):
        read(path)


@pytest.mark.parametrize(
    "values", [{"scores": []}, {"scores": [1.0, 2.0]}, {"pictures": -3}, {"pictures": 10**12}]
)
def test_a_model_whose_scores_make_no_sense_is_named(tmp_path, values):
    path = written(tmp_path / "s", ("a", 1.0))
    path.write_bytes(path.read_bytes() + changed(path.read_bytes().splitlines()[0], values))
    with pytest.raises(WorkError, match="s, line 3"):
        read(path)


@pytest.mark.parametrize(("tail", "damaged"), [(b"[" * 10**5, True), (b" " * 2**21, False)])
def test_hostile_lines(tmp_path, tail, damaged):
    path = written(tmp_path / "s", ("a", 1.0))
    path.write_bytes(path.read_bytes() + tail)
    if damaged:
        with pytest.raises(WorkError, match="line 3: not a line of scores"):
            read(path)
    else:
        with pytest.raises(WorkError, match="line 3: longer than"):
            read(path)
