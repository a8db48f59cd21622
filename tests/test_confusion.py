"""What a threshold does on test pictures: counts, precision, recall, kinds; where it is shown."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evaluation import canvas, curves
from evaluation.confusion import Confusion, remark
from evaluation.pictures import Sheet
from evaluation.scale import Scale
from evaluation.testing import ScoredPicture


def scored(kind: str, score: float) -> ScoredPicture:
    blank = np.zeros((2, 2), np.float32)
    return ScoredPicture(Path("a.png"), kind, kind != "good", score, blank, None)


TESTED = [
    *(scored("good", score) for score in (1, 2, 6)),
    *(scored("bent", score) for score in (5, 9)),
    *(scored("cut", score) for score in (4, 7, 3)),
]


def test_counts_rates_and_kinds():
    found = Confusion.of(5.0, TESTED)
    assert (found.passed, found.false_alarms, found.missed, found.found) == (2, 1, 2, 3)
    assert (found.precision, found.recall) == (0.75, 0.6)
    assert found.f1 == pytest.approx(2 * 0.75 * 0.6 / (0.75 + 0.6))
    assert found.kinds == {"bent": (2, 2), "cut": (1, 3)}
    assert found.record()["kinds"]["cut"] == {"found": 1, "pictures": 3, "recall": 1 / 3}
    assert found.lines() == [
        "good: 2 passed, 1 false alarms; defective: 3 found, 2 missed",
        "precision 0.7500, recall 0.6000, F1 0.6667",
        "found by kind: bent 2 of 2, cut 1 of 3",
    ]


def test_without_defects_or_threshold():
    good = Confusion.of(9.0, TESTED[:3])
    assert (good.precision, good.recall, good.f1) == (None, None, None)
    assert len(good.lines()) == 1
    assert Confusion.of(None, TESTED) is None


@pytest.mark.parametrize(
    ("defective", "called", "text"),
    [
        (True, False, "miss"),
        (False, True, "false alarm"),
        (True, True, ""),
        (None, True, ""),
        (True, None, ""),
    ],
)
def test_wrong_verdicts_have_a_name(defective, called, text):
    assert remark(defective, called) == text


@pytest.mark.parametrize(("defective", "wrong"), [(False, "false alarm"), (True, None)])
def test_the_headline_of_a_sheet_says_it(tmp_path, monkeypatch, defective, wrong):
    written, write = [], canvas.write
    monkeypatch.setattr(
        canvas,
        "write",
        lambda image, place, text, *more: (written.append(text), write(image, place, text, *more))[
            1
        ],
    )
    scale = Scale(threshold=5.0, low=1.0, high=9.0, usual=1.0, peak=5.0, pixel_threshold=4.0)
    picture, scores = np.zeros((32, 32, 3), np.uint8), np.full((32, 32), 6, np.float32)
    Sheet(scale, True).save(tmp_path / "a.png", "a.png", picture, 6.0, scores, None, defective)
    assert Image.open(tmp_path / "a.png").width > 100
    assert ("defective, false alarm" in written) == (wrong is not None)
    assert ("defective" in written) == (wrong is None)


def test_the_legend_of_the_histogram_says_it():
    scores = np.array([1.0, 6.0])
    assert curves._wrong("good", scores, 5.0) == ", 1 false alarms"
    assert curves._wrong("defective", scores, 5.0) == ", 1 missed"
    assert curves._wrong("good", scores, None) == ""


def test_a_validation_says_it_everywhere(trained):
    folder, said = trained / "flange", (trained / "stdout.txt").read_text()
    confusion = json.loads((folder / "metrics.json").read_text())["confusion"]
    assert sum(confusion[key] for key in ("passed", "false_alarms", "missed", "found")) == 12
    assert f"{confusion['found']} found, {confusion['missed']} missed" in said
    assert f"recall {confusion['recall']:.4f}" in said and "found by kind: " in said
    report = (folder / "report.html").read_text()
    assert f"recall {confusion['recall']:.4f}" in report


def test_a_validation_says_where_its_sheets_and_its_report_are(trained):
    log = (trained / "logs/flange.log").read_text()
    for what, name in (("sheets", "pictures"), ("report", "report.html")):
        assert f" INFO {what}: {trained / 'flange' / name}\n" in log
