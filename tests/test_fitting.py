"""`inspection.fit`: the same model as train.py, without folders and options."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from common.calibration import spread
from common.errors import UsageError
from common.preprocessing import Preprocessing
from common.progress import watched
from datasets import vips
from inspection import Inspector, fit
from models.deployed import ExportedFiles
from models.engine import Engine
from tests.conftest import call

SMALL = {
    "preprocessing": Preprocessing(64, (64, 64), decoder=vips.best()),
    "pretrained_backbone": "embedded",
    "dims": 20,
    "batch_size": 4,
    "engine": Engine(device="cpu"),
    "category": "flange",
}


@pytest.fixture(scope="module")
def pictures(demo):
    return sorted((demo / "flange" / "train" / "good").glob("*.png"))


@pytest.fixture(scope="module")
def fitted(pictures):
    return fit(pictures, **SMALL)


def test_it_is_the_model_of_train_py(fitted, trained, demo, tmp_path):
    known = Inspector.open(trained / "flange", Engine(device="cpu"))
    fitted.save(tmp_path / "best.pdparams")
    tests = sorted((demo / "flange" / "test").rglob("*.png"))
    right = list(known.inspect(tests))
    for inspector in (fitted.inspector(), Inspector.open(tmp_path, Engine(device="cpu"))):
        for ours, theirs in zip(inspector.inspect(tests), right, strict=True):
            assert ours.score == pytest.approx(theirs.score, rel=1e-5)
            assert ours.p_value == theirs.p_value
            assert ours.threshold == pytest.approx(theirs.threshold, rel=1e-5)


def test_pictures_may_be_bytes_and_bad_ones_skipped(pictures):
    found = fit([*(p.read_bytes() for p in pictures), b"no picture"], skip_bad=True, **SMALL)
    assert (len(found.samples), len(found.skipped)) == (len(pictures), 1)
    assert found.detector.record.pictures == len(pictures)
    assert len(found.audit()) == len(pictures)


def test_the_audit_names_a_picture_of_another_kind(pictures, demo):
    odd = demo / "weave" / "train" / "good" / "000.png"
    found = fit([*pictures, odd], **SMALL)
    assert found.audit()[0].source == odd


def test_without_calibration_there_is_no_rule(pictures):
    found = fit(pictures, calibrate=False, **SMALL)
    assert found.audit() == []
    assert found.inspector().threshold is None


def test_work_can_be_watched_and_ended(pictures):
    class CancelledError(Exception):
        pass

    seen = []

    def watcher(what, done, total):
        seen.append((what.split()[0], done, total))
        if what.startswith("leave out"):
            raise CancelledError

    with watched(watcher), pytest.raises(CancelledError):
        fit(pictures, **SMALL)
    assert seen == [("fit", 4, 8), ("fit", 8, 8), ("leave", 4, 8)]


def test_threads_fit_save_and_export(pictures, fitted, tmp_path):
    def fit_and_export() -> float:
        inspector = fit(pictures, **SMALL).inspector()
        inspector.save(tmp_path / "best.pdparams")
        inspector.export(tmp_path)
        return next(iter(inspector.inspect(pictures))).score

    with ThreadPoolExecutor(1) as pool:  # a thread that did not import Paddle
        score = pool.submit(fit_and_export).result()
    files = ExportedFiles.within(tmp_path)
    for inspector in (
        Inspector.open(tmp_path / "best.pdparams", Engine(device="cpu")),
        Inspector.open_exported(files, Engine(device="cpu")),
    ):
        (judgement,) = inspector.inspect(pictures[:1])
        assert judgement.score == pytest.approx(score, rel=1e-4)


def test_a_judgement_follows_another_rule(pictures, fitted):
    inspector = fitted.inspector()
    inspector.threshold = 0.0
    before = list(inspector.inspect(pictures))
    inspector.rule = fitted.detector.record.calibration.rule(0.01)
    again = [inspector.again(judgement.light()) for judgement in before]
    anew = list(inspector.inspect(pictures))
    assert [one.verdict for one in before] != [one.verdict for one in anew]
    for ours, right in zip(again, anew, strict=True):
        assert (ours.verdict, ours.regions) == (right.verdict, right.regions)
    with pytest.raises(ValueError, match="light"):
        _ = again[0].picture


def test_too_few_pictures_are_refused(pictures):
    with pytest.raises(UsageError, match="no training pictures"):
        fit([], **SMALL)
    with pytest.raises(UsageError, match="at least 2"):
        fit(pictures[:1], **SMALL)


def test_maps_of_a_few_left_out_pictures_are_enough_for_a_slow_head(pictures, monkeypatch):
    everything = fit(pictures, method="spade", **SMALL)
    monkeypatch.setattr("models.heads.spade.FEW_MAPS", 3)
    few = fit(pictures, method="spade", **SMALL)
    assert few.normal.image == pytest.approx(everything.normal.image, rel=1e-5)
    chosen = spread(8, 3)
    assert chosen == [0, 3, 7]
    assert few.normal.peak == pytest.approx(np.array(everything.normal.peak)[chosen], rel=1e-5)
    ours, theirs = (
        {index: pixels for _, index, pixels in found.normal.unusual} for found in (few, everything)
    )
    assert set(ours) == set(theirs) == set(range(8))
    for index, pixels in ours.items():
        np.testing.assert_allclose(pixels, theirs[index], rtol=1e-3)


def test_the_scripts_accept_few_maps(demo, tmp_path, monkeypatch):
    monkeypatch.setattr("models.heads.spade.FEW_MAPS", 3)
    small = ("--resize", 64, "--img_size", 64, "--pretrained_backbone", "embedded", "--dims", 20)
    data = ("--data_path", demo, "--category", "flange", "--log_dir", tmp_path)
    for method in ("spade", "padim"):
        done = call(
            *("train", *data, *small, "--save_path", tmp_path / method, "--method", method),
            *("--audit", "True", "--val"),
        )
        assert done.code == 0, done.err
        assert (tmp_path / method / "flange" / "audit.png").exists()
    both = [tmp_path / method / "flange" for method in ("spade", "padim")]
    found = call("val", *data[:4], "--model_path", *both, "--save_path", tmp_path / "both")
    assert found.code == 0, found.err
