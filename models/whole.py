"""Stage maps with all channels, from which those of any reduction follow without the network."""

from collections.abc import Iterator, Sequence

import numpy as np

from models.detector import Detector
from models.features import ChannelSelection, Features, SemiOrthogonalProjection, draw
from models.grids import nearest
from models.kept import KeptMaps


def whole_detector(detector: Detector) -> Detector:
    """A detector that only gives stage maps: all channels of the network of `detector`."""
    known = detector.features
    everything = draw("none", known.network.stage_channels, 0, None)
    features = Features(known.network, everything, known.size, known.engine, known.patch_size)
    return Detector(features, None, detector.record, detector.name, detector.roi)


class ReducedMaps:
    """The batches of `whole`, which have all channels, after `reduction`; may be read again.

    It serves as models.kept.KeptMaps does.
    """

    def __init__(self, whole: KeptMaps, reduction: ChannelSelection | SemiOrthogonalProjection):
        self.whole, self.reduction = whole, reduction

    @property
    def pictures(self) -> int:
        return self.whole.pictures

    def __iter__(self) -> Iterator[list[np.ndarray]]:
        return (reduced(maps, self.reduction) for maps in self.whole)


def reduced(
    maps: Sequence[np.ndarray], reduction: ChannelSelection | SemiOrthogonalProjection
) -> list[np.ndarray]:
    """What Features with `reduction` would give, from the maps float32 [B,c,h,w] of all channels of
    all stages, finest first."""
    if isinstance(reduction, ChannelSelection):
        return [maps[i][:, reduction.by_stage[i]] for i in reduction.used]
    out = None
    for stage, part in zip(reversed(maps), reversed(reduction.by_stage), strict=True):
        batch, channels, h, w = stage.shape
        projected = (part @ stage.reshape(batch, channels, h * w)).reshape(batch, -1, h, w)
        out = projected if out is None else projected + _repeated(out, (h, w))
    return [out]


def _repeated(maps: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Maps [B,c,h,w] on a finer `grid`, with positions repeated."""
    rows, columns = (nearest(*sides) for sides in zip(grid, maps.shape[2:], strict=True))
    return maps[:, :, rows][:, :, :, columns]
