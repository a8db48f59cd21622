"""One multivariate Gaussian at each patch position (Defard et al. 2020, section 3.2), factored.

The embedding of a patch contains channels of coarse stages. All patches below one position of a
coarse stage have the same values of its channels, so their Gaussians agree on these channels. The
chain rule splits each distance exactly:

    D²(z) = D²(coarsest) + D²(next | coarsest) + … + D²(finest | all coarser)

The coarse terms are stored and computed once for all patches that share them. For ResNet-18 with
d = 100 this takes 29 MB instead of 125 MB. With a single stage it is the usual Cholesky factor.

All computations are batched over positions, in bands of rows. For larger batches, threads process
the bands in parallel, with one BLAS thread each (`models.parallel`).
"""

import functools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from models.grids import Grid, nearest
from models.parallel import each, limit_blas

logger = logging.getLogger(__name__)

# The smallest epsilon for a covariance of norm 1 in float32. With a smaller one, and more channels
# than pictures, rounding errors would dominate the inverse. (Half of this value fails sometimes.
# ResNet-18's covariances have a norm below 10, so the default epsilon is 500 times the limit.)
RESOLUTION = 2.0**-19
BAND_ELEMENTS = 2**19  # of the largest array that a band works on: 2 MB


@dataclass
class Level:
    """One stage: c own channels at P = h·w positions; D channels with those of coarser stages.

    mean : float32 [P,c]
    factor : float32 [P,c,D], columns of the coarsest stage first, own channels last. In fitting:
        scatter, the sums of products of own and all centred channels. Afterwards: [K|A], so that
        y = A (z − mean) + K·(y of all coarser stages) is white: D²(z | coarser) = |y|².
    """

    grid: Grid
    mean: np.ndarray
    factor: np.ndarray


class PatchGaussian:
    """Streaming mean and covariance at every position, for maps of one or more stages.

    `stages` has (channels, (h,w)) of each map, finest first, as in `models.features`.
    Memory does not depend on the number of pictures.

    Attributes
    ----------
    n : int, number of training pictures
    levels : list of Level, coarsest first
    finalized : bool, whether the factors are ready for scoring
    """

    def __init__(self, stages: Sequence[tuple[int, Grid]], epsilon: float = 0.01):
        self.epsilon, self.n, self.finalized = epsilon, 0, False
        self.levels, all_channels = [], 0
        for channels, (h, w) in reversed(stages):
            all_channels += channels
            mean = np.zeros((h * w, channels), np.float32)
            factor = np.zeros((h * w, channels, all_channels), np.float32)
            self.levels.append(Level((h, w), mean, factor))

    @property
    def dims(self) -> int:
        return self.levels[-1].factor.shape[2]

    @property
    def grid(self) -> Grid:
        return self.levels[-1].grid

    def update(self, maps: Sequence[np.ndarray]) -> None:
        """Add the maps [B,c,h,w] of each stage, finest first, each picture once.

        Chan, Golub and LeVeque (1979): the batch is centred on its own mean. The difference of the
        two means becomes an additional column, so that each level needs only one product.
        """
        self._require_open()
        if (b := len(maps[0])) == 0:
            return
        total = self.n + b
        weight = np.float32(np.sqrt(self.n * b / total))

        def add(band: Band) -> None:
            coarser = np.zeros((1, 0, b + 1), np.float32)
            for level, part, stage in zip(self.levels, band, reversed(maps), strict=True):
                x = part.columns(stage)
                batch_mean = x.mean(axis=2)
                delta = batch_mean - level.mean[part.places]
                own = np.empty((*x.shape[:2], b + 1), np.float32)
                np.subtract(x, batch_mean[:, :, None], out=own[:, :, :b])
                np.multiply(delta, weight, out=own[:, :, b])
                coarser = np.concatenate([coarser[part.parent], own], axis=1)
                level.factor[part.places] += own @ coarser.transpose(0, 2, 1)
                level.mean[part.places] += delta * np.float32(b / total)

        self.each_band(add, b + 1)
        self.n = total

    def merge(self, other: "PatchGaussian") -> None:
        """Add the statistics of `other`, also not finalized (same formula as `update`)."""
        self._require_open()
        other._require_open()
        if [f.factor.shape for f in self.levels] != [f.factor.shape for f in other.levels]:
            raise ValueError("the statistics are of maps of other shapes")
        total = self.n + other.n
        if other.n == 0:
            return
        weight = np.float32(np.sqrt(self.n * other.n / total))

        def add(band: Band) -> None:
            shift = np.zeros((1, 0), np.float32)
            for level, theirs, part in zip(self.levels, other.levels, band, strict=True):
                delta = theirs.mean[part.places] - level.mean[part.places]
                own = delta * weight
                shift = np.concatenate([shift[part.parent], own], axis=1)
                product = own[:, :, None] * shift[:, None]
                level.factor[part.places] += theirs.factor[part.places] + product
                level.mean[part.places] += delta * np.float32(other.n / total)

        self.each_band(add, self.dims)
        self.n = total

    def _require_open(self) -> None:
        if self.finalized:
            raise ValueError("the statistics are factors already: they cannot learn any more")

    def finalize(self) -> None:
        """Turn scatter into factors: Σ = scatter/(n−1) + ε I, whitened level by level, in place.

        What a level shares with coarser ones is subtracted (Schur complement); the rest is inverted
        by Cholesky. If variances are too large for ε in float32, ε is raised with a warning. Raises
        ValueError with fewer than two pictures, FloatingPointError if values are not finite.
        """
        if self.n < 2:
            raise ValueError(f"a covariance needs at least 2 pictures, found {self.n}")
        if not all(np.isfinite(level.mean).all() for level in self.levels):
            raise FloatingPointError("the embeddings contain values that are not finite")
        self.raise_epsilon()
        epsilon, divisor = np.float32(self.epsilon), np.float32(self.n - 1)

        def invert(band: Band) -> None:
            coarser: list[np.ndarray] = []
            for level, part in zip(self.levels, band, strict=True):
                c = level.mean.shape[1]
                coarser = [factor[part.parent] for factor in coarser]
                covariance = level.factor[part.places] / divisor
                shared, own = _whitened(covariance[:, :, :-c], coarser), covariance[:, :, -c:]
                rest = own + epsilon * np.eye(c, dtype=np.float32)
                rest -= shared @ shared.transpose(0, 2, 1)
                whitening = invert_lower(np.linalg.cholesky(rest))
                factor = level.factor[part.places]
                np.matmul(-whitening, shared, out=factor[:, :, :-c])
                factor[:, :, -c:] = whitening
                coarser.append(factor)

        self.each_band(invert, self.dims)
        self.finalized = True

    def raise_epsilon(self) -> None:
        """Raise ε if it is too small in float32 for the largest variances; FloatingPointError if
        they are not finite."""
        factors = [level.factor for level in self.levels]
        with np.errstate(over="ignore"):
            # np.linalg.norm would copy the largest array.
            squared = sum(float(np.einsum("pij,pij->p", f, f).max()) for f in factors)
        norm = squared**0.5 / (self.n - 1)
        if not np.isfinite(norm):
            raise FloatingPointError("the variances of the embeddings are too large for float32")
        if (least := RESOLUTION * norm) > self.epsilon:
            logger.warning(
                "the covariances of the embeddings have a norm of %.2g; epsilon %.2g is too small "
                "for it in float32 and is raised to %.2g",
                norm,
                self.epsilon,
                least,
            )
            self.epsilon = least

    def mahalanobis(self, maps: Sequence[np.ndarray]) -> np.ndarray:
        """Distances sqrt((z−mean)ᵀ Σ⁻¹ (z−mean)) of maps [B,c,h,w], finest first: [B,h,w]."""
        b = len(maps[0])
        distance = np.empty((self.grid[0] * self.grid[1], b), np.float32)

        def measure(band: Band) -> None:
            white = np.zeros((1, 0, b), np.float32)  # the y of all levels so far
            squared = np.zeros((1, b), np.float32)
            for level, part, stage in zip(self.levels, band, reversed(maps), strict=True):
                coarser = white[part.parent]
                own = part.columns(stage) - level.mean[part.places][:, :, None]
                y = _product(level.factor[part.places], np.concatenate([coarser, own], axis=1))
                squared = squared[part.parent] + np.einsum("pcb,pcb->pb", y, y)
                if level is not self.levels[-1]:
                    white = np.concatenate([coarser, y], axis=1)
            np.sqrt(squared, out=distance[part.places])

        self.each_band(measure, b)
        return np.ascontiguousarray(distance.T).reshape(b, *self.grid)

    def each_band(self, work: Callable[["Band"], None], columns: int) -> None:
        """Do `work` for all bands of about BAND_ELEMENTS, d × `columns` of them per position."""
        elements = len(self.levels[-1].mean) * self.dims * columns
        count = max(1, elements // BAND_ELEMENTS)
        bands = _bands(tuple(level.grid for level in self.levels), count)
        if len(bands) == 1:
            limit_blas()
            work(bands[0])  # for so little work, threads would take longer
        else:
            each(work, bands)


@dataclass(frozen=True)
class Part:
    """The part of a band in one level: its positions `places`, and for each of them `parent`, the
    position of the next coarser level above it, counted within the same band.
    """

    places: slice
    parent: np.ndarray

    def columns(self, stage: np.ndarray) -> np.ndarray:
        """The part of a map [B,c,h,w] as [positions,c,B]."""
        flat = stage.reshape(*stage.shape[:2], -1)[:, :, self.places]
        return np.ascontiguousarray(flat.transpose(2, 1, 0))


Band = list[Part]  # coarsest first


@functools.lru_cache(maxsize=64)
def _bands(grids: tuple[Grid, ...], count: int) -> list[Band]:
    """`count` bands, or one for each row of the coarsest of `grids` (coarsest first)."""
    count = min(count, grids[0][0])
    edges = [i * grids[0][0] // count for i in range(count + 1)]
    return [_band(grids, *pair) for pair in zip(edges[:-1], edges[1:], strict=True)]


def _band(grids: tuple[Grid, ...], top: int, bottom: int) -> Band:
    """The band below the rows `top` to `bottom` of the coarsest of `grids`."""
    h, w = grids[0]
    band = [Part(slice(top * w, bottom * w), np.zeros((bottom - top) * w, np.intp))]
    for (coarse_h, coarse_w), (h, w) in zip(grids[:-1], grids[1:], strict=True):
        rows, columns = nearest(h, coarse_h), nearest(w, coarse_w)
        below = np.flatnonzero((rows >= top) & (rows < bottom))
        parent = (rows[below] - top)[:, None] * coarse_w + columns
        top, bottom = below[0], below[-1] + 1
        band.append(Part(slice(top * w, bottom * w), parent.ravel()))
    return band


def _product(factors: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """`factors` [P,c,D] @ `columns` [P,D,B].

    The memory limits the product with one column. einsum reads all factors in one pass, for which
    the processor fetches ahead; BLAS begins anew at each position, which takes 1.5 times as long.
    """
    if columns.shape[2] > 1:
        return factors @ columns
    return np.einsum("pcd,pd->pc", factors, columns[:, :, 0])[:, :, None]


def _whitened(cross: np.ndarray, coarser: list[np.ndarray]) -> np.ndarray:
    """Covariances [N,c,·] with the channels z of coarser levels → covariances with their white y.

    Because y = A z + K·(y of coarser levels), each level's columns follow from those left of them.
    """
    start = 0
    for factor in coarser:
        stop = start + factor.shape[1]
        part = cross[:, :, start:stop] @ factor[:, :, start:].transpose(0, 2, 1)
        part += cross[:, :, :start] @ factor[:, :, :start].transpose(0, 2, 1)
        cross[:, :, start:stop] = part
        start = stop
    return cross


def invert_lower(factor: np.ndarray, base: int = 32) -> np.ndarray:
    """Inverse of lower triangular matrices [N,d,d], by halves.

    [[A,0],[B,C]]⁻¹ = [[A⁻¹,0],[−C⁻¹BA⁻¹,C⁻¹]]: mostly matrix products; at d = 100 twice as
    fast as the general inverse.
    """
    d = factor.shape[-1]
    if d <= base:
        return np.linalg.inv(factor)
    k = d // 2
    inverse = np.zeros_like(factor)
    inverse[:, :k, :k] = invert_lower(factor[:, :k, :k], base)
    inverse[:, k:, k:] = invert_lower(factor[:, k:, k:], base)
    inverse[:, k:, :k] = -(inverse[:, k:, k:] @ factor[:, k:, :k]) @ inverse[:, :k, :k]
    return inverse
