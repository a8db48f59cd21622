"""What the page lets the library do: scores as those of the scripts, leaving out, downloads."""

import csv
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from common.errors import UsageError
from datasets.mvtec import open_category
from datasets.samples import Sample
from page import learning
from page.choice import Choice
from page.learning import judge, judge_one, learn, opened
from page.shapes import rasterized, valid
from page.uploads import UNKNOWN
from tests.conftest import rows

pytest.importorskip("streamlit", reason="pip install -r requirements-app.txt")
SMALL = Choice(
    **{"backbone": "resnet18", "pretrained_backbone": "embedded", "resize": "64"},
    **{"img_size": "64", "dims": 20, "batch_size": 4},
)


@pytest.fixture(scope="module")
def category(demo):
    return open_category(demo, "flange")


@pytest.fixture(scope="module")
def model(category):
    return learn(category, SMALL)


@pytest.fixture(scope="module")
def files(model, tmp_path_factory) -> dict[str, Path]:
    """All downloads."""
    from page import downloads

    makers = {"model": downloads._model, "export": downloads._export}
    makers |= {"report": downloads._report, "pictures": downloads._pictures}
    folder = tmp_path_factory.mktemp("files")
    found = {}
    for kind, make in makers.items():
        (folder / kind).mkdir()
        found[kind] = make(model, folder / kind)
    return found


def by_path(scored: list[dict]) -> dict:
    return {row["path"]: row for row in scored}


def test_scores_are_those_of_the_scripts(model, files, demo, tmp_path):
    with zipfile.ZipFile(files["export"]) as archive:
        archive.extractall(tmp_path)
    for script, option, path in (
        ("predict", "--model_path", files["model"]),
        ("infer", "--model_dir", tmp_path),
    ):
        pictures = "--picture_path" if script == "predict" else "--input_file"
        theirs = by_path(rows(script, option, path, pictures, demo / "flange/test"))
        assert len(theirs) == len(model.tested) == 12
        for one in model.tested:
            row = theirs[str(one.sample.path)]
            assert one.judgement.score == pytest.approx(row["score"], rel=1e-4)
            assert one.judgement.p_value == row["p_value"]
            assert one.judgement.verdict == row["verdict"]


def test_pictures_are_in_the_order_of_their_scores(model):
    scores = [one.judgement.score for one in model.tested]
    assert scores == sorted(scores, reverse=True)
    assert all(one.thumbnail[:2] == one.heat[:2] == b"\xff\xd8" for one in model.tested)
    assert all(one.judgement.image.size == 0 for one in model.tested)


def test_another_rate_changes_verdicts_without_the_network(model, monkeypatch):
    monkeypatch.setattr(model.inspector.detector, "score", None)
    called = []
    for rate in (0.01, 0.1, 0.5):
        model.judged_at(rate)
        judged = [one.judgement.verdict == "defective" for one in model.tested]
        rule = model.inspector.record.calibration.rule(rate)
        assert judged == [one.judgement.score >= rule.threshold for one in model.tested]
        called.append(sum(judged))
    assert called == sorted(called) and called[0] < called[-1]
    model.judged_from(-1.0)
    assert all(one.judgement.verdict == "defective" for one in model.tested)
    model.judged_at(0.01)


def test_pictures_that_are_left_out_are_not_learned(model, category):
    out = frozenset([model.audited[0].source])
    again = learn(category, SMALL, excluded=out)
    assert len(again.audited) == len(model.audited) - 1
    assert out.isdisjoint(row.source for row in again.audited)
    assert again.inspector.record.pictures == 7 and again.excluded == out


def test_a_saved_model_judges_the_same(model, files, category):
    again = opened(files["model"], category)
    pairs = zip(model.tested, again.tested, strict=True)
    for ours, theirs in pairs:
        assert ours.sample == theirs.sample
        assert ours.judgement.score == pytest.approx(theirs.judgement.score, rel=1e-5)
    assert again.category.name == "flange" and again.audited == []


def test_nothing_scores_outside_a_drawn_region(category):
    shape = {"kind": "rectangle", "points": [[0.5, 0.0], [1.0, 1.0]]}
    roi = rasterized([shape], (64, 64))
    assert roi.mean() == pytest.approx(0.5, abs=0.03)
    found = learn(category, SMALL, roi)
    for one in found.tested:
        assert not one.judgement.map[~roi].any() and one.judgement.map[roi].any()


def test_shapes_from_the_browser_are_checked():
    square = [[0.25, 0.25], [0.75, 0.25], [0.75, 0.75], [0.25, 0.75]]
    right = [{"kind": "freehand", "points": square}]
    assert valid(right) == right
    assert rasterized(right, (80, 80)).mean() == pytest.approx(0.25, abs=0.03)
    wrong = [None, 3, {"kind": "x", "points": square}, {"kind": "ellipse", "points": "ab"}]
    wrong += [{"kind": "ellipse", "points": [[0, float("nan")], [1, 1]]}]
    wrong += [{"kind": "ellipse", "points": [[0, 1], [1]]}, {"kind": "ellipse"}]
    assert valid(wrong) == [] and valid("x") == [] and rasterized([], (8, 8)) is None
    assert valid([{"kind": "ellipse", "points": [[-9, 0], [9, 1]]}])[0]["points"] == [
        [0, 0],
        [1, 1],
    ]


def test_the_report_has_the_files_of_val_py(files, model):
    with zipfile.ZipFile(files["report"]) as archive:
        names = set(archive.namelist())
        metrics = json.loads(archive.read("metrics.json"))
        html = archive.read("report.html").decode()
    assert {"report.html", "scores.csv", "training.csv", "roc.png", "pr.png"} <= names
    assert sum(name.startswith("pictures/") for name in names) == 12
    assert metrics["image"]["auroc"] == model.figures.image.auroc
    assert metrics["promise"]["fpr"] == 0.01 and "/tmp" not in html


def test_the_pictures_have_masks_of_their_own_size(files, model):
    from datasets.transforms import read_mask

    with zipfile.ZipFile(files["pictures"]) as archive:
        names = archive.namelist()
        table = list(csv.DictReader(io.StringIO(archive.read("scores.csv").decode())))
        masks = [read_mask(archive.read(n)) for n in names if n.startswith("masks/")]
    assert [row["verdict"] for row in table] == [one.judgement.verdict for one in model.tested]
    assert len(masks) == 12 and {mask.shape for mask in masks} == {(96, 96)}
    marked = [bool(mask.any()) for mask in masks]
    assert sum(marked) == sum(one.judgement.verdict == "defective" for one in model.tested)


def test_pictures_without_labels_change_no_figure(model, category):
    before, auroc = len(model.tested), model.figures.image.auroc
    sample = category.test[0]
    found = judge(
        learning.Model(model.inspector, category, tested=model.tested),
        [Sample(Path(str(sample.path)), UNKNOWN), Sample(category.train[0].path, UNKNOWN)],
    )
    assert len(found.tested) == before + 2 and found.figures.image.auroc == auroc
    assert not judge_one(model.inspector, Sample(sample.path, UNKNOWN)).labelled


def test_unreadable_pictures_are_skipped_and_named(model, category, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    found = judge(learning.Model(model.inspector, category), [Sample(bad), category.test[0]])
    assert len(found.tested) == 1 and "bad.png" in found.skipped[0]


def test_masks_of_very_many_pixels_are_left_out(model, monkeypatch):
    monkeypatch.setattr(learning, "MOST_MASKED", 64 * 64)
    assert model.figures.pixel is not None
    assert learning._measured(model.tested).pixel is None


def test_too_few_and_too_many_pictures_are_refused(category, monkeypatch):
    from dataclasses import replace

    with pytest.raises(UsageError, match="2 good pictures; at least 3"):
        learn(replace(category, train=category.train[:2]), SMALL)
    for name, words in (
        ("MOST_TRAIN", "good pictures; at most"),
        ("MOST_TEST", "to test; at most"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(learning, name, 5)
            with pytest.raises(UsageError, match=words):
                learn(category, SMALL)


@pytest.mark.parametrize(
    "wrong",
    [
        {"resize": "big"},
        {"img_size": "300"},
        {"layers": "nothing"},
        {"settings": {"epsilon": -1.0}},
    ],
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(UsageError):
        Choice(**wrong).arguments()


def test_the_defaults_are_those_of_the_command_line(monkeypatch):
    import sys

    import train
    from tasks.settings import model_from, preprocessing_from

    monkeypatch.setattr(sys, "argv", ["train.py"])
    options, _ = train.parse_options()
    ours, theirs = Choice().arguments(), vars(model_from(options))
    assert {name: ours[name] for name in theirs} == theirs
    assert ours["preprocessing"] == preprocessing_from(options)
    assert ours["batch_size"] == options.batch_size and np.isclose(options.fpr, 0.01)
