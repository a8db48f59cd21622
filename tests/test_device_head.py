"""Scores of a head's layer on a device. The device is the CPU: no GPU is needed."""

import logging
from contextlib import contextmanager

import numpy as np
import paddle
import pytest

from models import deployed, device_head, loading
from models.deployed import ExportedFiles
from models.device_head import LayerScores, exact_products, scoring
from models.engine import Engine
from models.methods import METHODS, PaDiMSettings, PatchCoreSettings, SPADESettings
from models.open_export import GRAPHS
from models.roi import Roi

NARROW = [(3, (8, 8)), (5, (4, 4)), (4, (2, 2))]
WIDE = [(70, (8, 8)), (30, (4, 4)), (4, (2, 2))]
HEADS = [
    ("padim", PaDiMSettings(0.1, "joint"), NARROW),
    ("padim", PaDiMSettings(0.1, "multiscale"), NARROW),
    ("patchcore", PatchCoreSettings(0.3), NARROW),
    ("patchcore", PatchCoreSettings(0.3, "approximate"), NARROW),
    ("patchcore", PatchCoreSettings(0.3, "approximate"), WIDE),
    ("spade", SPADESettings(5), NARROW),
    ("spade", SPADESettings(5, 3, "maximum"), NARROW),
]


def maps(stages, n, seed):
    """Maps whose channels vary less and less, like those of real networks."""
    rng, found = np.random.default_rng(seed), []
    for channels, grid in stages:
        scales = np.geomspace(3, 0.1, channels)[:, None, None]
        found.append((5 + scales * rng.standard_normal((n, channels, *grid))).astype(np.float32))
    return found


def head_of(method, settings, stages):
    head = METHODS[method].head_class()(settings, stages)
    head.update(maps(stages, 12, seed=0))
    head.finish()
    return head


@pytest.mark.parametrize(("method", "settings", "stages"), HEADS)
def test_the_layer_scores_as_the_head_does(method, settings, stages):
    head, others = head_of(method, settings, stages), maps(stages, 5, seed=1)
    found, right = LayerScores(head.layer(), "cpu")(others), head.score(others)
    for ours, theirs in zip(found, right, strict=True):
        if theirs is None:
            assert ours is None
        else:
            assert ours.dtype == np.float32 and ours.shape == theirs.shape
            np.testing.assert_allclose(ours, theirs, rtol=1e-4)


def test_the_approximate_search_stays_approximate():
    settings = PatchCoreSettings(0.3, "approximate")
    head, others = head_of("patchcore", settings, WIDE), maps(WIDE, 5, seed=1)
    exact = head_of("patchcore", PatchCoreSettings(0.3), WIDE)
    farther = exact.score(others)[1] < 0.999 * head.score(others)[1]
    assert farther.any()
    found = LayerScores(head.layer(), "cpu")(others)[1]
    assert (exact.score(others)[1] < 0.999 * found)[farther].all()


@contextmanager
def cpu(device):
    """Stands for `device_head.current` on a machine without the device."""
    assert device == "gpu:0"
    yield


def test_one_picture_at_a_time_without_gradients():
    seen = []

    def layer(tensors):
        seen.append((tensors[0].shape[0], paddle.is_grad_enabled()))
        return None, tensors[0][:, 0]

    (stage,) = maps(NARROW[:1], 3, seed=0)
    image, patches = LayerScores(layer, "cpu")([stage])
    assert seen == [(1, False)] * 3 and image is None
    np.testing.assert_array_equal(patches, stage[:, 0])


def test_the_current_device_is_the_one_before_again(monkeypatch):
    devices = ["gpu:1"]
    monkeypatch.setattr(paddle, "get_device", lambda: devices[-1])
    monkeypatch.setattr(paddle, "set_device", devices.append)

    def layer(tensors):
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        LayerScores(layer, "gpu:0")(maps(NARROW, 1, seed=0))
    assert devices == ["gpu:1", "gpu:0", "gpu:1"]


def test_products_on_a_gpu_are_not_rounded(monkeypatch):
    switch = [True]
    monkeypatch.setattr(device_head.core, "get_cublas_switch", lambda: switch[-1], raising=False)
    monkeypatch.setattr(device_head.core, "set_cublas_switch", switch.append, raising=False)
    with exact_products():
        assert switch[-1] is False
    assert switch == [True, False, True]


def test_only_a_gpu_scores_with_the_layer(monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(device_head, "current", cpu)
    head = head_of("padim", PaDiMSettings(0.1, "joint"), NARROW)
    assert scoring(head, "cpu") == head.score
    assert isinstance(scoring(head, "gpu:0"), LayerScores)
    assert not caplog.text
    head.layer = lambda: None
    assert scoring(head, "gpu:0") == head.score
    assert "gpu:0: this method computes its scores on the CPU" in caplog.text


@pytest.fixture
def gpu(monkeypatch) -> list[str]:
    """A GPU whose layers run on the CPU; the list gets a line for each use of it."""
    used, real = [], device_head.scoring

    def recorded(head, device):
        used.append(device)
        return real(head, device)

    monkeypatch.setattr("models.engine.choose_device", lambda text: text)
    monkeypatch.setattr(device_head, "scoring", recorded)
    monkeypatch.setattr(device_head, "current", cpu)
    return used


def test_a_loaded_detector_scores_on_the_device_of_its_engine(model, gpu):
    ours, right = (loading.load_detector(model, Engine(device)) for device in ("gpu:0", "cpu"))
    stages = right.record.features.stages
    drawn = maps(stages, 2, seed=3)
    for _ in range(2):
        found, expected = ours.judge(drawn), right.judge(drawn)
        np.testing.assert_allclose(found.image, expected.image, rtol=1e-4)
        np.testing.assert_allclose(found.map, expected.map, rtol=1e-4)
    assert gpu == ["gpu:0"]  # made once, and not for the CPU
    for detector in (ours, right):
        detector.roi = Roi(np.arange(64 * 64).reshape(64, 64) < 2000)
    masked = ours.judge(drawn).map
    np.testing.assert_allclose(masked, right.judge(drawn).map, rtol=1e-4)
    assert (np.abs(masked - expected.map) > 1e-2).any()  # the layer, too, gets masked maps
    ours.roi = None
    ours.features = lambda images: maps(stages, len(images), seed=4)
    ours.fit([np.zeros((8, 3, *ours.size), np.float32)])
    after = ours.judge(drawn).image
    assert gpu == ["gpu:0"] * 2
    assert (np.abs(after - expected.image) > 1e-2 * expected.image).all()


def test_an_exported_detector_scores_on_the_device_of_its_engine(exported, gpu, monkeypatch):
    opened = deployed._predictor
    on_cpu = Engine("cpu")
    monkeypatch.setattr(deployed, "_predictor", lambda export, engine: opened(export, on_cpu))
    files = ExportedFiles.within(exported)
    deployed.open_exported(files, Engine("cpu"))
    assert gpu == []
    deployed.open_exported(files, Engine("gpu:0"))  # compares the scores of the probe picture
    assert gpu == ["gpu:0"]
    fused = ExportedFiles.beside(
        next(p for p in exported.glob("fused.*") if p.suffix in GRAPHS),
        distribution=files.distribution,
    )
    deployed.open_exported(fused, Engine("gpu:0"))
    assert gpu == ["gpu:0"]  # the graph contains the head
