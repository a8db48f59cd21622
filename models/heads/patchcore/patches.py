"""Stage maps → patches: coarser maps bilinear on the finest grid, channels concatenated."""

import numpy as np

from models.grids import Grid, bilinear
from models.heads import Maps, Stages


class Patches:
    """Stage maps float32 [B,c,h,w], finest first → patches float32 [B·h·w,D] of the finest grid.

    The positions of a picture follow each other row by row (Roth et al. 2022, section 3.1).

    Attributes
    ----------
    grid : (h,w) of the finest map
    dims : D, the channels of all maps
    matrices : index of a coarser map → (rows [h,h'], columns [w',w]) that upsample it
    """

    def __init__(self, stages: Stages):
        self.grid: Grid = tuple(stages[0][1])
        self.dims = sum(channels for channels, _ in stages)
        self.matrices = {
            i: (_upsampling(grid[0], self.grid[0]), _upsampling(grid[1], self.grid[1]).T.copy())
            for i, (_, grid) in enumerate(stages)
            if tuple(grid) != self.grid
        }

    def __call__(self, maps: Maps) -> np.ndarray:
        seen = []
        for i, stage in enumerate(maps):
            if i in self.matrices:
                rows, columns = self.matrices[i]
                stage = rows @ (stage @ columns)
            seen.append(stage.reshape(*stage.shape[:2], -1))
        joined = np.concatenate(seen, axis=1)
        return np.ascontiguousarray(joined.transpose(0, 2, 1)).reshape(-1, self.dims)


def _upsampling(source: int, target: int) -> np.ndarray:
    return bilinear(source, target).astype(np.float32)
