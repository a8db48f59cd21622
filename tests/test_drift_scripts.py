"""predict.py --stats, infer.py --stats and python -m evaluation.drift as a user calls them."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from common import score_log
from common.calibration import HELD_OUT, LEFT_OUT, Calibration
from common.errors import WorkError
from common.score_log import ScoreLog, read
from evaluation.drift.selection import moment, moment_after, select
from models import checkpoint
from tests.conftest import NO_GRAPH, call, fails, rows
from tests.test_score_log import model_line

MODEL = model_line(np.random.default_rng(0).normal(10, 1, 64).tolist())


def collect(script, model, pictures, path):
    option = ("--input_file", "--model_dir") if script == "infer" else ("--picture_path",)
    models = ("--model_path", model) if script == "predict" else (option[1], model)
    quiet = (*NO_GRAPH, "--no-save_picture") if script == "predict" else ()
    return rows(script, option[0], pictures, *models, *quiet, "--stats", path)


def drawn_log(path, *shifts, per_day=200, model=MODEL):
    """A file with one day of pictures per shift of their scores, from 2026-11-01 on."""
    random, number = np.random.default_rng(1), 0
    with ScoreLog(path, model) as log:
        for day, shift in enumerate(shifts, 1):
            for score in random.normal(10 + shift, 1, per_day).tolist():
                time = moment(f"2026-11-{day:02}T{number % 24:02}:00")
                name, number = f"{number}.png", number + 1
                log.add(name, score, 0.5, "good", time)
    return path


def drift(*arguments):
    return call("evaluation.drift.__main__", *arguments)


def test_predict_collects_what_it_tells(model, demo, tmp_path):
    path = tmp_path / "scores.jsonl"
    told = [
        collect("predict", model, demo / f"flange/test/{kind}", path) for kind in ("good", "chip")
    ]
    told, found = sum(told, []), read(path)
    assert [row["path"] for row in told] == [one.path for one in found.pictures]
    for row, one in zip(told, found.pictures, strict=True):
        assert (row["score"], row["p_value"], row["verdict"]) == (
            *(one.score, one.p_value, one.verdict),
        )
    (line,) = found.models.values()
    record = checkpoint.load_record(model)
    assert (line.category, line.arrays_sha256) == ("flange", (record.arrays_sha256,))
    assert line.normal == record.calibration.normal.image
    for path_of_model in (model, model.parent):
        result = drift(path, "--model_path", path_of_model, "--most_defective", 1)
        assert result.code == 0, result.err
        assert result.lines[0].startswith("no drift found: 6 pictures of flange")
    assert Image.open(tmp_path / "drift.png").width == 900


@pytest.mark.process
def test_infer_collects_too_and_its_model_is_another_one(model, exported, demo, tmp_path):
    path = tmp_path / "scores.jsonl"
    collect("predict", model, demo / "flange/test/good", path)
    told = collect("infer", exported, demo / "flange/test/chip", path)
    assert len(read(path).models) == 2
    for options in ((), ("--model_path", exported)):
        result = drift(path, *options, "--json", "--no-save_picture")
        assert result.code == 0, result.err
        assert json.loads(result.out)["pictures"] == len(told) == 2
        assert "4 pictures of other models are left out" in result.err
    assert not (tmp_path / "drift.png").exists()


def test_a_model_without_scores_of_good_pictures_collects_none(model, demo, tmp_path):
    arrays, record = checkpoint.load(model)
    checkpoint.save(tmp_path / "m", arrays, replace(record, calibration=Calibration()))
    result = call(
        *("predict", "--model_path", tmp_path / "m", "--picture_path", demo / "flange/test/chip"),
        *("--no-save_picture", "--stats", tmp_path / "s", *NO_GRAPH),
    )
    fails(result, 2, "--stats", tmp_path / "m", "--calibrate True")
    assert not (tmp_path / "s").exists()


def test_a_full_disk_costs_no_answer(model, demo, tmp_path, monkeypatch):
    def fail(*_):
        raise WorkError("s: cannot be written: No space left on device")

    monkeypatch.setattr(score_log.ScoreLog, "add", fail)
    result = call(
        *("predict", "--model_path", model, "--picture_path", demo / "flange/test/chip"),
        *("--no-save_picture", "--stats", tmp_path / "s", *NO_GRAPH),
    )
    assert (result.code, len(result.lines)) == (1, 2)
    assert result.err.count("No space left") == 1


def test_no_drift_and_drift_in_text_and_json(tmp_path):
    path = drawn_log(tmp_path / "s", 0, 0, 1.2)
    result = drift(path, "--until", "2026-11-02", "--fail")
    assert result.code == 0, result.err
    assert result.lines[0].startswith(
        "no drift found: 400 pictures of nut (2026-11-01 00:00 UTC to 2026-11-02 23:00 UTC), "
        "compared with 64 good pictures (held out)"
    )
    assert drift(path).code == 0
    result = drift(path, "--fail")
    assert result.code == 3
    assert result.lines[0].startswith("drift, higher scores since about picture ")
    assert "2026-11-03" in result.lines[0]
    told = json.loads(drift(path, "--json").out)
    assert (told["drift"], told["what"], told["pictures"]) == (True, "higher scores", 600)
    assert told["highest_log10_evidence"] > told["alarm_log10_evidence"] > 2
    assert 400 < told["alarm_picture"] < 500 and told["since"].startswith("2026-11-0")
    told = json.loads(drift(path, "--since", "2026-11-03T00:00Z", "--json").out)
    assert told["pictures"] == 200 and told["by_chance"] < 1e-6


def test_pictures_judged_before_as_the_reference(tmp_path):
    path = drawn_log(tmp_path / "s", -2, -2, -2)
    assert json.loads(drift(path, "--json").out)["what"] == "lower scores"
    result = drift(path, "--reference", "2026-11-02")
    assert result.lines[0].startswith("no drift found: 400 pictures of nut")
    assert "compared with 200 pictures judged before" in result.lines[0]
    fails(drift(path, "--reference", "2026-11-01"), 2, "--reference", "no picture before")
    fails(drift(path, "--reference", "2026-11-05"), 2, "--reference", "no picture after")


@pytest.mark.parametrize(
    ("source", "shift", "said"), [(LEFT_OUT, -2, 1), (LEFT_OUT, 2, 0), (HELD_OUT, -2, 0)]
)
def test_lower_scores_than_left_out_ones_have_a_remedy(source, shift, said, tmp_path):
    path = drawn_log(tmp_path / "s", shift, model=model_line(MODEL.scores, source=source))
    result = drift(path, "--fail")
    assert result.code == 3
    assert result.err.count("--reference TIME") == said


def test_all_pictures_beyond_the_threshold_are_drift(tmp_path):
    result = drift(drawn_log(tmp_path / "s", 30))
    assert result.lines[0].startswith("drift, too many pictures called defective since")
    assert "nothing to compare" in result.lines[-1]


def test_a_picture_judged_twice_counts_once(tmp_path):
    with ScoreLog(tmp_path / "s", MODEL) as log:
        for name, score in (("a", 9.0), ("a", 9.0), ("a", 9.5), (None, 9.0), (None, 9.0)):
            log.add(name, score, 0.5, "good")
    _, pictures = select(tmp_path / "s")
    assert [one.path for one in pictures] == ["a", "a", None, None]


def test_incomplete_lines_are_said(tmp_path):
    path = drawn_log(tmp_path / "s", 0)
    path.write_bytes(path.read_bytes()[:-9])
    result = drift(path)
    assert result.code == 0 and "199 pictures" in result.lines[0]
    assert "left out: 1, the first is line 201" in result.err


def test_dates_and_times():
    assert moment("2026-01-31").isoformat() == "2026-01-31T00:00:00+00:00"
    assert moment_after("2026-01-31").isoformat() == "2026-02-01T00:00:00+00:00"
    assert moment_after("2026-01-31T08:30Z").isoformat() == "2026-01-31T08:30:00+00:00"
    assert moment("2026-01-31T08:30+02:00").utcoffset().seconds == 7200


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--since", "monday"), 2, ("--since", "2026-01-31")),
        (("--until", "9999-12-31"), 2, ("--until", "2026-01-31")),
        (("--since", "2027-01-01"), 2, ("no picture of this model and period",)),
        (("--alpha", 0), 2, ("--alpha", "1e-09 to 0.5")),
        (("--most_defective", 2), 2, ("--most_defective", "0 to 1")),
        (("--save_path", "x.jpg"), 2, ("--save_path", ".png")),
        (("--model_path", "none"), 2, ("--model_path", "none", "no model file")),
        (("--model_path", "pyproject.toml"), 1, ("pyproject.toml", "not a model file")),
    ],
)
def test_wrong_options(tmp_path, options, code, words):
    result = drift(drawn_log(tmp_path / "s", 0, per_day=3), *options)
    fails(result, code, *words)


def test_a_model_that_judged_nothing_here(tmp_path, model):
    path = drawn_log(tmp_path / "s", 0, per_day=3)
    fails(drift(path, "--model_path", model), 2, "--model_path", "no scores of this model")


def test_the_drawing_does_not_replace_the_scores(tmp_path):
    path = drawn_log(tmp_path / "s.png", 0, per_day=3)
    fails(drift(path, "--save_path", path), 2, "--save_path", "file of scores")


def test_equal_scores_of_good_pictures_cannot_be_compared(tmp_path):
    with ScoreLog(tmp_path / "s", model_line((1.0, 1.0))) as log:
        log.add("a", 1.0, 1.0, "good")
    fails(drift(tmp_path / "s"), 1, "nothing to compare with")
    assert drift(tmp_path / "s", "--leave_out_defective", "False").code == 0
