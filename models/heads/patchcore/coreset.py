"""Greedy k-centre selection (Roth et al. 2022, arXiv 2106.08265, algorithm 1): exact and fast.

Written plainly, each of the k centres needs the distances of all n patches from it: k products of a
matrix with a vector. Here the candidates, about CANDIDATES patches, are those that are farther from
all centres than a bound. As long as the farthest candidate is still beyond the bound, it is the
farthest of all patches, so that it is chosen from the distances among candidates alone. Then one
matrix product gives the distances of all patches from all centres chosen meanwhile. The work of the
products is the same as before, but they are products of matrices.

The projected patches are rounded to whole numbers so small that float32 adds their products without
any error (`whole`). So the choice among the same rounded patches depends neither on the size of a
block, nor on the number of threads, nor on the processor, and equal distances are equal: the patch
with the lowest index wins. (The projection before it is in float32: another processor may round a
coordinate to the next whole number.)
"""

from collections.abc import Iterator

import numpy as np

from models.parallel import each, pieces

DIMS = 128  # of the projection; the implementation of the paper's authors has as many
SEED = 7  # of the projection
# Largest norm of a rounded patch: squared distances are at most (2·2048)² = 2^24, up to which
# float32 has all whole numbers.
LARGEST_NORM = 2048
CANDIDATES = 2048
ROWS, CENTRES = 1024, 256  # of one product: 1 MB of distances


def projection(channels: int, dims: int = DIMS, seed: int = SEED) -> np.ndarray:
    """A sparse random projection, float32 [channels,dims] (Li, Hastie and Church 2006).

    Entries are ±1 with probability 1/(2√channels) each, else 0; the scale does not matter here.
    The identity if there are no more than `dims` channels.
    """
    if channels <= dims:
        return np.eye(channels, dtype=np.float32)
    rng, density = np.random.default_rng(seed), channels**-0.5
    signs = rng.choice([-1.0, 1.0], (channels, dims))
    return (signs * (rng.random((channels, dims)) < density)).astype(np.float32)


def whole(projected: np.ndarray) -> np.ndarray:
    """`projected` [n,d], centred, scaled to norms of at most LARGEST_NORM and rounded: float32.

    All products of two rows and squared distances of rows are then whole numbers up to 2^24, and so
    are all their partial sums (Cauchy and Schwarz): float32 computes them exactly. The rounding
    moves a patch by less than 0.3 % of the largest norm; the projection itself changes distances
    more.
    """
    points = projected - projected.mean(axis=0, dtype=np.float64).astype(np.float32)
    largest = float(np.sqrt(np.einsum("nd,nd->n", points, points, dtype=np.float64).max()))
    room = LARGEST_NORM - points.shape[1] ** 0.5 / 2 - 1
    if largest > 0:
        points *= np.float32(room / largest)
    return np.rint(points, out=points)


def choices(
    points: np.ndarray, count: int, candidates: int = CANDIDATES, chosen: int = 0
) -> Iterator[list[int]]:
    """The indices of `count` of the `points` in the order of their choice, some at a time.

    The first is the farthest from the origin, or the first `chosen` points are the first ones; each
    of the next is the farthest from those before, of equally far ones that with the lowest index.
    Fewer than `count` if all others equal a chosen one. `points` float32 [n,d] from `whole`.
    """
    left = with_squares(points)
    nearest, done = np.full(len(points), np.inf, np.float32), 0
    new = list(range(chosen)) or [int(left[:, -2].argmax())]
    while new:
        yield new
        shorten(nearest, left, new)
        done += len(new)
        new = _choose(nearest, left, min(candidates, len(points)), count - done)


def with_squares(points: np.ndarray) -> np.ndarray:
    """(x, |x|², 1) of each point x: float32 [n,d+2].

    Products with (−2·c, 1, |c|²) are |x|² − 2·x·c + |c|², the squared distances.
    """
    squares = np.einsum("nd,nd->n", points, points)
    return np.concatenate([points, squares[:, None], np.ones_like(squares)[:, None]], axis=1)


def _choose(nearest: np.ndarray, left: np.ndarray, candidates: int, most: int) -> list[int]:
    """The next centres, at most `most`, as far as the candidates decide them; none at the end.

    nearest : squared distance of each point from the nearest centre; not changed
    """
    if most == 0 or nearest.max() == 0:
        return []
    bound = np.partition(nearest, len(nearest) - candidates)[len(nearest) - candidates]
    among = np.flatnonzero(nearest > bound)
    if len(among) == 0:  # more than `candidates` points are equally far
        return [int(nearest.argmax())]
    distances, far, chosen = _distances(left[among], left[among]), nearest[among], []
    best = int(far.argmax())
    while len(chosen) < most and far[best] > bound:
        chosen.append(int(among[best]))
        np.minimum(far, distances[best], out=far)
        best = int(far.argmax())
    return chosen


def shorten(nearest: np.ndarray, left: np.ndarray, centres: list[int]) -> None:
    """Set `nearest` to the squared distances from the nearest centre, with new `centres`."""
    right = [_right(left[centres[part]]) for part in pieces(len(centres), CENTRES)]

    def work(rows: slice) -> None:
        for centres_of_part in right:
            found = (centres_of_part @ left[rows].T).min(axis=0)
            np.minimum(nearest[rows], found, out=nearest[rows])

    each(work, pieces(len(nearest), ROWS))


def _right(rows: np.ndarray) -> np.ndarray:
    """The factor of centres, given as rows of `left`."""
    right = rows * np.float32(-2)
    right[:, -2], right[:, -1] = 1, rows[:, -2]
    return right


def _distances(left: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Squared distances [c,n]."""
    right = _right(centres)
    parts = each(lambda part: right[part] @ left.T, pieces(len(right), CENTRES))
    return np.concatenate(parts)
