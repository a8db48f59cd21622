import csv
import json
import logging

import numpy as np
import pytest
from PIL import Image

from evaluation import report, summary
from evaluation.curves import _bins
from evaluation.pictures import Scale, Sheet, verdict

SIZE = (32, 48)


def make_tested(kinds=("good", "good", "crack", "crack"), masks=True) -> report.Tested:
    """Defective pictures have a spot of 5 × 5 pixels, found in the first of them only."""
    result = report.Tested()
    for i, kind in enumerate(kinds):
        mask, scores = np.zeros(SIZE, bool), np.full(SIZE, 1.0 + i / 10, np.float32)
        if kind != "good":
            mask[10:15, 20:25] = True
            scores[mask] += 8 if i == 2 else 0
        known = masks or kind == "good"
        result.paths.append(f"{i}.png")
        result.kinds.append(kind)
        result.defective.append(kind != "good")
        result.scores.append(float(scores.max()))
        result.maps.append(scores)
        result.masks.append(mask if known else None)
    return result


def test_figures_of_both_levels():
    figures = report.measure(make_tested())
    assert figures.image.auroc == 1
    assert 0.5 < figures.pixel.auroc < 1
    assert 0 < figures.aupro < 1


def test_without_masks_pixel_figures_are_left_out_and_a_line_says_so(caplog):
    figures = report.measure(make_tested(masks=False))
    assert figures.pixel is None
    assert figures.aupro is None
    assert figures.record()["pixel"] == {}
    assert "no defective picture has a mask" in caplog.text


def test_pictures_without_a_mask_do_not_count_as_clean(caplog):
    some = make_tested()
    some.masks[3] = None
    figures = report.measure(some)
    assert figures.pixel.tp[-1] == 25
    assert figures.pixel.tp[-1] + figures.pixel.fp[-1] == 3 * 32 * 48
    assert "leave out 1 pictures" in caplog.text


def test_good_pictures_alone_give_no_figures_and_no_calibration(caplog):
    good = make_tested(("good", "good"))
    figures = report.measure(good)
    assert figures.image is None
    assert figures.calibration(good.maps, good.defective) is None
    assert "image figures are left out" in caplog.text


def test_calibration_separates_what_it_was_made_from():
    result = make_tested()
    calibration = report.measure(result).calibration(result.maps, result.defective)
    judged = [verdict(score, calibration["image_threshold"]) for score in result.scores]
    assert judged == ["good", "good", "defective", "defective"]
    assert 1 <= calibration["normal_score"] <= 1.1


def test_without_masks_the_image_threshold_judges_pixels():
    result = make_tested(masks=False)
    calibration = report.measure(result).calibration(result.maps, result.defective)
    assert calibration["pixel_threshold"] == calibration["image_threshold"]


def test_verdicts():
    assert [verdict(2.0, t) for t in (1.0, 2.0, 3.0, None)] == [
        *("defective", "defective", "good", "unknown")
    ]


def test_files_hold_the_figures(tmp_path):
    result = make_tested()
    report.write_figures(tmp_path, "part", result, report.measure(result), {"skipped": 1})
    record = json.loads((tmp_path / "metrics.json").read_text())
    assert record["category"] == "part"
    assert record["pictures"] == {"good": 2, "defective": 2}
    assert record["skipped"] == 1
    assert set(record["image"]) == {"auroc", "ap", "f1_max", "threshold"}
    assert set(record["pixel"]) == set(record["image"]) | {"aupro", "aupro_fpr_limit"}
    rows = list(csv.DictReader((tmp_path / "scores.csv").open()))
    assert [row["verdict"] for row in rows] == ["good", "good", "defective", "defective"]
    for name in ("roc.png", "pr.png", "histogram.png"):
        assert min(Image.open(tmp_path / name).size) >= 400


def test_every_score_has_a_bin_and_the_threshold_parts_two():
    scores = np.array([1.0, 2.0, 7.5, 9.0])
    for threshold in (1.0, 4.3, 9.0):
        edges = _bins(scores, threshold)
        assert np.histogram(scores, edges)[0].sum() == 4
        assert np.isclose(edges, threshold).any()


def test_the_closing_lines():
    assert report.closing_lines("part", 0.99849, None) == (
        "Class:part: Image AUC: 0.998\nClass:part: Pixel AUC: -"
    )


def test_the_table_has_a_dash_where_there_is_no_figure():
    lines = report.table(report.measure(make_tested(masks=False))).splitlines()
    assert lines[1].split()[:3] == ["image", "1.0000", "1.0000"]
    assert lines[2].split() == ["pixel", "-", "-", "-", "-", "-"]


def test_the_summary_means_only_what_is_known(tmp_path):
    records = {
        "a": report.measure(make_tested()).record(),
        "b": report.measure(make_tested(masks=False)).record(),
    }
    lines = summary.summary(records).splitlines()
    assert lines[-1].split()[0] == "mean"
    assert lines[-1].split()[4] == lines[2].split()[4]  # pixel AUROC: that of `a` alone


def test_a_good_picture_has_no_region_and_a_defective_one_always_has():
    anomaly_map = np.ones(SIZE, np.float32)
    anomaly_map[4, 5] = 6
    for pixel_threshold in (3.0, 5.5, 40.0):
        scale = Scale.around(5.0, pixel_threshold, 1.0)
        assert scale.region(6.0, anomaly_map).sum() == 1
        assert scale.region(4.0, anomaly_map).sum() == 0


def test_the_region_does_not_jump_as_a_defect_grows_stronger():
    shape = np.linspace(0, 1, 64, dtype=np.float32)[None].repeat(64, 0)
    scale = Scale.around(11.5, 40.0, 5.0)
    sizes = [scale.region(worst, shape * worst).sum() for worst in np.arange(11.5, 80.0, 0.5)]
    assert min(sizes) > 0
    assert max(abs(np.diff(sizes))) <= 3 * 64  # of 64 columns: no more than a few at a time


def test_the_threshold_is_the_middle_of_the_colours():
    scale = Scale.around(5.0, 4.0, 1.0)
    assert (scale.low + scale.high) / 2 == scale.threshold


@pytest.mark.parametrize("truth", [True, False])
@pytest.mark.parametrize("scale", [Scale.around(5.0, 4.0, 1.0), Scale.unjudged(10.0)])
def test_sheets_of_a_run_have_one_size_and_one_colour_bar(tmp_path, truth, scale):
    sheet = Sheet(scale, truth)
    picture, mask = np.full((*SIZE, 3), 90, np.uint8), np.ones(SIZE, bool)
    bars = []
    for i, score in enumerate((1.0, 50.0)):
        path = tmp_path / f"{i}.png"
        anomaly_map = np.full(SIZE, score, np.float32)
        sheet.save(path, "$a 图片.png", picture, score, anomaly_map, mask)
        bars.append(np.asarray(Image.open(path).convert("RGB"))[:, -52:])
    assert bars[0].shape == bars[1].shape
    assert (bars[0] == bars[1]).all()
    assert len(np.unique(bars[0].reshape(-1, 3), axis=0)) > 50  # the colours of the bar


def test_heat_is_where_the_score_is(tmp_path):
    picture = np.full((*SIZE, 3), 128, np.uint8)
    anomaly_map = np.ones(SIZE, np.float32)
    anomaly_map[:, 30:] = 9
    heat = Sheet(Scale.around(5.0, 4.0, 1.0), False)._heat(picture, anomaly_map).astype(int)
    assert (heat[:, :30] == heat[0, 0]).all()
    assert heat[0, 40, 0] - heat[0, 40, 2] > 60  # red there


def test_progress_says_how_many_how_fast_and_how_long_yet(caplog):
    from common.progress import progress

    with caplog.at_level(logging.INFO):
        assert list(progress([[1, 2], [3]], 3, "fit part")) == [[1, 2], [3]]
    assert "fit part: 3/3 pictures" in caplog.text
    assert "pictures/s, 0 s left" in caplog.text
