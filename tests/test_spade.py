"""SPADE against its paper's equations in float64."""

import tracemalloc

import numpy as np
import paddle
import pytest

from common.errors import UsageError, WorkError
from models import memory
from models.backbones import catalogue
from models.factory import plan
from models.heads.spade import SPADEHead
from models.methods import METHODS, SPADESettings

STAGES = [(3, (8, 8)), (4, (4, 4)), (5, (2, 2)), (6, (2, 2))]
ODD = [(2, (7, 5)), (3, (4, 3)), (2, (2, 2)), (4, (1, 1))]
SHARED = [(3, (4, 4)), (2, (4, 4)), (6, (2, 2))]  # two stages on one grid
ALONE = [(3, (4, 4))]
EACH = pytest.mark.parametrize("stages", [STAGES, ODD, SHARED, ALONE])
SETTINGS = SPADESettings(gallery=5)


def drawn(stages, n=9, seed=0):
    """Maps of n pictures, with a mean far from 0, as those of real networks."""
    rng = np.random.default_rng(seed)
    return [(3 + rng.standard_normal((n, c, *grid))).astype(np.float32) for c, grid in stages]


def head_of(stages, maps, settings=SETTINGS) -> SPADEHead:
    head = SPADEHead(settings, stages)
    head.update([stage[:4] for stage in maps])
    head.update([stage[4:] for stage in maps])
    head.finish()
    return head


def patches(maps):
    """The concatenated features of all patches, float64 [B,P,C]; coarse ones are repeated."""
    maps = [stage.astype(float) for stage in maps[:-1] or maps]
    found = maps[-1]
    for stage in maps[-2::-1]:
        for axis in (2, 3):
            side = stage.shape[axis]
            found = found.take(np.arange(side) * found.shape[axis] // side, axis)
        found = np.concatenate([stage, found], axis=1)
    return found.reshape(*found.shape[:2], -1).transpose(0, 2, 1)


def expected(train, maps, k, kappa):
    """Equations 1 and 3 of the paper, picture by picture and patch by patch."""
    gallery, queries, image, scores = patches(train), patches(maps), [], []
    pooled = [m[-1].astype(float).mean(axis=(2, 3)) for m in (train, maps)]
    for f, ours in zip(pooled[1], queries, strict=True):
        distances = ((pooled[0] - f) ** 2).sum(axis=1)
        nearest = np.argsort(distances)[:k]
        image.append(distances[nearest].mean())
        features = gallery[nearest].reshape(-1, gallery.shape[2])
        scores.append([
            np.sort(((features - x) ** 2).sum(axis=1))[:kappa].mean() for x in ours
        ])  # fmt: skip
    return np.array(image), np.reshape(scores, (-1, *maps[0].shape[2:]))


def same(found, right, tolerance=1e-5):
    for ours, theirs in zip(found, right, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=tolerance)


@EACH
@pytest.mark.parametrize(("k", "kappa"), [(5, 1), (50, 1), (5, 3), (2, 31)])
def test_scores_follow_the_equations(stages, k, kappa):
    train, maps = drawn(stages), drawn(stages, 4, seed=1)
    head = head_of(stages, train, SPADESettings(k, kappa))
    found = head.score(maps)
    assert [part.dtype for part in found] == [np.float32, np.float32]
    same(found, expected(train, maps, min(k, 9), kappa))


def test_bands_and_groups_do_not_change_scores(monkeypatch):
    train, maps = drawn(STAGES), drawn(STAGES, 4, seed=1)
    right = head_of(STAGES, train).score(maps)
    monkeypatch.setattr("models.heads.spade.gallery.BLOCK_ELEMENTS", 100)
    same(head_of(STAGES, train).score(maps), right, 1e-6)


def test_a_training_picture_has_the_score_0():
    train = drawn(STAGES)
    found = head_of(STAGES, train, SPADESettings(gallery=1)).score(train)
    assert found[0].max() < 1e-10
    assert found[1].max() == 0


@EACH
@pytest.mark.parametrize("k", [4, 50])
def test_leaving_a_picture_out_is_exact(stages, k):
    train = drawn(stages)
    found = head_of(stages, train, SPADESettings(gallery=k)).leave_one_out(
        [stage[3:6] for stage in train], first=3
    )
    for i in range(3):
        others, one = ([m[part] for m in train] for part in (np.arange(9) != i + 3, [i + 3]))
        same([part[i : i + 1] for part in found], expected(others, one, min(k, 8), 1))


def test_merged_heads_score_as_one_that_saw_all():
    train, maps = drawn(STAGES), drawn(STAGES, 4, seed=1)
    first, second = SPADEHead(SETTINGS, STAGES), SPADEHead(SETTINGS, STAGES)
    first.update([stage[:5] for stage in train])
    second.update([stage[5:] for stage in train])
    first.merge(second)
    first.finish()
    assert first.n == 9
    same(first.score(maps), head_of(STAGES, train).score(maps), 1e-6)
    with pytest.raises(ValueError, match="other shapes"):
        SPADEHead(SETTINGS, STAGES).merge(SPADEHead(SETTINGS, ODD))
    with pytest.raises(ValueError, match="cannot learn any more"):
        first.update(train)


def test_the_unit_is_a_usual_score_of_a_good_picture():
    train = drawn(STAGES)
    head = head_of(STAGES, train)
    usual = head.leave_one_out(train)[1].mean()
    assert 0.7 * usual < head.unit < 1.4 * usual


@EACH
@pytest.mark.parametrize("kappa", [1, 3])
def test_the_layer_computes_the_same(stages, kappa):
    head = head_of(stages, drawn(stages), SPADESettings(5, kappa))
    maps = drawn(stages, 3, seed=2)
    outputs = head.layer()([paddle.to_tensor(stage) for stage in maps])
    same([output.numpy() for output in outputs], head.score(maps), 1e-4)


def test_the_image_score_can_be_left_to_the_map():
    train, maps = drawn(STAGES), drawn(STAGES, 3, seed=2)
    head = head_of(STAGES, train, SPADESettings(5, image_score="maximum"))
    right = head_of(STAGES, train).score(maps)[1]
    for image, patches in (
        head.score(maps),
        head.layer()([paddle.to_tensor(stage) for stage in maps]),
    ):
        assert image is None
        same([np.asarray(patches)], [right])


@EACH
def test_a_head_comes_back_from_its_arrays(stages):
    head, maps = head_of(stages, drawn(stages)), drawn(stages, 3, seed=1)
    again = SPADEHead.from_arrays(head.arrays(), head.settings, stages, head.n)
    for found, right in zip(again.score(maps), head.score(maps), strict=True):
        np.testing.assert_allclose(found, right, rtol=1e-6)
    assert again.unit == pytest.approx(head.unit)
    half = SPADEHead.from_arrays(head.arrays("float16"), head.settings, stages, head.n)
    same(half.score(maps), head.score(maps), 1e-2)
    assert head.arrays("float16")["patches0"].dtype == np.float16


def test_arrays_of_another_model_are_refused():
    head = head_of(STAGES, drawn(STAGES))
    for name, array in head.arrays().items():
        wrong = head.arrays() | {name: array[:-1]}
        with pytest.raises(ValueError, match=f"{name} is float32"):
            SPADEHead.from_arrays(wrong, head.settings, STAGES, head.n)
        with pytest.raises(KeyError, match=name):
            arrays = {key: value for key, value in head.arrays().items() if key != name}
            SPADEHead.from_arrays(arrays, head.settings, STAGES, head.n)


def test_what_cannot_be_learned_is_refused():
    head = SPADEHead(SETTINGS, STAGES)
    head.update(drawn(STAGES, 1))
    with pytest.raises(UsageError, match="at least 2 good pictures, found 1"):
        head.finish()
    with pytest.raises(UsageError, match="all equal"):
        head_of(STAGES, [np.repeat(stage, 6, axis=0) for stage in drawn(STAGES, 1)])
    with pytest.raises(UsageError, match="has only 512 patches; choose a smaller number"):
        head_of(STAGES, drawn(STAGES), SPADESettings(kappa=513))
    broken = drawn(STAGES)
    broken[0][2, 0, 0, 0] = np.nan
    with pytest.raises(WorkError, match="not finite"):
        head_of(STAGES, broken)


@pytest.mark.parametrize(
    ("name", "value"), [("gallery", 0), ("gallery", 10**5), ("kappa", 0), ("image_score", "mean")]
)
def test_settings_out_of_range_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} {value!r}: expected (a|one of pooled, maximum)"):
        SPADESettings(**{name: value})


def test_the_estimate_of_memory_covers_all_training_pictures():
    head = head_of(STAGES, drawn(STAGES))
    kept = sum(level.gallery.nbytes + level.norms.nbytes for level in head.levels)
    one, two = (SPADEHead.memory(SETTINGS, STAGES, n) for n in (1000, 2000))
    assert two - one == 1000 * 2 * (kept // 9 + head.pooled[0].nbytes)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_the_estimate_of_memory_for_a_stored_model_is_true(dtype):
    stages = [(40, (28, 28)), (60, (14, 14)), (9, (7, 7))]
    maps = drawn(stages, 60)
    head = head_of(stages, maps)
    tracemalloc.start()
    arrays = {name: array.copy() for name, array in head.arrays(dtype).items()}
    again = SPADEHead.from_arrays(arrays, SETTINGS, stages, 60)
    del arrays
    again.score([stage[:1] for stage in maps])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    estimated = SPADEHead.stored_memory(SETTINGS, stages, 60)
    assert 0.4 * estimated < peak < estimated


def test_bands_do_not_change_the_layers_scores(monkeypatch):
    monkeypatch.setattr("models.heads.spade.layer.BAND_ELEMENTS", 64 * 10)
    head, maps = head_of(STAGES, drawn(STAGES)), drawn(STAGES, 3, seed=2)
    scores = head.layer()
    assert scores.bands[-2:] == [(50, 60), (60, 64)]
    outputs = scores([paddle.to_tensor(stage) for stage in maps])
    same([output.numpy() for output in outputs], head.score(maps), 1e-4)
    alone, maps = head_of(ALONE, drawn(ALONE)), drawn(ALONE, 3, seed=2)
    monkeypatch.setattr("models.heads.spade.layer.BAND_ELEMENTS", 1)
    outputs = alone.layer()([paddle.to_tensor(stage) for stage in maps])
    same([output.numpy() for output in outputs], alone.score(maps), 1e-4)


def test_too_many_training_pictures_are_refused_with_a_remedy(monkeypatch):
    monkeypatch.setattr(memory, "total_memory", lambda: 8 * 10**9)
    plan("spade", backbone="resnet18", pictures=2000)
    with pytest.raises(UsageError, match="layers.*number of training pictures"):
        plan("spade", backbone="resnet18", pictures=5000)
    with pytest.raises(UsageError) as caught:
        plan(backbone="resnet18", batch_size=10**5, pictures=5000)
    assert "training pictures" not in str(caught.value)


@pytest.mark.parametrize(
    ("backbone", "layers"),
    [
        ("resnet18", ("layer1", "layer2", "layer3", "layer4")),
        ("efficientnet_lite0", ("block4", "block6", "block12", "block16")),
        ("efficientnet_b0", ("block3", "block5", "block11", "block16")),
    ],
)
def test_the_default_layers_end_with_the_last_one(backbone, layers):
    assert METHODS["spade"].layers(backbone) == layers
    assert plan("spade", backbone=backbone).dims == sum(
        catalogue.channels(backbone, layer) for layer in layers
    )
