"""What each Gaussian of PaDiM sees of the stage maps, and how their distances become scores.

joint: one Gaussian sees all maps, unchanged (Defard et al. 2020).

multiscale: three Gaussians. `fine` sees the maps on the finest grid. `patch` sees all maps but
those on the coarsest grid. `region` sees all maps, averaged over the positions of the coarsest
grid. The patch score is the geometric mean of the distances of `fine` and `patch`: it is high only
where both are, which keeps the place of a defect. The image score is the largest sum of squares of
the distances of `patch` and `region`: the coarsest maps find defects that the others miss, but do
not blur the map. docs/backbones.md has the measurements.
"""

from collections.abc import Sequence

import numpy as np

from models.grids import Grid, covering, nearest
from models.heads import Maps, Stages


class View:
    """Some of the stage maps, unchanged or averaged over the positions of a coarse grid.

    Parameters
    ----------
    name : prefix of the names of the arrays in a file
    stages : (channels, grid) of all stage maps, finest first
    used : indices of those that this view has
    grid : to average over; None for maps unchanged

    Attributes
    ----------
    stages : (channels, grid) of the maps of this view
    averages : index of a map → matrices [h',h] and [w,w'] that average over rows and columns
    """

    def __init__(self, name: str, stages: Stages, used: Sequence[int], grid: Grid | None = None):
        self.name, self.used = name, tuple(used)
        self.stages = [(stages[i][0], grid or tuple(stages[i][1])) for i in used]
        self.averages = {
            i: (_average(stages[i][1][0], grid[0]), _average(stages[i][1][1], grid[1]).T)
            for i in used
            if grid and tuple(stages[i][1]) != grid
        }

    def __call__(self, maps: Maps) -> list[np.ndarray]:
        """The maps of this view, finest first."""
        return [
            self.averages[i][0] @ maps[i] @ self.averages[i][1] if i in self.averages else maps[i]
            for i in self.used
        ]


def views(gaussians: str, stages: Stages) -> list[View]:
    """One view per Gaussian of `gaussians` (models.methods.GAUSSIANS); auto is joint here."""
    everything = range(len(stages))
    if gaussians != "multiscale":
        return [View("", stages, everything)]
    grids = [tuple(grid) for _, grid in stages]
    finest, coarsest = grids[0], grids[-1]
    fine = [i for i in everything if grids[i] == finest]
    patch = [i for i in everything if grids[i] != coarsest]
    return [
        View("fine.", stages, fine),
        View("patch.", stages, patch),
        View("region.", stages, everything, coarsest),
    ]


def combined(distances: Sequence[np.ndarray]) -> tuple[np.ndarray | None, np.ndarray]:
    """Distances [B,h,w] of each view → image scores [B], or None, and patch scores [B,h,w]."""
    if len(distances) == 1:
        return None, distances[0]
    fine, patch, region = distances
    b, *grid = patch.shape
    above = region.reshape(b, -1)[:, covering(tuple(grid), region.shape[1:])]
    image = np.sqrt((patch.reshape(b, -1) ** 2 + above**2).max(axis=1))
    return image, np.sqrt(fine) * np.sqrt(patch)


def _average(fine: int, coarse: int) -> np.ndarray:
    """The matrix float32 [coarse,fine] that averages the rows below each coarse row."""
    below = nearest(fine, coarse) == np.arange(coarse)[:, None]
    return (below / below.sum(axis=1, keepdims=True)).astype(np.float32)
