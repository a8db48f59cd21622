import csv
import json
import logging
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from common.calibration import BestF1, Calibration
from datasets.samples import Sample
from evaluation import report
from evaluation.curves import bins
from evaluation.figures import measure
from evaluation.roc import read_roc
from evaluation.scale import verdict
from evaluation.testing import ScoredPicture, score_all
from models.detector import Scores

SIZE = (32, 48)
RULE = Calibration(best_f1=BestF1(5.0, 5.0, 4.0, 1.0, "test")).rule()


def make_tested(kinds=("good", "good", "crack", "crack"), masks=True) -> list[ScoredPicture]:
    """Defective pictures have a spot of 5 × 5 pixels, found in the first of them only.

    The image score is 100 times the maximum of the map: another unit.
    """
    tested = []
    for i, kind in enumerate(kinds):
        mask, scores = np.zeros(SIZE, bool), np.full(SIZE, 1.0 + i / 10, np.float32)
        if kind != "good":
            mask[10:15, 20:25] = True
            scores[mask] += 8 if i == 2 else 0
        known = mask if masks or kind == "good" else None
        score = 100 * float(scores.max())
        tested.append(ScoredPicture(Path(f"{i}.png"), kind, kind != "good", score, scores, known))
    return tested


def test_figures_of_both_levels():
    figures = measure(make_tested())
    assert figures.image.auroc == 1
    assert 0.5 < figures.pixel.auroc < 1
    assert 0 < figures.aupro < 1


def test_without_masks_pixel_figures_are_left_out_and_a_line_says_so(caplog):
    figures = measure(make_tested(masks=False))
    assert figures.pixel is None
    assert figures.aupro is None
    assert figures.record()["pixel"] == {}
    assert "no defective picture has a mask" in caplog.text


def test_pictures_without_a_mask_do_not_count_as_clean(caplog):
    some = make_tested()
    some[3] = replace(some[3], mask=None)
    figures = measure(some)
    assert figures.pixel.tp[-1] == 25
    assert figures.pixel.tp[-1] + figures.pixel.fp[-1] == 3 * 32 * 48
    assert "leave out 1 pictures" in caplog.text


def test_good_pictures_alone_give_no_figures_and_no_calibration(caplog):
    good = make_tested(("good", "good"))
    figures = measure(good)
    assert figures.image is None
    assert figures.best_f1(good) is None
    assert "image figures are left out" in caplog.text


def test_calibration_separates_what_it_was_made_from():
    tested = make_tested()
    figures = measure(tested)
    calibration = figures.best_f1(tested)
    defective = ["good", "good", "defective", "defective"]
    assert [verdict(one.score, calibration.image) for one in tested] == defective
    assert [verdict(one.map.max(), calibration.peak) for one in tested] == defective
    assert calibration.pixel == figures.pixel.f1_max[1]
    assert 1 <= calibration.usual <= 1.1


def test_image_scores_and_pixel_scores_have_thresholds_of_their_own_unit():
    tested = make_tested()
    same_unit = [replace(one, score=float(one.map.max())) for one in tested]
    calibration = measure(tested).best_f1(tested)
    known = measure(same_unit).best_f1(same_unit)
    assert calibration.image == pytest.approx(100 * known.image)
    assert replace(calibration, image=known.image) == known
    assert known.peak == known.image


def test_without_masks_the_threshold_of_the_maximum_judges_pixels():
    tested = make_tested(masks=False)
    calibration = measure(tested).best_f1(tested)
    assert calibration.pixel == calibration.peak < 10


def test_every_picture_keeps_its_own_scores_and_mask():
    samples = [Sample(Path(f"{i}.png"), kind="crack") for i in range(3)]
    maps = np.arange(3, dtype=np.float32)[:, None, None] + np.zeros((3, 2, 2), np.float32)
    masks, seen = [None, np.ones((2, 2), bool), None], []
    batches = [
        SimpleNamespace(samples=samples[part], images=maps[part], masks=masks[part])
        for part in (slice(2), slice(2, 3))
    ]
    tested = score_all(lambda x: Scores(image=x[:, 0, 0] * 2, map=x), batches, seen.append)
    assert [one.path.name for one in tested] == ["0.png", "1.png", "2.png"]
    assert [one.score for one in tested] == [0, 2, 4]
    assert [float(one.map[0, 0]) for one in tested] == [0, 1, 2]
    assert [one.mask is None for one in tested] == [True, False, True]
    assert seen == batches


def test_verdicts():
    assert [verdict(2.0, t) for t in (1.0, 2.0, 3.0, None)] == [
        *("defective", "defective", "good", "unknown")
    ]


def test_files_hold_the_figures(tmp_path):
    result = make_tested()
    report.write_figures(tmp_path, "part", result, measure(result), RULE, {"skipped": 1})
    record = json.loads((tmp_path / "metrics.json").read_text())
    assert record["category"] == "part"
    assert record["pictures"] == {"good": 2, "defective": 2}
    assert record["skipped"] == 1
    assert set(record["image"]) == {"auroc", "ap", "f1_max", "threshold"}
    assert set(record["pixel"]) == set(record["image"]) | {"aupro", "aupro_fpr_limit"}
    assert (record["threshold_from"], record["threshold"]) == ("f1", 5.0)
    assert (record["promise"], record["normal"]) == (None, None)
    rows = list(csv.DictReader((tmp_path / "scores.csv").open()))
    assert set(read_roc(tmp_path / "roc.csv")) == {"image", "pixel"}
    assert [row["p_value"] for row in rows] == [""] * 4
    assert [row["verdict"] for row in rows] == ["defective"] * 4  # by the rule
    for name in ("roc.png", "pr.png", "histogram.png"):
        assert min(Image.open(tmp_path / name).size) >= 400


def test_every_score_has_a_bin_and_the_threshold_parts_two():
    scores = np.array([1.0, 2.0, 7.5, 9.0])
    for threshold in (1.0, 4.3, 9.0):
        edges = bins(scores, threshold)
        assert np.histogram(scores, edges)[0].sum() == 4
        assert np.isclose(edges, threshold).any()


def test_the_closing_lines():
    assert report.closing_lines("part", 0.99849, None) == (
        "Class:part: Image AUC: 0.998\nClass:part: Pixel AUC: -"
    )


def test_the_table_has_a_dash_where_there_is_no_figure():
    lines = report.table(measure(make_tested(masks=False))).splitlines()
    assert lines[1].split()[:3] == ["image", "1.0000", "1.0000"]
    assert lines[2].split() == ["pixel", "-", "-", "-", "-", "-"]


def test_progress_says_how_many_how_fast_and_how_long_yet(caplog):
    from common.progress import progress

    with caplog.at_level(logging.INFO):
        assert list(progress([[1, 2], [3]], 3, "fit part")) == [[1, 2], [3]]
    assert "fit part: 3/3 pictures" in caplog.text
    assert "pictures/s, 0 s left" in caplog.text
