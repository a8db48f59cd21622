"""Features: pictures → stage maps, finest first (Defard et al. 2020, section 3.1).

A frozen network gives the maps of the chosen layers, and a reduction keeps d of their channels.
Channels are chosen, or projected, stage by stage before anything is upsampled: the other 348 of
ResNet-18's 448 are never copied.
"""

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from common.timing import phase
from models.backbones.catalogue import REDUCTIONS
from models.engine import Engine
from models.grids import Grid, evenly, first

BACKBONE = "backbone."  # prefix of the names of the network's arrays in a file


class Features:
    """Pictures float32 [B,3,H,W] → the maps [B,c_i,h_i,w_i] of each stage used, finest first.

    Parameters
    ----------
    network : Paddle Layer with `stage_channels`, `grids`: pictures → list of maps
    reduction : ChannelSelection or SemiOrthogonalProjection
    size : (H,W) of the pictures
    engine : resolved Engine
    patch_size : side of the neighbourhood that each map is averaged over (Roth et al. 2022,
        arXiv 2106.08265, section 3.1); 1: unchanged maps

    Attributes
    ----------
    stages : list of (c_i, (h_i,w_i))
    """

    def __init__(self, network, reduction, size: Grid, engine: Engine, patch_size: int = 1):
        self.network, self.reduction, self.size, self.engine = network, reduction, size, engine
        self.patch_size = patch_size
        self.stages = reduction.stages(network.grids)

    @cached_property
    def predictor(self):
        """The Predictor that runs the network, made at first use: export does not need it."""
        from models.predictor import layer_predictor

        def layer():
            from models.backbones.folding import folded

            return self.layer(folded(self.network))

        with phase("start of the network"):
            return layer_predictor(layer, self.size, self.engine, self._key())

    def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        return self.predictor(images)

    def layer(self, network):
        """The Paddle Layer from pictures to the list of stage maps, with `network` in it."""
        from models.layers import Averaged, Projection, Selection

        if self.patch_size > 1:
            network = Averaged(network, self.patch_size)
        kind = Selection if isinstance(self.reduction, ChannelSelection) else Projection
        return kind(network, self.reduction)

    def _key(self) -> str:
        """Identifies the graph of `layer`: equal keys have equal graphs."""
        from models.graph_cache import key

        kind = type(self.reduction).__name__
        return key(f"{self.network.described} {self.patch_size} {kind}", self.arrays())

    def arrays(self) -> dict[str, np.ndarray]:
        """Parameters of the network and of the reduction, for a file."""
        from models.backbones.network import get_weights

        parameters = {f"{BACKBONE}{k}": v for k, v in get_weights(self.network).items()}
        return {**parameters, **self.reduction.arrays}


class GraphFeatures:
    """Features from an exported graph, whose output is one embedding [B,d,h,w].

    `predictor` runs the graph. `stages` describes the maps in the embedding. It is None for a fused
    graph, whose outputs are returned unchanged.
    """

    def __init__(self, predictor, stages: list[tuple[int, Grid]] | None):
        self.predictor, self.stages = predictor, stages

    def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        return self.maps(self.predictor(images))

    def maps(self, outputs: list[np.ndarray]) -> list[np.ndarray]:
        """Stage maps from the outputs of the graph."""
        return outputs if self.stages is None else split(outputs[0], self.stages)


class ChannelSelection:
    """Keeps some channels of the concatenated stages.

    Parameters
    ----------
    stage_channels : channels of each stage, in order, e.g. (64, 128, 256)
    channels : chosen indices into the concatenation of all stages, ascending
    """

    def __init__(self, stage_channels: Sequence[int], channels: Sequence[int]):
        if np.asarray(channels).dtype.kind not in "iu":
            raise ValueError("channels must be whole numbers")
        self.channels = np.asarray(channels, np.int64)
        ends = np.cumsum(stage_channels)
        if len(self.channels) == 0 or (np.diff(self.channels) <= 0).any():
            raise ValueError("channels must be ascending, without duplicates, and not empty")
        if self.channels[0] < 0 or self.channels[-1] >= ends[-1]:
            raise ValueError(f"channels must be 0 to {ends[-1] - 1}")
        starts = ends - np.asarray(stage_channels)
        self.by_stage = [
            self.channels[(self.channels >= start) & (self.channels < end)] - start
            for start, end in zip(starts, ends, strict=True)
        ]

    @classmethod
    def draw(cls, stage_channels: Sequence[int], dims: int, seed: int) -> "ChannelSelection":
        """A random choice of `dims` channels with `seed`; stored in the model and not repeated."""
        total = _require(dims, stage_channels)
        chosen = np.random.default_rng(seed).permutation(total)[:dims]
        return cls(stage_channels, np.sort(chosen))

    @property
    def dims(self) -> int:
        return len(self.channels)

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays for a checkpoint."""
        return {"channels": self.channels}

    @property
    def used(self) -> list[int]:
        """The stages with at least one chosen channel."""
        return [i for i, channels in enumerate(self.by_stage) if len(channels)]

    def stages(self, grids: Sequence[Grid]) -> list[tuple[int, Grid]]:
        """(channels, grid) of each stage used; `grids` has the grids of all stages."""
        return [(len(self.by_stage[i]), tuple(grids[i])) for i in self.used]


class SemiOrthogonalProjection:
    """All channels of the concatenated stages, projected onto d orthonormal directions.

    Kim et al. 2021 (arXiv 2105.14737, section 3.2): a random semi-orthogonal matrix replaces the
    choice of channels. Its output mixes all stages, so it is one map, on the finest grid.

    Parameters
    ----------
    stage_channels : channels of each stage, in order
    projection : float32 [d,D], rows orthonormal
    """

    def __init__(self, stage_channels: Sequence[int], projection: np.ndarray):
        if projection.ndim != 2 or projection.shape[1] != sum(stage_channels):
            raise ValueError(
                f"projection is {projection.shape}, expected [d,{sum(stage_channels)}]"
            )
        self.projection = np.asarray(projection, np.float32)
        self.by_stage = np.split(self.projection, np.cumsum(stage_channels)[:-1], axis=1)

    @classmethod
    def draw(
        cls, stage_channels: Sequence[int], dims: int, seed: int
    ) -> "SemiOrthogonalProjection":
        """The first `dims` columns of a random orthogonal matrix (QR of a Gaussian one)."""
        total = _require(dims, stage_channels)
        gaussian = np.random.default_rng(seed).standard_normal((total, dims))
        q, r = np.linalg.qr(gaussian)
        # The signs make the distribution uniform over all such matrices (Mezzadri 2007).
        return cls(stage_channels, (q * np.sign(np.diag(r))).T.astype(np.float32))

    @property
    def dims(self) -> int:
        return len(self.projection)

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        return {"projection": self.projection}

    def stages(self, grids: Sequence[Grid]) -> list[tuple[int, Grid]]:
        """A list of one stage: (d, the finest grid)."""
        return [(self.dims, tuple(grids[0]))]


def _require(dims: int, stage_channels: Sequence[int]) -> int:
    """The number of channels of all stages; ValueError if `dims` is not 1 to this number."""
    total = sum(stage_channels)
    if not 1 <= dims <= total:
        raise ValueError(f"dims must be 1 to {total}, the number of channels; got {dims}")
    return total


def draw(
    reduction: str, stage_channels: Sequence[int], dims: int, seed: int | None
) -> ChannelSelection | SemiOrthogonalProjection:
    """The `reduction` (one of catalogue.REDUCTIONS) to `dims` channels; ValueError if unknown.

    `none` keeps all channels and needs no `seed`.
    """
    if reduction == "none":
        return ChannelSelection(stage_channels, np.arange(sum(stage_channels)))
    kinds = {"random": ChannelSelection, "semi_orthogonal": SemiOrthogonalProjection}
    if reduction not in kinds:
        raise ValueError(f"reduction {reduction!r}: expected one of {', '.join(REDUCTIONS)}")
    return kinds[reduction].draw(stage_channels, dims, seed)


def from_arrays(
    stage_channels: Sequence[int], arrays: dict[str, np.ndarray]
) -> ChannelSelection | SemiOrthogonalProjection:
    """The reduction from the `arrays` of a checkpoint; KeyError or ValueError if they are wrong."""
    if "projection" in arrays:
        return SemiOrthogonalProjection(stage_channels, arrays["projection"])
    return ChannelSelection(stage_channels, arrays["channels"])


def split(embedding: np.ndarray, stages: Sequence[tuple[int, Grid]]) -> list[np.ndarray]:
    """An embedding [B,d,h,w] → the maps [B,c,h_i,w_i] of `stages` that form it.

    Upsampling repeats each position of a coarse stage; the first copy is used.
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
