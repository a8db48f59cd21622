"""Figures of scored test pictures, and the thresholds that follow from them."""

import importlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from common.calibration import BestF1
from common.timing import phase
from evaluation.metrics import FPR_LIMIT, Ranking, aupro, rank
from evaluation.scale import usual_score
from evaluation.testing import ScoredPicture

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Figures:
    """Rankings of pictures and of pixels; None where the test pictures do not allow them."""

    image: Ranking | None
    pixel: Ranking | None
    aupro: float | None

    def record(self) -> dict:
        """The entries `image` and `pixel` of metrics.json."""
        pixel = _level(self.pixel)
        if pixel:
            pixel |= {"aupro": self.aupro, "aupro_fpr_limit": FPR_LIMIT}
        return {"image": _level(self.image), "pixel": pixel}

    def best_f1(self, tested: Sequence[ScoredPicture]) -> BestF1 | None:
        """Thresholds of best F1 on `tested`; None unless some are good and some defective.

        Without masks the threshold of a map's maximum serves as the pixel threshold. The image
        threshold cannot: an image score may have another unit than the map.
        """
        if self.image is None:
            return None
        peaks = rank(_defective(tested), np.array([picture.map.max() for picture in tested]))
        peak_threshold = peaks.f1_max[1]
        good = np.concatenate([picture.map.ravel() for picture in tested if not picture.defective])
        return BestF1(
            image=self.image.f1_max[1],
            peak=peak_threshold,
            pixel=self.pixel.f1_max[1] if self.pixel else peak_threshold,
            usual=usual_score(good),
            source="best F1 on the test pictures of the last validation",
        )


def measure(tested: Sequence[ScoredPicture]) -> Figures:
    """All figures of `tested`; warns of those that are left out and gives the reason."""
    with phase("start of scikit-learn"):
        importlib.import_module("sklearn.metrics")
    with phase("metrics"):
        image = rank(_defective(tested), np.array([picture.score for picture in tested]))
        if image is None:
            logger.warning("image figures are left out: they need good and defective test pictures")
        return Figures(image, *_pixel_figures(tested))


def _pixel_figures(tested: Sequence[ScoredPicture]) -> tuple[Ranking | None, float | None]:
    """Ranking and AUPRO of the pixels of all pictures whose mask is known."""
    known = [picture for picture in tested if picture.mask is not None]
    without = len(tested) - len(known)
    masks, maps = [picture.mask for picture in known], [picture.map for picture in known]
    ranking = None
    if any(mask.any() for mask in masks):
        ranking = rank(*(np.concatenate([a.ravel() for a in arrays]) for arrays in (masks, maps)))
    if ranking is None:
        reason = "no defective picture has a mask" if without else "no mask marks a defect"
        logger.warning("pixel figures are left out: %s", reason)
        return None, None
    if without:
        logger.warning("pixel figures leave out %d pictures without a mask", without)
    if blank := [picture for picture in known if picture.defective and not picture.mask.any()]:
        logger.warning(
            "%d masks of defective pictures mark nothing in the crop, that of %s first",
            *(len(blank), blank[0].path),
        )
    return ranking, aupro(masks, maps, ranking)


def _defective(tested: Sequence[ScoredPicture]) -> np.ndarray:
    return np.array([picture.defective for picture in tested], bool)


def _level(ranking: Ranking | None) -> dict:
    if ranking is None:
        return {}
    f1, threshold = ranking.f1_max
    return {
        "auroc": ranking.auroc,
        "ap": ranking.average_precision,
        "f1_max": f1,
        "threshold": threshold,
    }
