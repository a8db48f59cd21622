"""A detector that is fitted twice, shared by threads, or whose file changes while it is open."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from common.errors import UsageError, WorkError
from common.preprocessing import Preprocessing
from inspection import Inspector
from models import checkpoint
from models.engine import Engine
from models.factory import build_detector, plan
from models.loading import load_detector
from tests.conftest import call, fails

CPU = Engine(device="cpu")
SIZE = (32, 32)


def pictures(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, 3, *SIZE)).astype(np.float32)


@pytest.fixture
def detector():
    engine = Engine(device="cpu", static=False)
    return build_detector(
        dims=10,
        preprocessing=Preprocessing(32, SIZE),
        pretrained_backbone="embedded",
        engine=engine,
    )


def test_fitting_again_forgets_what_was_learned(detector):
    detector.fit([pictures(6)])
    expected = detector.score(pictures(2, seed=1)).image
    detector.fit([pictures(6)])
    np.testing.assert_array_equal(detector.score(pictures(2, seed=1)).image, expected)
    assert detector.record.pictures == detector.head.n == 6


def test_a_fit_that_fails_leaves_the_model_as_it_was(detector):
    with pytest.raises(UsageError, match="at least 2"):
        detector.fit([pictures(1)])
    detector.fit([pictures(4)])
    expected = detector.score(pictures(2, seed=1)).image
    with pytest.raises(UsageError, match="no training pictures"):
        detector.fit([])
    np.testing.assert_array_equal(detector.score(pictures(2, seed=1)).image, expected)


def test_a_loaded_detector_may_learn_again(trained):
    detector = load_detector(trained / "flange" / "best.pdparams", Engine("cpu", static=False))
    images = np.random.default_rng(3).standard_normal((5, 3, 64, 64)).astype(np.float32)
    detector.fit([images])
    assert detector.record.pictures == 5
    assert np.isfinite(detector.score(images).image).all()


def test_scoring_before_learning_and_empty_batches_are_errors(detector):
    with pytest.raises(ValueError, match="fit first"):
        detector.score(pictures(1))
    detector.fit([pictures(3)])
    with pytest.raises(ValueError, match="expected normalised float32 pictures"):
        detector.score(pictures(0))


@pytest.mark.process
def test_threads_that_share_an_inspector_get_their_own_scores(trained, demo):
    paths = sorted((demo / "flange" / "test").rglob("*.png"))
    inspector = Inspector.open(trained / "flange", CPU, batch_size=2, workers=1)
    expected = [j.score for j in inspector.inspect(paths)]

    def turned(i: int) -> list[float]:
        order = paths[i:] + paths[:i]
        found = {j.source: j.score for j in inspector.inspect(order)}
        return [found[path] for path in paths]

    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(turned, range(8)):
            assert found == pytest.approx(expected, rel=1e-5)


def test_a_model_that_is_replaced_after_it_was_opened_is_still_read(trained, tmp_path):
    path = tmp_path / "best.pdparams"
    arrays, record = checkpoint.load(trained / "flange" / "best.pdparams")
    checkpoint.save(path, arrays, record)
    inspector = Inspector.open(path, CPU)
    calibration = replace(record.calibration, best_f1=None)
    checkpoint.save(path, arrays, replace(record, calibration=calibration))
    assert inspector.load().detector.record == inspector.record
    assert inspector.record.calibration.best_f1 is not None


def test_a_model_whose_file_is_written_over_after_it_was_opened_is_named(trained, tmp_path):
    path = tmp_path / "best.pdparams"
    shutil.copy(trained / "flange" / "best.pdparams", path)
    inspector = Inspector.open(path, CPU)
    path.write_bytes(b"short")
    with pytest.raises(WorkError, match=r"best\.pdparams: changed since it was opened"):
        inspector.load()


@pytest.mark.parametrize("single", ["a.png", b"bytes", np.zeros((4, 4, 3), np.uint8)])
def test_one_picture_must_be_given_in_a_list(trained, single):
    inspector = Inspector.open(trained / "flange", CPU)
    with pytest.raises(TypeError, match="give a list"):
        next(inspector.inspect(single))


@pytest.mark.parametrize("settings", [{"batch_size": 0}, {"workers": -1}])
def test_impossible_settings_of_an_inspector(trained, settings):
    with pytest.raises(ValueError, match="expected 1, 0 or more"):
        Inspector.open(trained / "flange", CPU, **settings)


@pytest.mark.parametrize(
    "settings", [{"device": "cuda"}, {"precision": "fp64"}, {"threads": 0}, {"device": "gpu:x"}]
)
def test_impossible_engines(settings):
    with pytest.raises(ValueError, match="expected"):
        Engine(**settings)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"method": "magic"}, "method"),
        ({"backbone": "resnet19"}, "backbone"),
        ({"layers": ["layer9"]}, "layers"),
        ({"layers": []}, "layers"),
        ({"sigma": 0}, "sigma"),
        ({"seed": 2**63}, "seed"),
        ({"category": "n" * 220}, None),
        ({"category": "a\nb"}, None),
    ],
)
def test_impossible_plans_name_the_setting(settings, name):
    with pytest.raises(UsageError) as error:
        plan(**settings)
    assert error.value.setting == name


def test_one_changed_bit_in_the_record_is_noticed(trained, demo, tmp_path):
    content = (trained / "flange" / "best.pdparams").read_bytes()
    assert content.count(b"0.485") == 1
    path = tmp_path / "best.pdparams"
    path.write_bytes(content.replace(b"0.485", b"0.495"))
    picture = demo / "flange" / "test" / "good" / "000.png"
    result = call(
        *("predict", "--picture_path", picture, "--model_path", path),
        *("--save_path", tmp_path / "sheet.png"),
    )
    fails(result, 1, path, "its record changed")


def test_a_file_larger_than_its_record_explains_is_not_read(trained, tmp_path):
    arrays, record = checkpoint.load(trained / "flange" / "best.pdparams")
    path = tmp_path / "best.pdparams"
    checkpoint.save(path, arrays, record)
    with pytest.raises(WorkError, match="larger than a model of its record"):
        checkpoint.load(path, most=lambda record: path.stat().st_size - 1)


def test_names_cannot_forge_lines(trained, demo, tmp_path):
    (tmp_path / "x\nerror: forged.png").write_bytes(b"no picture")
    (tmp_path / "c1\x9b31m.png").write_bytes(
        (demo / "flange" / "test" / "good" / "000.png").read_bytes()
    )
    result = call(
        *("predict", "--picture_path", tmp_path, "--model_path", trained / "flange", "--json"),
        *("--skip_bad", "--save_picture", "False", "--to_static", "False"),
    )
    assert result.code == 0
    assert "\nerror: forged" not in result.err
    assert "\x9b" not in result.out
    assert r"c1\u009b31m.png" in result.out


def test_wrong_options_are_one_short_printable_line(capsys):
    result = call("predict", "--picture_path", "x", "--foo\x1b[31m\nerror: y" + "z" * 5000)
    assert result.code == 2
    assert "\x1b" not in result.err
    assert len(result.err.splitlines()) == 1 and len(result.err) < 800
