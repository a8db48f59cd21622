"""Several Gaussians: their distances and scores against the formulas in float64."""

from dataclasses import replace

import numpy as np
import paddle
import pytest

from common.errors import UsageError
from common.preprocessing import Preprocessing
from models.backbones.catalogue import default_layers
from models.engine import Engine
from models.factory import build_detector, plan
from models.heads.padim import PaDiMHead
from models.methods import PaDiMSettings
from models.record import RecordError, encode
from tests.test_checkpoint import RECORD

STAGES = [(3, (8, 8)), (4, (4, 4)), (5, (2, 2))]
ODD = [(2, (7, 5)), (3, (4, 3)), (2, (2, 2))]
EACH = pytest.mark.parametrize("stages", [STAGES, ODD])
SETTINGS = PaDiMSettings(epsilon=0.1, gaussians="multiscale")


def maps(stages, n=20, seed=0):
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((n, 1, 1, 1))
    return [(rng.standard_normal((n, c, *g)) + common).astype(np.float32) for c, g in stages]


def head_of(stages, drawn) -> PaDiMHead:
    head = PaDiMHead(SETTINGS, stages)
    head.update([stage[:13] for stage in drawn])
    head.update([stage[13:] for stage in drawn])
    head.finish()
    return head


def on(stage, grid):
    """A map on another grid: repeated where it is finer, averaged where it is coarser."""
    for axis, side in zip((2, 3), grid, strict=True):
        length = stage.shape[axis]
        if side >= length:
            stage = stage.take(np.arange(side) * length // side, axis)
        else:
            below = np.arange(length) * side // length
            parts = [stage.compress(below == i, axis).mean(axis) for i in range(side)]
            stage = np.stack(parts, axis)
    return stage


def squared(train, x, divisor=None):
    """Squared distances [B,h,w] of x [B,d,h,w] from the Gaussians of `train`."""
    centred = train - train.mean(0)
    scatter = np.einsum("bihw,bjhw->hwij", centred, centred) / (divisor or len(train) - 1)
    precision = np.linalg.inv(scatter + 0.1 * np.eye(train.shape[1]))
    z = x - train.mean(0)
    return np.einsum("bihw,hwij,bjhw->bhw", z, precision, z)


def expected(stages, train, x, divisor=None):
    """Image and patch scores, as module `views` describes them."""
    train, x = ([stage.astype(float) for stage in maps] for maps in (train, x))
    finest, coarsest = stages[0][1], stages[-1][1]

    def distances(used, grid):
        return squared(*(np.concatenate([on(m[i], grid) for i in used], 1) for m in (train, x)),
                       divisor)  # fmt: skip

    fine = distances([0], finest)
    patch = distances([0, 1], finest)
    region = distances([0, 1, 2], coarsest)
    image = np.sqrt((patch + on(region[:, None], finest)[:, 0]).max(axis=(1, 2)))
    return image, (fine * patch) ** 0.25


@EACH
def test_scores_follow_the_formulas(stages):
    drawn, others = maps(stages), maps(stages, 6, seed=1)
    for found, right in zip(
        head_of(stages, drawn).score(others), expected(stages, drawn, others), strict=True
    ):
        np.testing.assert_allclose(found, right, rtol=1e-4)


def test_leaving_a_picture_out_is_exact():
    drawn = maps(STAGES)
    image, patches = head_of(STAGES, drawn).leave_one_out(drawn)
    for i in range(20):
        others, one = [np.delete(m, i, 0) for m in drawn], [m[i : i + 1] for m in drawn]
        right = expected(STAGES, others, one, divisor=19)
        np.testing.assert_allclose(image[i], right[0][0], rtol=1e-3)
        np.testing.assert_allclose(patches[i], right[1][0], rtol=1e-3)


def test_merged_heads_score_as_one_that_saw_all():
    drawn = maps(STAGES)
    first, second = PaDiMHead(SETTINGS, STAGES), PaDiMHead(SETTINGS, STAGES)
    first.update([stage[:8] for stage in drawn])
    second.update([stage[8:] for stage in drawn])
    first.merge(second)
    first.finish()
    for found, right in zip(first.score(drawn), head_of(STAGES, drawn).score(drawn), strict=True):
        np.testing.assert_allclose(found, right, rtol=1e-4)


@EACH
def test_the_layer_computes_the_same(stages):
    drawn, others = maps(stages), maps(stages, 3, seed=2)
    head = head_of(stages, drawn)
    outputs = head.layer()([paddle.to_tensor(stage) for stage in others])
    for found, right in zip(outputs, head.score(others), strict=True):
        np.testing.assert_allclose(found.numpy(), right, rtol=1e-4)


@EACH
def test_a_head_comes_back_from_its_arrays(stages):
    drawn = maps(stages)
    head = head_of(stages, drawn)
    again = PaDiMHead.from_arrays(head.arrays(), head.settings, stages, head.n)
    for found, right in zip(again.score(drawn), head.score(drawn), strict=True):
        np.testing.assert_array_equal(found, right)


def test_the_estimate_of_memory_covers_all_gaussians():
    head = PaDiMHead(SETTINGS, STAGES)
    factors = [level.factor.nbytes for g in head.gaussians for level in g.levels]
    assert PaDiMHead.memory(SETTINGS, STAGES, 100) == 2 * sum(factors)


SMALL_PICTURES = {
    "preprocessing": Preprocessing(64, (64, 64)),
    "engine": Engine(device="cpu", static=False),
}


@pytest.mark.parametrize(
    ("backbone", "layers", "gaussians"),
    [
        ("efficientnet_lite0", None, "multiscale"),
        ("efficientnet_lite1", None, "multiscale"),
        ("efficientnet_lite0", ("block5", "block8", "block11"), "joint"),
        ("efficientnet_b0", None, "joint"),
        ("resnet18", None, "joint"),
    ],
)
def test_the_default_follows_backbone_and_layers(backbone, layers, gaussians):
    built = build_detector(
        backbone=backbone, layers=layers, pretrained_backbone="random", **SMALL_PICTURES
    )
    epsilon = 0.5 if "lite" in backbone else 0.01
    assert built.record.settings == PaDiMSettings(epsilon, gaussians)
    assert built.record.features.layers == (layers or default_layers(backbone))


def test_a_random_choice_that_omits_a_layer_is_joint():
    few = {"pretrained_backbone": "random", "dims": 2, **SMALL_PICTURES}
    built = build_detector(**few)
    assert built.record.settings.gaussians == "joint" and built.record.features.grids < 3
    with pytest.raises(UsageError, match="multiscale needs layers on 3 or more grids"):
        build_detector(settings=PaDiMSettings(gaussians="multiscale"), **few)


def test_multiscale_works_with_other_backbones_and_not_with_fewer_grids():
    settings = PaDiMSettings(gaussians="multiscale")
    assert plan(backbone="resnet18", settings=settings).settings == settings
    with pytest.raises(UsageError, match="3 or more grids, but these are on 2; use joint"):
        plan(backbone="resnet18", settings=settings, layers=("layer1", "layer2"))
    with pytest.raises(UsageError, match="but these are on 1; use joint"):
        plan(backbone="resnet18", settings=settings, reduction="semi_orthogonal")


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (PaDiMSettings(gaussians="joint"), "settings: auto or null"),
        (PaDiMSettings(epsilon=0.1), "settings: auto or null"),
        (PaDiMSettings(epsilon=0.1, gaussians="multiscale"), "3 or more grids, but these are on 2"),
    ],
)
def test_a_record_has_settings_that_fit_its_maps(settings, problem):
    record = replace(RECORD, settings=settings, arrays_sha256="0" * 64)
    with pytest.raises(RecordError, match=problem):
        encode(record, "a model", 1)
