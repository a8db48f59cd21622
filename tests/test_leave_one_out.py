"""Leaving a training picture out against fitting again without it, in float64."""

import numpy as np
import pytest

from models.heads.padim import PaDiMHead
from models.methods import PaDiMSettings
from tests.test_multiscale import expected, maps

SINGLE = [(12, (4, 4))]
TWO = [(5, (8, 12)), (6, (4, 6))]
THREE = [(5, (8, 8)), (4, (4, 4)), (6, (2, 2))]
ODD = [(3, (9, 7)), (4, (5, 4)), (2, (3, 2))]


def left_out(stages, drawn, **settings):
    head = PaDiMHead(PaDiMSettings(**settings), stages)
    head.update(drawn)
    head.finish()
    n = len(drawn[0])
    parts = [head.leave_one_out([stage[i : i + 3] for stage in drawn], i) for i in range(0, n, 3)]
    images, patches = zip(*parts, strict=True)
    return None if images[0] is None else np.concatenate(images), np.concatenate(patches), head


def embedded(stages, drawn) -> np.ndarray:
    """[n,P,d] in float64; coarse maps repeated below the next finer one."""
    (h, w), columns = stages[0][1], []
    rows, cols = np.arange(h), np.arange(w)
    before = (h, w)
    for (_, grid), stage in zip(stages, drawn, strict=True):
        rows = rows * grid[0] // before[0]
        cols = cols * grid[1] // before[1]
        before = grid
        columns.append(stage[:, :, rows][:, :, :, cols].astype(float))
    joined = np.concatenate(columns, axis=1)
    return joined.reshape(*joined.shape[:2], -1).transpose(0, 2, 1)


def fitted_again(z: np.ndarray, epsilon: float) -> np.ndarray:
    """Distances [n,P]: mean and scatter of the others, divided by n − 1 as those of all."""
    n, _, d = z.shape
    found = []
    for i in range(n):
        others = np.delete(z, i, axis=0)
        centred = others - others.mean(axis=0)
        covariance = np.einsum("npi,npj->pij", centred, centred) / (n - 1) + epsilon * np.eye(d)
        away = (z[i] - others.mean(axis=0))[:, :, None]
        found.append((away * np.linalg.solve(covariance, away)).sum(axis=(1, 2)))
    return np.sqrt(found)


@pytest.mark.parametrize("stages", [SINGLE, TWO, THREE, ODD])
@pytest.mark.parametrize("n", [2, 5, 10, 30])
def test_distances_are_those_of_a_gaussian_fitted_again(stages, n):
    """Also with fewer pictures than channels."""
    drawn = maps(stages, n)
    image, patches, head = left_out(stages, drawn, epsilon=0.1, gaussians="joint")
    assert image is None
    right = fitted_again(embedded(stages, drawn), head.settings.epsilon)
    np.testing.assert_allclose(patches.reshape(n, -1), right, rtol=1e-4)


@pytest.mark.parametrize("n", [4, 8, 25])
def test_several_gaussians_combine_the_distances_of_gaussians_fitted_again(n):
    drawn = maps(THREE, n)
    image, patches, _ = left_out(THREE, drawn, epsilon=0.1, gaussians="multiscale")
    for i in range(n):
        others, one = [np.delete(m, i, 0) for m in drawn], [m[i : i + 1] for m in drawn]
        right = expected(THREE, others, one, divisor=n - 1)
        np.testing.assert_allclose(image[i], right[0][0], rtol=1e-4)
        np.testing.assert_allclose(patches[i], right[1][0], rtol=1e-4)


@pytest.mark.parametrize(
    ("n", "channels", "variance", "tolerance"),
    [(60, 100, 1, 1e-4), (209, 100, 100, 1e-4), (10, 100, 1, 1e-3), (10, 100, 100, 0.2)],
)
def test_large_variances_and_a_small_epsilon_cost_accuracy(n, channels, variance, tolerance):
    """With fewer pictures than channels, 1 − n/(n − 1)² · D² is a small difference of float32.

    Here all channels are independent, which is the worst case: the features of a network differ by
    less than 1e-4 from 3 pictures on.
    """
    stages = [(channels // 2, (2, 2)), (channels // 2, (1, 1))]
    drawn = [variance**0.5 * stage for stage in independent(stages, n)]
    _, patches, head = left_out(stages, drawn, epsilon=0.01, gaussians="joint")
    right = fitted_again(embedded(stages, drawn), head.settings.epsilon)
    np.testing.assert_allclose(patches.reshape(n, -1), right, rtol=tolerance)


def independent(stages, n):
    rng = np.random.default_rng(0)
    return [rng.standard_normal((n, c, *grid), np.float32) for c, grid in stages]


def test_a_picture_that_alone_varies_is_infinitely_far():
    """All others are equal, and epsilon is too small to count."""
    drawn = [np.zeros((6, 2, 3, 3), np.float32)]
    drawn[0][2] = 1e4
    _, patches, _ = left_out([(2, (3, 3))], drawn, epsilon=1e-12, gaussians="joint")
    others = np.delete(patches, 2, axis=0)
    assert patches[2].min() > 1000 * others.max()
    assert np.isfinite(others).all() and not np.isnan(patches).any()
