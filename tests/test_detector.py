import logging

import numpy as np
import paddle
import pytest
from safetensors.numpy import save_file

from common.errors import UsageError, WorkError
from common.preprocessing import Preprocessing
from models import checkpoint
from models.backbones import names, network, sources
from models.engine import Engine
from models.factory import build_detector
from models.loading import load_detector, load_features
from models.predictor import layer_predictor

SIZE = (64, 96)
CPU = Engine(device="cpu")


def sized(size: tuple[int, int] = SIZE) -> dict:
    """Settings of a detector for pictures of `size`, without a static graph: that saves time."""
    engine = Engine(device="cpu", static=False)
    weights = {"pretrained_backbone": "embedded"}
    return {"preprocessing": Preprocessing(size, size), "engine": engine, **weights}


def pictures(n: int, size: tuple[int, int] = SIZE, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    flat = rng.standard_normal((1, 3, *size))
    return (flat + 0.2 * rng.standard_normal((n, 3, *size))).astype(np.float32)


@pytest.fixture(scope="module")
def detector():
    detector = build_detector(dims=20, **{**sized(), "engine": CPU})
    detector.fit([pictures(8)[:5], pictures(8)[5:]])
    return detector


def test_scores_have_one_number_a_picture_and_one_a_pixel(detector):
    scores = detector.score(pictures(3))
    assert scores.image.shape == (3,)
    assert scores.map.shape == (3, *SIZE)
    assert scores.image.dtype == scores.map.dtype == np.float32
    np.testing.assert_array_equal(scores.image, scores.map.max(axis=(1, 2)))


@pytest.mark.parametrize(
    "images",
    [pictures(1)[0], pictures(1)[:, :, :32], pictures(1).astype(np.float64), pictures(1)[:, :1]],
)
def test_pictures_of_another_shape_or_type_are_refused(detector, images):
    with pytest.raises(ValueError, match=r"float32 pictures \[B,3,64,96\]"):
        detector.score(images)


def test_a_spot_is_found_where_it_is(detector):
    spotted = pictures(2)
    spotted[1, :, 30:42, 60:72] += 4
    scores = detector.score(spotted)
    y, x = np.unravel_index(scores.map[1].argmax(), SIZE)
    assert scores.image[1] > 2 * scores.image[0]
    assert 22 <= y <= 50
    assert 52 <= x <= 80


def test_a_score_depends_on_nothing_but_its_picture(detector):
    batch = pictures(7, seed=5)
    together = detector.score(batch)
    for i in range(7):
        alone = detector.score(batch[i : i + 1])
        assert alone.image[0] == pytest.approx(together.image[i], rel=1e-5)
        np.testing.assert_allclose(alone.map[0], together.map[i], rtol=1e-4)


def test_batches_do_not_change_the_model(detector):
    other = build_detector(dims=20, **sized())
    other.fit(np.split(pictures(8), 8))
    np.testing.assert_allclose(
        other.score(pictures(3)).image, detector.score(pictures(3)).image, rtol=1e-3
    )


def test_a_loaded_detector_scores_the_same(detector, tmp_path):
    checkpoint.save(tmp_path / "best.pdparams", detector.arrays(), detector.record)
    loaded = load_detector(tmp_path / "best.pdparams", CPU)
    assert loaded.record.features == detector.record.features
    assert loaded.head.n == 8
    ours, theirs = loaded.score(pictures(3)), detector.score(pictures(3))
    np.testing.assert_allclose(ours.map, theirs.map, rtol=1e-6)


def test_the_checkpoint_remembers_weights_and_channels(detector):
    arrays, weights = detector.arrays(), detector.record.features.weights
    assert weights.name == "resnet18_tinyimagenet.safetensors"
    assert len(weights.sha256) == 64
    assert len(arrays["channels"]) == 20
    assert not [key for key in arrays if "layer4" in key]


def test_a_checkpoint_of_another_shape_is_refused(detector, tmp_path):
    arrays = detector.arrays()
    arrays["head.mean1"] = arrays["head.mean1"][:, :5]
    checkpoint.save(tmp_path / "best.pdparams", arrays, detector.record)
    with pytest.raises(WorkError, match="mean1 is"):
        load_detector(tmp_path / "best.pdparams", CPU)


@pytest.mark.parametrize("size", [(64, 64), (65, 97), (70, 100), (33, 35)])
def test_the_grids_are_what_the_network_gives(size):
    detector = build_detector(dims=200, **sized(size))
    maps = detector.features(np.zeros((1, 3, *size), np.float32))
    found = tuple((stage.shape[1], stage.shape[2:]) for stage in maps)
    assert found == detector.record.features.stages


@pytest.mark.parametrize("n", [0, 1])
def test_one_picture_is_too_few(n):
    detector = build_detector(dims=5, **sized())
    with pytest.raises(UsageError, match="at least 2" if n else "no training pictures"):
        detector.fit([pictures(n)] if n else [])


def test_more_dims_than_channels_keeps_all_and_says_so(caplog):
    detector = build_detector(dims=449, **sized())
    assert detector.features.reduction.dims == detector.record.features.dims == 448
    assert "448 channels; all are kept" in caplog.text


def test_channels_of_late_stages_alone_need_their_own_grid_only():
    detector = build_detector(dims=1, seed=2, **sized())
    assert detector.features.reduction.channels[0] >= 192  # of layer3, whose own grid is 4 × 6
    detector.fit([pictures(4)])
    assert detector.head.gaussians[0].grid == (4, 6)
    assert detector.score(pictures(1)).map.shape == (1, *SIZE)


def test_a_gpu_that_is_not_there_is_wrong_use():
    if paddle.is_compiled_with_cuda():
        pytest.skip("there may be a GPU")
    with pytest.raises(UsageError, match="no CUDA"):
        build_detector(engine=Engine(device="gpu:0"))


def test_the_static_graph_computes_what_dygraph_computes():
    net = network.build("resnet18", ("layer1", "layer2", "layer3"), SIZE)
    network.set_weights(net, sources.find("resnet18", "embedded").state)
    images = pictures(2)
    dygraph = [stage.numpy() for stage in net(paddle.to_tensor(images))]
    static = layer_predictor(lambda: net, SIZE, CPU)(images)
    assert [stage.shape[1] for stage in static] == [64, 128, 256]
    for one, other in zip(static, dygraph, strict=True):
        assert np.linalg.norm(one - other) / np.linalg.norm(other) < 1e-4


@pytest.mark.parametrize(
    ("asked", "dims", "reduction", "seed", "warning"),
    [
        ({}, 100, "random", 7, ""),
        ({"seed": 3}, 100, "random", 3, ""),
        ({"dims": 448}, 448, "none", None, ""),
        ({"dims": 500, "seed": 3}, 448, "none", None, "448 channels; all are kept"),
        ({"reduction": "none", "seed": 3}, 448, "none", None, ""),
        ({"layers": ("layer1",)}, 64, "none", None, ""),
        ({"reduction": "semi_orthogonal", "dims": 9}, 9, "semi_orthogonal", 7, ""),
    ],
)
def test_the_record_says_what_was_drawn(caplog, asked, dims, reduction, seed, warning):
    built = build_detector(**sized(), **asked)
    record = built.record.features
    assert [record.dims, record.reduction, record.seed] == [dims, reduction, seed]
    assert built.features.reduction.dims == dims
    told = [entry.getMessage() for entry in caplog.records if entry.levelno >= logging.WARNING]
    assert (warning in told[0]) if warning else not told


@pytest.mark.parametrize("wrong", [{"reduction": "half"}, {"dims": 0}, {"layers": ("layer9",)}])
def test_settings_that_are_not_there_are_refused(wrong):
    with pytest.raises((ValueError, UsageError)):
        build_detector(pretrained_backbone="embedded", **wrong)


@pytest.mark.parametrize(
    "wrong", [{"dims": 20, "reduction": "none"}, {"engine": Engine(device="gpu:99")}]
)
def test_wrong_use_is_told_before_anything_is_downloaded(monkeypatch, wrong):
    monkeypatch.setattr(sources, "find", lambda *_: pytest.fail("weights were looked for"))
    with pytest.raises(UsageError):
        build_detector(backbone="wide_resnet50_2", **wrong)


def test_an_epsilon_that_had_to_be_raised_is_in_the_record():
    net = network.build("resnet18", ("layer1",), SIZE)
    state = sources.find("resnet18", "embedded").state
    network.set_weights(net, {**state, "bn1.weight": 1e4 * state["bn1.weight"].astype("f4")})
    built = build_detector(layers=("layer1",), **sized())
    built.features.network.set_state_dict(net.state_dict())
    built.fit([pictures(4)])
    assert built.record.settings.epsilon == built.head.gaussians[0].epsilon > 0.01


@pytest.mark.parametrize(
    ("scheme", "file", "padding"),
    [("timm", "tf_x.safetensors", "same"), ("efficientnet_pytorch", "x.pth", "same_as_trained")],
)
def test_a_librarys_padding_reaches_the_scores(tmp_path, scheme, file, padding):
    """From the names in a file to a detector, and through a checkpoint."""
    ours = sources.find("efficientnet_b0", "random").state
    modules = {ours: theirs for theirs, ours in names.modules("efficientnet_b0", scheme).items()}
    parts = {key: key.rpartition(".") for key in ours}
    theirs = {f"{modules[parts[key][0]]}.{parts[key][2]}": ours[key] for key in ours}
    save_file(theirs, tmp_path / file)
    settings = {"layers": ("block3", "block5"), **sized((70, 99))}
    settings["pretrained_backbone"] = str(tmp_path / file)
    built = build_detector(backbone="efficientnet_b0", **settings)
    images = pictures(3, (70, 99))
    expected = network.build(
        "efficientnet_b0", settings["layers"], (70, 99), {"padding": padding, "epsilon": 1e-3}
    )
    network.set_weights(expected, ours)
    for found, stage in zip(
        built.features(images), expected(paddle.to_tensor(images)), strict=True
    ):
        np.testing.assert_allclose(found, stage.numpy(), rtol=1e-3, atol=1e-4)
    built.fit([images])
    again = load_features(built.arrays(), built.record, CPU)
    for found, stage in zip(again(images), built.features(images), strict=True):
        np.testing.assert_allclose(found, stage, rtol=1e-4, atol=1e-5)
