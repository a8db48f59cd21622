"""From the factors of a finished Gaussian back to its sums, and pictures taken out of sums."""

from collections.abc import Sequence

import numpy as np

from models.heads.padim.gaussian import Band, PatchGaussian, invert_lower


def reopen(gaussian: PatchGaussian) -> None:
    """Turn the factors of `gaussian` into its scatter, in place: it can learn again.

    A level's channels are z = mean + C·y, with the white y of the level and all coarser ones: C =
    [−A⁻¹K|A⁻¹]. So the covariance of two levels is the product of their C, and the scatter is
    (n − 1)(Σ − εI). Computed in float64; the factors have the precision of float32.
    """
    if not gaussian.finalized:
        raise ValueError("the statistics are sums already")

    def recover(band: Band) -> None:
        loadings: list[np.ndarray] = []
        for level, part in zip(gaussian.levels, band, strict=True):
            c = level.mean.shape[1]
            factor = level.factor[part.places].astype(np.float64)
            own = invert_lower(factor[:, :, -c:])
            loading = np.concatenate([-own @ factor[:, :, :-c], own], axis=2)
            loadings = [coarser[part.parent] for coarser in loadings] + [loading]
            # y of finer levels than that of the other factor has no covariance with it.
            products = [
                loading[:, :, : other.shape[2]] @ other.transpose(0, 2, 1) for other in loadings
            ]
            covariance = np.concatenate(products, axis=2)
            covariance[:, :, -c:] -= gaussian.epsilon * np.eye(c)
            level.factor[part.places] = (gaussian.n - 1) * covariance

    gaussian.each_band(recover, gaussian.dims)
    gaussian.finalized = False


def remove(gaussian: PatchGaussian, maps: Sequence[np.ndarray]) -> None:
    """Take the maps [B,c,h,w] of each stage, finest first, out of sums: `update` undone.

    ValueError if fewer than two pictures remain.
    """
    b, total = len(maps[0]), gaussian.n
    if (rest := total - b) < 2:
        raise ValueError(f"{total} pictures without {b}: at least 2 must remain")
    weight = np.float32(np.sqrt(rest * b / total))

    def subtract(band: Band) -> None:
        coarser = np.zeros((1, 0, b + 1), np.float32)
        for level, part, stage in zip(gaussian.levels, band, reversed(maps), strict=True):
            x = part.columns(stage)
            batch_mean = x.mean(axis=2)
            # From the mean of the pictures that remain to that of the others.
            delta = (batch_mean - level.mean[part.places]) * np.float32(total / rest)
            columns = [x - batch_mean[:, :, None], (delta * weight)[:, :, None]]
            own = np.concatenate(columns, axis=2)
            coarser = np.concatenate([coarser[part.parent], own], axis=1)
            level.factor[part.places] -= own @ coarser.transpose(0, 2, 1)
            level.mean[part.places] -= delta * np.float32(b / total)

    gaussian.each_band(subtract, b + 1)
    gaussian.n = rest
