"""The factored Gaussian against the plain one: numpy's covariance of the whole embedding."""

import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis

from models.heads.padim import PaDiMHead, gaussian
from models.heads.padim.gaussian import PatchGaussian, invert_lower
from models.methods import PaDiMSettings

# (channels, grid) of each stage, finest first, and the factor by which each is coarser.
EVEN = [(5, (8, 12)), (4, (4, 6)), (6, (2, 3))]
ODD = [(3, (9, 7)), (4, (5, 4)), (2, (3, 2))]
ALONE = [(7, (3, 4))]
EQUAL = [(3, (4, 4)), (2, (4, 4)), (4, (2, 2))]
EACH = pytest.mark.parametrize("stages", [EVEN, ODD, ALONE, EQUAL])


def maps(stages, n=30, seed=0):
    """Maps whose channels depend on each other, within a stage and between stages."""
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((n, 1, 1, 1))
    drawn = []
    for c, grid in stages:
        mixing = np.random.default_rng(c).standard_normal((c, c)) / 2
        x = np.einsum("nchw,ce->nehw", rng.standard_normal((n, c, *grid)), mixing)
        drawn.append((x + common + np.arange(c)[:, None, None]).astype(np.float32))
    return drawn


def embedded(stages, drawn):
    """[B,P,d] in float64: every coarse place repeated below it, from stage to stage."""
    h, w = stages[0][1]
    rows, columns = np.arange(h), np.arange(w)
    out, finer = [], (h, w)
    for (_, grid), stage in zip(stages, drawn, strict=True):
        halves = [-(-f // g) for f, g in zip(finer, grid, strict=True)]
        rows, columns, finer = rows // halves[0], columns // halves[1], grid
        out.append(stage[:, :, rows][:, :, :, columns])
    x = np.concatenate(out, axis=1).astype(np.float64)
    return x.reshape(*x.shape[:2], h * w).transpose(0, 2, 1)


def plain(stages, drawn, epsilon=0.01):
    """Mean [P,d] and precision [P,d,d], position by position."""
    x = embedded(stages, drawn)
    ridge = epsilon * np.eye(x.shape[2])
    covariances = [np.atleast_2d(np.cov(x[:, p], rowvar=False)) for p in range(x.shape[1])]
    return x.mean(axis=0), np.stack([np.linalg.inv(c + ridge) for c in covariances])


def distances(stages, drawn, others):
    mean, precision = plain(stages, drawn)
    x = embedded(stages, others)
    out = [
        [mahalanobis(x[b, p], mean[p], precision[p]) for p in range(x.shape[1])]
        for b in range(len(x))
    ]
    return np.array(out).reshape(len(x), *stages[0][1])


def fitted(stages, *batches) -> PatchGaussian:
    patches = PatchGaussian(stages)
    for batch in batches:
        patches.update(batch)
    return patches


def pieces(drawn, *sizes):
    edges = np.cumsum((0, *sizes))
    ends = zip(edges[:-1], edges[1:], strict=True)
    return [[stage[start:stop] for stage in drawn] for start, stop in ends]


@EACH
def test_distances_are_those_of_the_plain_gaussian(stages):
    drawn, others = maps(stages), maps(stages, 3, seed=1)
    patches = fitted(stages, drawn)
    patches.finalize()
    found = patches.mahalanobis(others)
    assert found.dtype == np.float32 and found.shape == (3, *stages[0][1])
    np.testing.assert_allclose(found, distances(stages, drawn, others), rtol=1e-4)


@pytest.mark.parametrize("sizes", [(1,) * 30, (16, 13, 1), (2, 28)])
def test_any_batching_gives_the_same(sizes):
    drawn, others = maps(EVEN), maps(EVEN, 2, seed=1)
    patches = fitted(EVEN, *pieces(drawn, *sizes))
    assert patches.n == 30
    patches.finalize()
    np.testing.assert_allclose(
        patches.mahalanobis(others), distances(EVEN, drawn, others), rtol=1e-4
    )


@EACH
def test_merged_shards_equal_one_pass(stages):
    drawn, whole = maps(stages), fitted(stages, maps(stages))
    first, second, third = pieces(drawn, 11, 9, 10)
    left, right = fitted(stages, first), fitted(stages, second, third)
    left.merge(right)
    left.merge(PatchGaussian(stages))
    assert left.n == 30
    for ours, theirs in zip(left.levels, whole.levels, strict=True):
        np.testing.assert_allclose(ours.mean, theirs.mean, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(ours.factor, theirs.factor, atol=1e-3)


def test_merging_into_an_empty_one_copies():
    patches, other = PatchGaussian(EVEN), fitted(EVEN, maps(EVEN))
    patches.merge(other)
    for ours, theirs in zip(patches.levels, other.levels, strict=True):
        np.testing.assert_allclose(ours.factor, theirs.factor, rtol=1e-6)


def test_rows_of_the_factors_give_the_precision_matrix():
    """As models/heads/padim/__init__.py says: precision = WᵀW, W the rows of all levels."""
    drawn = maps(EVEN)
    patches = fitted(EVEN, drawn)
    patches.finalize()
    _, precision = plain(EVEN, drawn)
    rows = np.zeros((0, 0))
    for level in patches.levels:
        c = level.mean.shape[1]
        own, coarser = level.factor[0, :, -c:], level.factor[0, :, :-c]
        rows = np.block([[rows, np.zeros((len(rows), c))], [coarser @ rows, own]])
    found = rows.T @ rows
    order = np.r_[9:15, 5:9, 0:5]  # coarsest channels first
    np.testing.assert_allclose(found, precision[0][np.ix_(order, order)], rtol=1e-3, atol=1e-3)


def test_memory_is_a_fraction_of_all_precision_matrices():
    stages = [(14, (56, 56)), (36, (28, 28)), (50, (14, 14))]
    size = sum(level.factor.nbytes for level in PatchGaussian(stages).levels)
    assert size < 0.25 * 3136 * 100 * 100 * 4


def test_distance_of_the_mean_is_zero():
    drawn = [np.repeat(stage[:1], 5, axis=0) for stage in maps(EVEN)]
    patches = fitted(EVEN, drawn)
    patches.finalize()
    assert patches.mahalanobis([stage[:1] for stage in drawn]).max() < 1e-5


@EACH
@pytest.mark.parametrize("elements", [1, 300])
def test_bands_change_nothing(stages, elements, monkeypatch):
    drawn = maps(stages)
    whole = fitted(stages, drawn)
    whole.finalize()
    monkeypatch.setattr(gaussian, "BAND_ELEMENTS", elements)
    banded = fitted(stages, drawn)
    banded.finalize()
    np.testing.assert_allclose(banded.mahalanobis(drawn), whole.mahalanobis(drawn), rtol=1e-4)


def test_fewer_pictures_than_channels_stay_finite():
    patches = fitted(EVEN, maps(EVEN, 2))
    patches.finalize()
    assert patches.epsilon == 0.01
    assert np.isfinite(patches.mahalanobis(maps(EVEN, 3, seed=4))).all()


@pytest.mark.parametrize("scale", [1e3, 1e6])
def test_where_float32_cannot_resolve_it_epsilon_is_raised(caplog, scale):
    """With fewer pictures than channels, which leave directions without variance."""
    drawn, others = ([scale * stage for stage in maps(EVEN, n, seed=n)] for n in (4, 3))
    patches = fitted(EVEN, drawn)
    with np.errstate(over="ignore"):
        patches.finalize()
    assert patches.epsilon > 0.01 and "epsilon 0.01 is too small for it" in caplog.text
    mean, precision = plain(EVEN, drawn, patches.epsilon)
    centred = embedded(EVEN, others) - mean
    expected = np.sqrt(np.einsum("bpd,pde,bpe->bp", centred, precision, centred))
    found = patches.mahalanobis(others).reshape(expected.shape)
    np.testing.assert_allclose(found, expected, rtol=0.2)


def test_epsilon_stays_where_float32_resolves_it():
    """Covariances a hundred times as large as ResNet-18's."""
    patches = fitted(EVEN, [10 * stage for stage in maps(EVEN, 4)])
    assert np.linalg.norm(patches.levels[0].factor[0] / 3) > 500
    patches.finalize()
    assert patches.epsilon == 0.01


def test_variances_beyond_float32_are_refused():
    with np.errstate(over="ignore", invalid="ignore"):
        patches = fitted(EVEN, [1e25 * stage for stage in maps(EVEN)])
        with pytest.raises(FloatingPointError):
            patches.finalize()


def test_the_scatter_is_inverted_in_its_own_memory():
    patches = fitted(EVEN, maps(EVEN))
    memory = [level.factor for level in patches.levels]
    patches.finalize()
    assert patches.finalized
    assert all(level.factor is own for level, own in zip(patches.levels, memory, strict=True))


@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_pictures_have_no_covariance(n):
    with pytest.raises(ValueError, match="at least 2"):
        fitted(EVEN, maps(EVEN, n)).finalize()


def test_values_that_are_not_finite_are_refused():
    drawn = maps(EVEN)
    drawn[1][3, 2, 1] = np.nan
    with pytest.raises(FloatingPointError):
        fitted(EVEN, drawn).finalize()


def head_of(stages, drawn) -> PaDiMHead:
    head = PaDiMHead(PaDiMSettings(epsilon=0.01), stages)
    head.update(drawn)
    head.finish()
    return head


@EACH
def test_a_head_comes_back_from_its_arrays(stages):
    drawn = maps(stages)
    head = head_of(stages, drawn)
    again = PaDiMHead.from_arrays(head.arrays(), head.settings, stages, head.n)
    np.testing.assert_array_equal(again.score(drawn)[1], head.score(drawn)[1])


def test_in_float16_distances_hardly_change():
    drawn, others = maps(EVEN), maps(EVEN, 5, seed=2)
    head = head_of(EVEN, drawn)
    arrays = head.arrays("float16")
    assert {str(arrays[key].dtype) for key in arrays if key[:4] != "mean"} == {"float16"}
    found = PaDiMHead.from_arrays(arrays, head.settings, EVEN, 30).score(others)[1]
    np.testing.assert_allclose(found, head.score(others)[1], rtol=0.01)


@pytest.mark.parametrize("key", ["mean0", "own2", "coarser1"])
def test_arrays_of_another_shape_make_no_head(key):
    head = head_of(EVEN, maps(EVEN))
    arrays = head.arrays()
    with pytest.raises(ValueError, match=f"{key} is"):
        PaDiMHead.from_arrays({**arrays, key: arrays[key][1:]}, head.settings, EVEN, 30)
    with pytest.raises(KeyError, match=key):
        del arrays[key]
        PaDiMHead.from_arrays(arrays, head.settings, EVEN, 30)


@pytest.mark.parametrize("d", [1, 5, 32, 33, 100])
def test_invert_lower_is_the_inverse(d):
    rng = np.random.default_rng(d)
    factor = np.tril(rng.standard_normal((3, d, d))) / d + np.eye(d)
    np.testing.assert_allclose(
        invert_lower(factor) @ factor, np.eye(d)[None].repeat(3, 0), atol=1e-9
    )
