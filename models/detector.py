"""A detector: features and a head, whatever the method."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from common.errors import UsageError, WorkError
from common.timing import phase
from models.anomaly_map import AnomalyMap, image_scores
from models.heads import Head
from models.record import Record


@dataclass(frozen=True)
class Scores:
    """`image` float32 [B]: one per picture; `map` float32 [B,H,W]: one per pixel.

    The two may have different units.
    """

    image: np.ndarray
    map: np.ndarray


class Detector:
    """Pictures → features → head → anomaly map. It learns by `fit` and answers by `score`.

    Parameters
    ----------
    features : callable, pictures → stage maps (models.features); a fused graph gives the anomaly
        maps [B,H,W] and image scores [B] themselves
    head : of the method, or None where the graph is fused
    record : Record
    name : in messages, for example the file that it came from
    """

    def __init__(self, features, head: Head | None, record: Record, name: str = "the model"):
        self.features, self.head, self.record, self.name = features, head, record, name
        self.to_map = AnomalyMap(record.features.stages[0][1], record.size, record.sigma)

    @property
    def size(self) -> tuple[int, int]:
        """(H,W) of the pictures."""
        return self.record.size

    def fit(self, batches: Iterable[np.ndarray]) -> None:
        """Learn from normal pictures, float32 [B,3,H,W] per batch, in one pass.

        UsageError where there are too few, WorkError where their features cannot be used.
        """
        n = 0
        for images in batches:
            maps = self._maps(images)
            n += len(images)
            with phase("statistics"):
                self.head.update(maps)
        if n == 0:
            raise UsageError("there are no pictures to learn from")
        try:
            with phase("inversion"):
                self.head.finish()
        except WorkError as error:
            weights = self.record.features.weights.name
            raise WorkError(f"{error}; are {weights} the right weights?") from error
        self.record = replace(
            self.record, pictures=n, settings=self.head.settings, unit=self.head.unit
        )

    def score(self, images: np.ndarray) -> Scores:
        """Scores of pictures float32 [B,3,H,W]; each depends on its picture alone."""
        maps = self._maps(images)
        with phase("scoring"):
            return self.judge(maps)

    def judge(self, maps: list[np.ndarray]) -> Scores:
        """Scores from what the features gave; WorkError where they are not finite."""
        if self.head is None:
            anomaly_maps, image = maps
        else:
            image, patches = self.head.score(maps)
            anomaly_maps = self.to_map(patches)
            image = image_scores(anomaly_maps) if image is None else image
        if not (np.isfinite(image).all() and np.isfinite(anomaly_maps).all()):
            raise WorkError(f"{self.name}: the scores are not finite; train it again")
        return Scores(image, anomaly_maps)

    def _maps(self, images: np.ndarray) -> list[np.ndarray]:
        if images.ndim != 4 or images.shape[1:] != (3, *self.size) or images.dtype != np.float32:
            raise ValueError(
                f"expected normalised float32 pictures [B,3,{self.size[0]},{self.size[1]}], "
                f"got {images.dtype} {images.shape}"
            )
        with phase("network"):
            return self.features(images)

    def arrays(self, dtype: str = "float32") -> dict[str, np.ndarray]:
        """What a checkpoint keeps of a fitted detector, beside its record."""
        return {**self.features.arrays(), **self.head.arrays(dtype)}
