"""The judgement of one picture."""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from common.calibration import Rule
from common.looks import Look, Looks
from datasets.transforms import Source, Transform
from evaluation.heat import overlay
from evaluation.scale import Scale, scale_for, verdict
from inspection.regions import Region, original_mask


@dataclass(frozen=True, eq=False)
class Judgement:
    """
    source : the picture as it was given: a path, bytes, a file object or an array
    score : image score; the higher, the more anomalous
    map : anomaly map of the crop, float32 [H,W]; its unit may differ from that of the score
    look : of the picture
    looks : of the training pictures; None: unknown
    rule : from which score on something is defective
    """

    source: Source
    score: float
    map: np.ndarray
    look: Look
    rule: Rule = field(repr=False)
    scale: Scale = field(repr=False)
    min_area: int = field(repr=False)  # smaller regions are left out, pixels of the original
    image: np.ndarray = field(repr=False)  # input of the network, float32 [3,H,W]
    transform: Transform = field(repr=False)
    looks: Looks | None = field(default=None, repr=False)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the original picture, upright."""
        return self.look.size

    @cached_property
    def unlike(self) -> dict[str, str]:
        """In what the picture is unlike the training pictures (common.looks.Looks.unlike)."""
        return {} if self.looks is None else self.looks.unlike(self.look)

    @property
    def warnings(self) -> list[str]:
        """Why the verdict may mean nothing: in what the picture is unlike the training pictures."""
        return list(self.unlike.values())

    @property
    def threshold(self) -> float | None:
        """Image score from which a picture is defective, or None."""
        return self.rule.threshold

    @property
    def verdict(self) -> str:
        """`good`, `defective`, or `unknown` if there is no threshold."""
        return verdict(self.score, self.threshold)

    @property
    def p_value(self) -> float | None:
        """The probability, at most, that a good picture has such a score or a higher one; None if
        the model has no scores of good pictures (common.calibration.NormalScores.p_value)."""
        return self.rule.p_value(self.score)

    @property
    def normalised(self) -> float | None:
        """The score from 0 to 1, 0.5 at the threshold (common.calibration.Rule.normalised)."""
        return self.rule.normalised(self.score)

    @property
    def regions(self) -> list[Region]:
        """Defective parts of the original picture, largest first; none where it is not defective.

        Their pixels are those of evaluation.scale.Scale.region, on the original picture.
        """
        return self._marked[1]

    @property
    def mask(self) -> np.ndarray:
        """The pixels of `regions`, bool [H,W] of the original picture."""
        return self._marked[0]

    @cached_property
    def _marked(self) -> tuple[np.ndarray, list[Region]]:
        cut = self.scale.cut(self.map) if self.verdict == "defective" else np.inf
        crop = self.transform.preprocessing.box(self.size)
        return original_mask(self.map, cut, crop, self.size, self.min_area, self.scale.usual)

    def light(self) -> "Judgement":
        """Without `image` and `picture`, which take three quarters of the memory."""
        return replace(self, image=np.zeros((3, 0, 0), np.float32))

    @property
    def picture(self) -> np.ndarray:
        """The crop that was judged, uint8 RGB [H,W,3]."""
        if self.image.size == 0:
            raise ValueError("this judgement is light: it has no picture")
        return self.transform.denormalize(self.image[None])[0]

    @property
    def heat_map(self) -> np.ndarray:
        """The map in colours over the crop in grey, uint8 RGB [H,W,3], as in the sheets."""
        return overlay(self.picture, self.map, self.scale)

    def under(self, rule: Rule, unit: float, min_area: int | None = None) -> "Judgement":
        """The same picture and scores, judged by another rule.

        unit : `Record.unit` of the model
        min_area : replaces the present one, if given
        """
        min_area = self.min_area if min_area is None else min_area
        return replace(self, rule=rule, scale=scale_for(rule, unit), min_area=min_area)
