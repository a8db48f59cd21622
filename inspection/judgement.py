"""What an inspector says of one picture."""

from dataclasses import dataclass, field

import numpy as np

from datasets.transforms import Source, Transform
from evaluation.scale import verdict


@dataclass(frozen=True, eq=False)
class Judgement:
    """
    source : what was given: a path, bytes, a file object or an array
    score : image score; the higher, the more anomalous
    threshold : image score from which a picture is defective, None where none is known
    map : anomaly map of the crop, float32 [H,W]; its unit may differ from the score's
    """

    source: Source
    score: float
    threshold: float | None
    map: np.ndarray
    image: np.ndarray = field(repr=False)  # what the network was given, float32 [3,H,W]
    transform: Transform = field(repr=False)

    @property
    def verdict(self) -> str:
        """`good`, `defective`, or `unknown` where there is no threshold."""
        return verdict(self.score, self.threshold)

    @property
    def picture(self) -> np.ndarray:
        """The crop that was looked at, uint8 RGB [H,W,3]."""
        return self.transform.denormalize(self.image[None])[0]
