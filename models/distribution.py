"""The Gaussian as arrays for a file, and back.

For each level k, coarsest first: `mean{k}` [P,c]; `own{k}` [P,c(c+1)/2], the lower triangle of the
own channels' factor A, row by row; `coarser{k}` [P,c,D−c], the factor K of the coarser levels' y
(none at level 0). The precision matrix of a patch is WᵀW, with W the rows of all its levels.
"""

from collections.abc import Sequence

import numpy as np

from models.gaussian import PatchGaussian
from models.grids import Grid


def pack(gaussian: PatchGaussian, dtype: str = "float32") -> dict[str, np.ndarray]:
    """The arrays of a finalized `gaussian`, the factors as `dtype`."""
    arrays = {}
    for k, level in enumerate(gaussian.levels):
        c = level.mean.shape[1]
        rows, columns = np.tril_indices(c)
        arrays[f"mean{k}"] = level.mean
        arrays[f"own{k}"] = level.factor[:, :, -c:][:, rows, columns].astype(dtype)
        if k:
            arrays[f"coarser{k}"] = level.factor[:, :, :-c].astype(dtype)
    return arrays


def unpack(
    arrays: dict[str, np.ndarray], stages: Sequence[tuple[int, Grid]], n: int
) -> PatchGaussian:
    """The Gaussian of n pictures that `pack` described, for `stages` (finest first).

    Raises KeyError or ValueError where an array is missing or has another shape.
    """
    gaussian = PatchGaussian(stages)
    gaussian.n, gaussian.finalized = n, True
    for k, level in enumerate(gaussian.levels):
        c = level.mean.shape[1]
        rows, columns = np.tril_indices(c)
        _fill(level.mean, arrays[f"mean{k}"], f"mean{k}")
        own = np.empty((len(level.mean), len(rows)), np.float32)
        _fill(own, arrays[f"own{k}"], f"own{k}")
        level.factor[:, rows, level.factor.shape[2] - c + columns] = own
        if k:
            _fill(level.factor[:, :, :-c], arrays[f"coarser{k}"], f"coarser{k}")
    return gaussian


def _fill(target: np.ndarray, array: np.ndarray, name: str) -> None:
    if array.shape != target.shape:
        raise ValueError(f"{name} is {array.shape}, not {target.shape}")
    target[:] = array
