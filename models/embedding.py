"""Stage maps and the d-channel patch embedding (Defard et al. 2020, section 3.1).

Channels are chosen, or projected, stage by stage before anything is upsampled: the other 348 of
ResNet-18's 448 are never copied.
"""

from collections.abc import Sequence

import numpy as np

from models.backbones.catalogue import REDUCTIONS
from models.grids import Grid, evenly, first


class PatchEmbedding:
    """A random choice of `dims` channels of the concatenated stages.

    Parameters
    ----------
    stage_channels : channels of each stage, in order, e.g. (64, 128, 256)
    channels : chosen indices into the concatenation of all stages, ascending
    """

    def __init__(self, stage_channels: Sequence[int], channels: Sequence[int]):
        self.channels = np.asarray(channels, np.int64)
        ends = np.cumsum(stage_channels)
        if len(self.channels) == 0 or (np.diff(self.channels) <= 0).any():
            raise ValueError("channels must be ascending, without repetition, and not empty")
        if self.channels[0] < 0 or self.channels[-1] >= ends[-1]:
            raise ValueError(f"channels must lie in 0…{ends[-1] - 1}")
        starts = ends - np.asarray(stage_channels)
        self.by_stage = [
            self.channels[(self.channels >= start) & (self.channels < end)] - start
            for start, end in zip(starts, ends, strict=True)
        ]

    @classmethod
    def draw(cls, stage_channels: Sequence[int], dims: int, seed: int) -> "PatchEmbedding":
        """A draw of `dims` channels by `seed`; kept with the model, never drawn again."""
        total = _require(dims, stage_channels)
        chosen = np.random.default_rng(seed).permutation(total)[:dims]
        return cls(stage_channels, np.sort(chosen))

    @property
    def dims(self) -> int:
        return len(self.channels)

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """What the checkpoint keeps of it."""
        return {"channels": self.channels}

    @property
    def used(self) -> list[int]:
        """The stages that have a chosen channel."""
        return [i for i, channels in enumerate(self.by_stage) if len(channels)]

    def stages(self, grids: Sequence[Grid]) -> list[tuple[int, Grid]]:
        """(channels, grid) of each stage used, where `grids` holds those of all stages."""
        return [(len(self.by_stage[i]), tuple(grids[i])) for i in self.used]


class SemiOrthogonalEmbedding:
    """All channels of the concatenated stages, projected onto d orthonormal directions.

    Kim et al. 2021 (arXiv 2105.14737, section 3.2): in place of a choice of channels a random
    semi-orthogonal matrix. Its maps mix all stages, so they have one grid, the finest.

    Parameters
    ----------
    stage_channels : channels of each stage, in order
    projection : float32 [d,D], rows orthonormal
    """

    def __init__(self, stage_channels: Sequence[int], projection: np.ndarray):
        if projection.ndim != 2 or projection.shape[1] != sum(stage_channels):
            raise ValueError(f"projection is {projection.shape}, not [d,{sum(stage_channels)}]")
        self.projection = np.asarray(projection, np.float32)
        self.by_stage = np.split(self.projection, np.cumsum(stage_channels)[:-1], axis=1)

    @classmethod
    def draw(cls, stage_channels: Sequence[int], dims: int, seed: int) -> "SemiOrthogonalEmbedding":
        """The first `dims` columns of a random orthogonal matrix (QR of a Gaussian one)."""
        total = _require(dims, stage_channels)
        gaussian = np.random.default_rng(seed).standard_normal((total, dims))
        q, r = np.linalg.qr(gaussian)
        # The signs make the draw uniform over all such matrices (Mezzadri 2007).
        return cls(stage_channels, (q * np.sign(np.diag(r))).T.astype(np.float32))

    @property
    def dims(self) -> int:
        return len(self.projection)

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        return {"projection": self.projection}

    def stages(self, grids: Sequence[Grid]) -> list[tuple[int, Grid]]:
        """One: (d, the finest grid)."""
        return [(self.dims, tuple(grids[0]))]


def _require(dims: int, stage_channels: Sequence[int]) -> int:
    """How many channels there are; ValueError where `dims` of them cannot be had."""
    total = sum(stage_channels)
    if not 1 <= dims <= total:
        raise ValueError(f"dims must be 1…{total} (the channels there are), got {dims}")
    return total


def draw(
    reduction: str, stage_channels: Sequence[int], dims: int, seed: int | None
) -> PatchEmbedding | SemiOrthogonalEmbedding:
    """The embedding of `dims` channels, by one of catalogue.REDUCTIONS; ValueError.

    `none` keeps all channels there are, and needs no `seed`.
    """
    if reduction == "none":
        return PatchEmbedding(stage_channels, np.arange(sum(stage_channels)))
    kinds = {"random": PatchEmbedding, "semi_orthogonal": SemiOrthogonalEmbedding}
    if reduction not in kinds:
        raise ValueError(f"reduction {reduction!r} is not one of {', '.join(REDUCTIONS)}")
    return kinds[reduction].draw(stage_channels, dims, seed)


def from_arrays(
    stage_channels: Sequence[int], arrays: dict[str, np.ndarray]
) -> PatchEmbedding | SemiOrthogonalEmbedding:
    """The embedding whose `arrays` a checkpoint kept; KeyError or ValueError."""
    if "projection" in arrays:
        return SemiOrthogonalEmbedding(stage_channels, arrays["projection"])
    return PatchEmbedding(stage_channels, arrays["channels"])


def split(embedding: np.ndarray, stages: Sequence[tuple[int, Grid]]) -> list[np.ndarray]:
    """An embedding [B,d,h,w] → the maps [B,c,h_i,w_i] of `stages` that it was made from.

    Upsampling repeats each place of a coarse stage: the first of the copies says it all.
    """
    maps, start = [], 0
    rows, columns = (np.arange(side) for side in stages[0][1])
    finer = stages[0][1]
    for channels, grid in stages:
        rows, columns = rows[first(finer[0], grid[0])], columns[first(finer[1], grid[1])]
        stage = embedding[:, start : start + channels]
        maps.append(stage[:, :, evenly(rows)][:, :, :, evenly(columns)])
        start, finer = start + channels, grid
    return maps
