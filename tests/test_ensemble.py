"""Several models as one: means of scaled scores and maps, thresholds, and what is refused."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from common.calibration import MOST_SCORES, Calibration, Normal, NormalScores
from common.errors import UsageError, WorkError
from common.files import sha256
from common.preprocessing import Preprocessing
from datasets.transforms import Transform
from inspection import Inspector
from models import checkpoint
from models.detector import Scores
from models.engine import Engine
from models.ensemble import EnsembleDetector, EnsembleRecord, renormalised
from models.loading import load_detector
from tests.conftest import NO_GRAPH, SMALL, call, fails, rows

CPU = Engine(device="cpu", static=False)


@pytest.fixture(scope="module")
def other(demo, tmp_path_factory):
    """A model of the same pictures as `trained`, of another method."""
    folder = tmp_path_factory.mktemp("other")
    result = call(
        *("train", "--data_path", demo, "--category", "flange", "--save_path", folder),
        *("--log_dir", folder, "--method", "patchcore", *SMALL, *NO_GRAPH),
    )
    assert result.code == 0, result.err
    return folder / "flange" / "best.pdparams"


@pytest.fixture(scope="module")
def records(model, other):
    return [checkpoint.load_record(path) for path in (model, other)]


def scaled(record, image, peak):
    """Image scores and map maxima on the scale of the ensemble, by its definition."""
    normal = record.calibration.normal
    threshold = normal.image.threshold(0.1).value
    median = sorted(normal.image.values)[normal.pictures // 2]
    pixel = normal.peak.threshold(0.1).value
    scale = (pixel - normal.usual, normal.usual)
    return (image - median) / (threshold - median), (peak - scale[1]) / scale[0]


def test_scores_are_means_of_scaled_scores(demo, model, other, records):
    pictures = sorted((demo / "flange" / "test" / "rust").glob("*.png"))
    found = list(Inspector.open([model, other], CPU).inspect(pictures))
    members = [list(Inspector.open(path, CPU).inspect(pictures)) for path in (model, other)]
    for i, judgement in enumerate(found):
        singles = [
            scaled(record, judged[i].score, judged[i].map)
            for record, judged in zip(records, members, strict=True)
        ]
        assert judgement.score == pytest.approx(np.mean([image for image, _ in singles]), rel=1e-4)
        expected = np.mean([pixels for _, pixels in singles], axis=0)
        np.testing.assert_allclose(judgement.map, expected, rtol=1e-3, atol=1e-4)


def test_normal_scores_are_paired_picture_by_picture(records):
    normal = EnsembleRecord.of(records, "ab").calibration.normal
    image, peak = [], []
    for record in records:
        values = record.calibration.normal
        found = scaled(record, np.array(values.image.values), np.array(values.peak.values))
        image.append(found[0])
        peak.append(found[1])
    assert normal.image.values == pytest.approx(np.mean(image, axis=0))
    assert normal.peak.values == pytest.approx(np.mean(peak, axis=0))
    assert normal.usual == 0
    assert normal.pictures == 8


def test_the_peak_of_the_mean_map_is_at_most_the_mean_of_peaks(demo, model, other):
    pictures = sorted((demo / "flange" / "train" / "good").glob("*.png"))
    together = Inspector.open([model, other], CPU)
    together.load()
    scalings = together.detector.scalings
    members = [list(Inspector.open(path, CPU).inspect(pictures)) for path in (model, other)]
    for i, judgement in enumerate(together.inspect(pictures)):
        peaks = [s.pixel(m[i].map.max()) for s, m in zip(scalings, members, strict=True)]
        assert judgement.map.max() <= np.mean(peaks) + 1e-5


def test_a_score_does_not_depend_on_the_rate(demo, model, other):
    picture = demo / "flange" / "test" / "rust" / "000.png"
    found = [
        next(Inspector.open([model, other], CPU, fpr=f).inspect([picture])) for f in (0.3, 0.01)
    ]
    assert found[0].score == found[1].score
    assert found[0].threshold < found[1].threshold


def test_scripts_and_inspector_agree_and_leave_the_models_unchanged(demo, model, other, tmp_path):
    before = [sha256(path) for path in (model, other)]
    models = ("--model_path", model, other.parent)
    validated = call(
        *("val", "--data_path", demo, "--category", "flange", *models, "--save_path", tmp_path),
        *("--num_pictures", 2, *NO_GRAPH),
    )
    assert validated.code == 0, validated.err
    assert "ensemble of 2 models" in validated.err
    assert [sha256(path) for path in (model, other)] == before
    metrics = json.loads((tmp_path / "flange" / "metrics.json").read_text())
    assert [one["path"] for one in metrics["model"]["members"]] == [str(model), str(other)]
    assert metrics["model"]["method"] == "padim + patchcore"
    assert metrics["promise"]["good"] == 4
    assert "members.2.backbone" in (tmp_path / "flange" / "report.html").read_text()
    assert len(list((tmp_path / "flange" / "pictures").iterdir())) == 2
    pictures = demo / "flange" / "test" / "rust"
    told = rows("predict", "--picture_path", pictures, *models, "--no-save_picture", *NO_GRAPH)
    found = Inspector.open([model, other], CPU).inspect(sorted(pictures.glob("*.png")))
    for row, judgement in zip(told, found, strict=True):
        assert row["score"] == pytest.approx(judgement.score, rel=1e-4)
        assert row["threshold"] == pytest.approx(metrics["threshold"])
        assert row["p_value"] == judgement.p_value
        assert row["normalised"] == pytest.approx(judgement.normalised, rel=1e-4)


@pytest.mark.process
def test_an_export_can_be_a_member(demo, exported, model, other):
    pictures = sorted((demo / "flange" / "test" / "rust").glob("*.png"))
    expected = [j.score for j in Inspector.open([model, other], CPU).inspect(pictures)]
    found = Inspector.open([exported, other], Engine(device="cpu")).inspect(pictures)
    assert [j.score for j in found] == pytest.approx(expected, rel=1e-3)


def test_one_model_in_a_list_is_that_model(demo, model):
    picture = demo / "flange" / "test" / "rust" / "000.png"
    alone, listed = (next(Inspector.open(m, CPU).inspect([picture])) for m in (model, [model]))
    assert alone.score == listed.score


def test_pictures_are_normalised_anew_for_each_member():
    first, second = Preprocessing(), Preprocessing(mean=(0.5,) * 3, std=(0.5, 0.4, 0.3))
    picture = np.random.default_rng(0).integers(0, 256, (224, 224, 3)).astype(np.uint8)
    images, expected = (Transform(p).normalize(picture)[None] for p in (first, second))
    np.testing.assert_allclose(renormalised(images, first, second), expected, atol=2e-6)
    assert renormalised(images, first, first) is images


def test_a_member_that_changed_is_refused(model, other, records):
    record = EnsembleRecord.of(records, [model, other])
    detectors = [load_detector(path, CPU) for path in (other, model)]
    with pytest.raises(WorkError, match="changed since it was opened"):
        EnsembleDetector(detectors, record)


def test_outside_a_region_of_interest_a_member_says_nothing(records):
    regions = [replace(record, roi=True) for record in records]
    maps = [np.array([[[0, 50.0]]], np.float32), np.array([[[0, 70.0]]], np.float32)]
    image = np.ones(1, np.float32)
    members = [
        SimpleNamespace(record=record, score=lambda _, pixels=pixels: Scores(image, pixels))
        for record, pixels in zip(regions, maps, strict=True)
    ]
    found = EnsembleDetector(members, EnsembleRecord.of(regions, "ab")).score(None).map
    inside = [
        scaled(record, 0, pixels[0, 0, 1])[1] for record, pixels in zip(regions, maps, strict=True)
    ]
    assert found[0, 0] == pytest.approx([0, np.mean(inside)])


def normal_of(record, **changes):
    return replace(record, calibration=Calibration(replace(record.calibration.normal, **changes)))


def test_models_that_do_not_belong_together_are_refused(records):
    first, second = records
    larger = replace(second.preprocessing, resize=80)
    many = NormalScores.of(np.linspace(0, 1, MOST_SCORES + 1).tolist())
    held = Normal(many, many, 0.0, "held out", "0" * 64)
    cases = [
        (replace(second, category="weave"), "different categories .flange, weave."),
        (replace(second, preprocessing=larger), "--resize 64 and 80"),
        (replace(second, preprocessing=replace(larger, crop=(64, 72))), "--resize 64 and 80"),
        (replace(second, preprocessing=Preprocessing(64, (64, 32))), "--img_size 64x64 and 64x32"),
        (replace(second, calibration=Calibration()), "b: has no scores .* --calibrate True"),
        (
            replace(second, calibration=Calibration(held)),
            "scores of 1001 good .* --calibration_dir",
        ),
        (normal_of(second, pictures_sha256="0" * 64), "different good pictures"),
        (normal_of(second, source="held out"), "different good pictures"),
    ]
    for wrong, words in cases:
        with pytest.raises(UsageError, match=words) as caught:
            EnsembleRecord.of([first, wrong], "ab")
        assert caught.value.setting == "model_path"


def test_scripts_name_the_option_and_do_not_save_into_the_models(demo, model, other, tmp_path):
    data = ("--data_path", demo, "--category", "flange", "--save_path", tmp_path)
    both = ("--model_path", model, other)
    fails(call("val", *data, *both, "--calibrate", "True"), 2, "--calibrate", "omit")
    missing = call("val", *data, "--model_path", model, tmp_path)
    fails(missing, 2, "--model_path", tmp_path / "best.pdparams", "train.py writes one")
    options = ("--picture_path", demo / "flange" / "test" / "rust", *both, "--no-save_picture")
    fails(call("predict", *options, "--threshold_from", "f1"), 2, "no thresholds of best F1")
