"""Relations between the positions of a fine map and of a coarser map."""

import numpy as np

Grid = tuple[int, int]  # (h,w) of a map


def nearest(fine: int, coarse: int) -> np.ndarray:
    """For each of `fine` rows (or columns) the one of `coarse` that covers it: int [fine]."""
    return np.arange(fine) * coarse // fine


def covering(fine: Grid, coarse: Grid) -> np.ndarray:
    """The position of the coarse grid that covers each position of the fine grid: int64 [P]."""
    rows, columns = (nearest(*sides) for sides in zip(fine, coarse, strict=True))
    return (rows[:, None] * coarse[1] + columns).ravel().astype(np.int64)


def first(fine: int, coarse: int) -> np.ndarray:
    """For each of `coarse` rows the first of `fine` that it covers: int [coarse]."""
    return np.searchsorted(nearest(fine, coarse), np.arange(coarse))


def evenly(index: np.ndarray) -> slice | np.ndarray:
    """`index` as a slice if its steps are equal: numpy then needs no copy."""
    step = int(index[1] - index[0]) if len(index) > 1 else 1
    even = (np.diff(index) == step).all()
    return slice(int(index[0]), int(index[-1]) + 1, step) if even else index


def bilinear(source: int, target: int) -> np.ndarray:
    """The matrix float64 [target,source] of bilinear upsampling along one axis.

    Centres of pixels stay at centres of pixels (align_corners=False).
    """
    centres = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    low = np.minimum(centres.astype(int), max(source - 2, 0))
    part = centres - low
    matrix = np.zeros((target, source))
    matrix[np.arange(target), low] = 1 - part
    matrix[np.arange(target), np.minimum(low + 1, source - 1)] += part
    return matrix
