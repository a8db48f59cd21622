import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis

from models import gaussian
from models.gaussian import PatchGaussian, invert_lower

P, D = 7, 12


@pytest.fixture
def embedding():
    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((P, D, D)) / 3
    x = np.einsum("npd,pde->npe", rng.standard_normal((30, P, D)), mixing) + rng.random((P, D)) * 5
    return x.astype(np.float32)


def fitted(batches) -> PatchGaussian:
    patches = PatchGaussian(P, D)
    for batch in batches:
        patches.update(batch)
    return patches


def reference(embedding):
    """Mean and precision in float64, position by position, with numpy's own covariance."""
    x = embedding.astype(np.float64)
    covariances = [np.cov(x[:, p], rowvar=False) + 0.01 * np.eye(D) for p in range(P)]
    return x.mean(axis=0), np.stack([np.linalg.inv(c) for c in covariances])


@pytest.mark.parametrize("sizes", [(30,), (1,) * 30, (16, 13, 1), (2, 28)])
def test_any_batching_gives_the_mean_and_precision_of_all(embedding, sizes):
    patches = fitted(np.split(embedding, np.cumsum(sizes)[:-1]))
    patches.finalize()
    mean, precision = reference(embedding)
    assert patches.n == 30
    np.testing.assert_allclose(patches.mean, mean, rtol=1e-5)
    np.testing.assert_allclose(patches.precision, precision, atol=2e-4 * abs(precision).max())


def test_merged_shards_equal_one_pass(embedding):
    left, right = fitted([embedding[:11]]), fitted([embedding[11:20], embedding[20:]])
    left.merge(right)
    left.merge(PatchGaussian(P, D))
    whole = fitted([embedding])
    assert left.n == 30
    np.testing.assert_allclose(left.mean, whole.mean, rtol=1e-5)
    np.testing.assert_allclose(left.scatter, whole.scatter, atol=1e-4 * abs(whole.scatter).max())


def test_merging_into_an_empty_one_copies(embedding):
    patches = PatchGaussian(P, D)
    patches.merge(fitted([embedding]))
    np.testing.assert_allclose(patches.scatter, fitted([embedding]).scatter, rtol=1e-6)


def test_distance_is_scipys_mahalanobis(embedding):
    patches = fitted([embedding])
    patches.finalize()
    mean, precision = reference(embedding)
    distance = patches.mahalanobis(embedding[:3] + 1)
    assert distance.shape == (3, P)
    assert distance.dtype == np.float32
    for b in range(3):
        for p in range(P):
            expected = mahalanobis(embedding[b, p].astype(float) + 1, mean[p], precision[p])
            assert distance[b, p] == pytest.approx(expected, rel=1e-3)


def test_distance_of_the_mean_is_zero(embedding):
    patches = fitted([embedding])
    patches.finalize()
    assert patches.mahalanobis(patches.mean[None]).max() == 0


def test_blocks_change_nothing(embedding, monkeypatch):
    whole = fitted([embedding])
    whole.finalize()
    monkeypatch.setattr(gaussian, "BLOCK_ELEMENTS", 2 * D * D)
    blocked = fitted([embedding])
    blocked.finalize()
    np.testing.assert_allclose(blocked.precision, whole.precision, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        blocked.mahalanobis(embedding), whole.mahalanobis(embedding), rtol=1e-5
    )


def test_fewer_pictures_than_channels_stay_finite(embedding):
    patches = fitted([embedding[:2]])
    patches.finalize()
    assert np.isfinite(patches.mahalanobis(embedding)).all()


def test_the_scatter_is_inverted_in_its_own_memory(embedding):
    patches = fitted([embedding])
    memory = patches.scatter
    patches.finalize()
    assert patches.precision is memory
    assert patches.scatter is None


@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_pictures_have_no_covariance(embedding, n):
    with pytest.raises(ValueError, match="at least 2"):
        fitted([embedding[:n]]).finalize()


def test_values_that_are_not_finite_are_refused(embedding):
    embedding[3, 2, 1] = np.nan
    with pytest.raises(FloatingPointError):
        fitted([embedding]).finalize()


@pytest.mark.parametrize("d", [1, 5, 32, 33, 100])
def test_invert_lower_is_the_inverse(d):
    rng = np.random.default_rng(d)
    factor = np.tril(rng.standard_normal((3, d, d))) / d + np.eye(d)
    np.testing.assert_allclose(
        invert_lower(factor) @ factor, np.eye(d)[None].repeat(3, 0), atol=1e-9
    )
