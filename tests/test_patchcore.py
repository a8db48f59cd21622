"""PatchCore against the paper's equations in float64 (Roth et al. 2022, arXiv 2106.08265)."""

import tracemalloc

import numpy as np
import paddle
import pytest

from common.errors import UsageError, WorkError
from models.factory import plan
from models.heads.patchcore import PatchCoreHead, layer, weighted
from models.methods import PatchCoreSettings

STAGES = [(3, (8, 8)), (5, (4, 4))]
ODD = [(2, (7, 5)), (3, (4, 3)), (4, (4, 3))]
EACH = pytest.mark.parametrize("stages", [STAGES, ODD])


def maps(stages, n=12, seed=0):
    rng = np.random.default_rng(seed)
    return [(10 + 3 * rng.standard_normal((n, c, *g))).astype(np.float32) for c, g in stages]


def head_of(stages, drawn, ratio=0.3) -> PatchCoreHead:
    head = PatchCoreHead(PatchCoreSettings(ratio), stages)
    head.update([stage[:7] for stage in drawn])
    head.update([stage[7:] for stage in drawn])
    head.finish()
    return head


def patches(stages, x):
    """Patches float64 [B,h·w,D]; Paddle upsamples."""
    h, w = stages[0][1]
    up = {"size": (h, w), "mode": "bilinear", "align_corners": False}
    tensors = [paddle.to_tensor(stage.astype(np.float64)) for stage in x]
    joined = np.concatenate([paddle.nn.functional.interpolate(t, **up).numpy() for t in tensors], 1)
    return joined.reshape(len(joined), -1, h * w).transpose(0, 2, 1)


def expected(bank, x, grid):
    """Equations 6 (for each patch) and 7, as written: image [B] and patch scores [B,h,w]."""
    image, found = [], []
    for picture in x:
        all_distances = np.linalg.norm(picture[:, None] - bank, axis=2)
        distances, nearest = all_distances.min(axis=1), all_distances.argmin(axis=1)
        worst = distances.argmax()
        around = np.linalg.norm(bank - bank[nearest[worst]], axis=1).argsort()[:9]
        others = np.exp(all_distances[worst, around])
        image.append((1 - np.exp(distances[worst]) / others.sum()) * distances[worst])
        found.append(distances.reshape(grid))
    return np.array(image), np.array(found)


@EACH
def test_scores_follow_the_equations(stages):
    drawn, others = maps(stages), maps(stages, 5, seed=1)
    head = head_of(stages, drawn)
    right = expected(head.search.bank.astype(float), patches(stages, others), stages[0][1])
    for found, wanted in zip(head.score(others), right, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_the_bank_has_patches_of_the_pictures_that_it_names():
    drawn = maps(STAGES)
    head, there = head_of(STAGES, drawn), patches(STAGES, drawn)
    assert head.n == 12 and len(head.search.bank) == int(0.3 * 12 * 64)
    for entry, picture in zip(head.search.bank, head.search.pictures, strict=True):
        assert np.abs(there[picture] - entry).max(axis=1).min() < 1e-4
    all_kept = head_of(STAGES, drawn, ratio=1)
    np.testing.assert_allclose(all_kept.score(drawn)[1], 0, atol=1e-6)


def test_the_weight_bears_distances_that_float32_has_no_power_of():
    others = np.array([500, 501, 500, 500.5], np.float32)
    e = np.exp(others.astype(float) - 500)
    assert weighted(np.float32(500), others) == pytest.approx((1 - 1 / e.sum()) * 500, rel=1e-5)
    assert weighted(np.float32(500), others[:1]) == 500


def test_leaving_a_picture_out_leaves_its_entries_out():
    drawn = maps(STAGES)
    head, grid = head_of(STAGES, drawn), STAGES[0][1]
    image, found = head.leave_one_out([stage[4:8] for stage in drawn], first=4)
    for i in range(4, 8):
        rest = head.search.bank[head.search.pictures != i].astype(float)
        right = expected(rest, patches(STAGES, drawn)[i : i + 1], grid)
        np.testing.assert_allclose(image[i - 4], right[0][0], rtol=1e-5)
        np.testing.assert_allclose(found[i - 4], right[1][0], rtol=1e-5)
    assert 0.5 < head.unit / np.median(found) < 2


def test_merged_heads_are_one_that_saw_all():
    drawn = maps(STAGES)
    first, second = (PatchCoreHead(PatchCoreSettings(0.3), STAGES) for _ in range(2))
    first.update([stage[:7] for stage in drawn])
    second.update([stage[7:] for stage in drawn])
    first.merge(second)
    first.finish()
    for name, array in head_of(STAGES, drawn).arrays().items():
        np.testing.assert_array_equal(first.arrays()[name], array)
    with pytest.raises(ValueError, match="cannot learn any more"):
        first.update(drawn)
    with pytest.raises(ValueError, match="maps of other shapes"):
        PatchCoreHead(PatchCoreSettings(), ODD).merge(second)


@EACH
@pytest.mark.parametrize("entries", [4096, 50])
def test_the_layer_computes_the_same(stages, entries, monkeypatch):
    monkeypatch.setattr(layer, "ENTRIES", entries)
    drawn, others = maps(stages), maps(stages, 3, seed=2)
    head = head_of(stages, drawn)
    outputs = head.layer()([paddle.to_tensor(stage) for stage in others])
    for found, right in zip(outputs, head.score(others), strict=True):
        np.testing.assert_allclose(found.numpy(), right, rtol=1e-4)


@pytest.mark.parametrize("kept", [1, 3])
def test_a_bank_may_have_fewer_entries_than_neighbours(kept):
    head = head_of(STAGES, maps(STAGES), ratio=kept / (12 * 64) + 1e-9)
    assert len(head.search.bank) == kept
    others = maps(STAGES, 3, seed=2)
    outputs = head.layer()([paddle.to_tensor(stage) for stage in others])
    for found, right in zip(outputs, head.score(others), strict=True):
        np.testing.assert_allclose(found.numpy(), right, rtol=1e-4)
    image, _ = head.leave_one_out(maps(STAGES))
    assert np.isinf(image).any() == (kept == 1)


def test_a_picture_has_the_same_score_alone_and_in_a_batch():
    head, others = head_of(STAGES, maps(STAGES)), maps(STAGES, 5, seed=3)
    image, found = head.score(others)
    for i in range(5):
        alone = head.score([stage[i : i + 1] for stage in others])
        np.testing.assert_allclose(alone[0][0], image[i], rtol=1e-6)
        np.testing.assert_allclose(alone[1][0], found[i], rtol=1e-6)


def test_a_head_comes_back_from_its_arrays():
    drawn = maps(STAGES)
    head = head_of(STAGES, drawn)
    for dtype, tolerance in (("float32", 0), ("float16", 2e-2)):
        arrays = head.arrays(dtype)
        assert arrays["bank"].dtype == dtype
        again = PatchCoreHead.from_arrays(arrays, head.settings, STAGES, head.n)
        assert again.unit == pytest.approx(head.unit)
        others = maps(STAGES, 3, seed=4)
        for found, right in zip(again.score(others), head.score(others), strict=True):
            np.testing.assert_allclose(found, right, rtol=tolerance)


def test_arrays_that_do_not_match_are_refused():
    head = head_of(STAGES, maps(STAGES))
    right = head.arrays()
    wrong = [
        {"bank": right["bank"][:, 1:]},
        {"bank": right["bank"].astype(np.int64)},
        {"bank": np.zeros((12 * 64 + 1, 8), np.float32)},
        {"bank": np.zeros((0, 8), np.float32), "pictures": right["pictures"][:0]},
        {"bank": np.zeros((int(0.3 * 12 * 64) + 1, 8), np.float32)},
        {"pictures": right["pictures"][1:]},
        {"pictures": right["pictures"] + np.int32(12)},
        {"unit": np.zeros(1, np.float32)},
    ]
    for change in wrong:
        with pytest.raises(ValueError, match="expected"):
            PatchCoreHead.from_arrays(right | change, head.settings, STAGES, 12)


def test_pictures_that_are_all_equal_make_a_model():
    one = [stage.repeat(3, axis=0) for stage in maps(STAGES, 1)]
    head = PatchCoreHead(PatchCoreSettings(1.0), STAGES)
    head.update(one)
    head.finish()
    assert len(head.search.bank) <= 64 and head.unit > 0
    np.testing.assert_allclose(head.score(one)[1], 0, atol=1e-5)


def test_unusable_features_are_an_error():
    head = PatchCoreHead(PatchCoreSettings(), STAGES)
    head.update(maps(STAGES, 1))
    with pytest.raises(UsageError, match="at least 2 good pictures, found 1"):
        head.finish()
    bad = maps(STAGES, 3)
    bad[1][0, 0, 0, 0] = np.nan
    head.update(bad)
    with pytest.raises(WorkError, match="not finite"):
        head.finish()
    large = head_of(STAGES, [1e4 * stage for stage in maps(STAGES)])
    with pytest.raises(WorkError, match="too large for float16; use float32"):
        large.arrays("float16")


def test_the_estimate_of_memory_is_true():
    stages, settings = [(60, (28, 28)), (100, (14, 14))], PatchCoreSettings(0.2)
    drawn = [maps(stages, 8, seed) for seed in range(4)]
    small = PatchCoreHead(settings, STAGES)
    small.update(maps(STAGES, 8))
    small.finish()  # starts the threads
    tracemalloc.start()
    head = PatchCoreHead(settings, stages)
    for batch in drawn:
        head.update(batch)
    head.finish()
    head.arrays("float16")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    estimated = PatchCoreHead.memory(settings, stages, 32)
    assert 0.4 * estimated < peak < 1.3 * estimated


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_the_estimate_of_memory_for_a_stored_model_is_true(dtype):
    stages, settings = [(160, (28, 28))], PatchCoreSettings(0.3)
    scales = np.exp2(
        -np.arange(160, dtype="f")[:, None, None]
    )  # like features: few directions vary
    (drawn,) = maps(stages, 30)
    head = PatchCoreHead(settings, stages)
    head.update([drawn * scales])
    head.finish()
    tracemalloc.start()
    arrays = {name: array.copy() for name, array in head.arrays(dtype).items()}
    again = PatchCoreHead.from_arrays(arrays, settings, stages, 30)
    del arrays
    again.score([drawn[:2] * scales])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    estimated = PatchCoreHead.stored_memory(settings, stages, 30)
    assert 0.4 * estimated < peak < estimated
    assert 2 * estimated < PatchCoreHead.memory(settings, stages, 30)


def test_a_bank_that_is_too_large_is_refused_with_the_remedy(monkeypatch):
    with pytest.raises(UsageError, match=r"or the model \(dims, layers, coreset_ratio\)"):
        plan("patchcore", pictures=10**9)
    with pytest.raises(UsageError, match=r"or the model \(dims, layers\)"):
        plan("padim", backbone="wide_resnet50_2", batch_size=10**9)


@pytest.mark.parametrize(
    ("backbone", "layers", "patch_size"),
    [
        ("resnet18", ("layer2", "layer3"), 3),
        ("efficientnet_lite0", ("block5", "block9"), 1),
        ("efficientnet_b0", ("block5", "block11"), 3),
    ],
)
def test_the_defaults_of_the_method(backbone, layers, patch_size):
    planned = plan("patchcore", backbone=backbone, pictures=1000)
    assert planned.patch_size == patch_size
    assert (planned.layers, planned.reduction, planned.seed) == (layers, "none", None)
    assert planned.settings == PatchCoreSettings(0.1)
