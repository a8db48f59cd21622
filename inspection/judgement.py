"""The judgement of one picture."""

from dataclasses import dataclass, field

import numpy as np

from datasets.transforms import Source, Transform
from evaluation.scale import verdict


@dataclass(frozen=True, eq=False)
class Judgement:
    """
    source : the picture as it was given: a path, bytes, a file object or an array
    score : image score; the higher, the more anomalous
    threshold : image score from which a picture is defective, or None
    map : anomaly map of the crop, float32 [H,W]; its unit may differ from that of the score
    """

    source: Source
    score: float
    threshold: float | None
    map: np.ndarray
    image: np.ndarray = field(repr=False)  # input of the network, float32 [3,H,W]
    transform: Transform = field(repr=False)

    @property
    def verdict(self) -> str:
        """`good`, `defective`, or `unknown` if there is no threshold."""
        return verdict(self.score, self.threshold)

    @property
    def picture(self) -> np.ndarray:
        """The crop that was judged, uint8 RGB [H,W,3]."""
        return self.transform.denormalize(self.image[None])[0]
