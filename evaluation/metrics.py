"""AUROC, AP, F1-max and AUPRO, computed from one sort of the scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

FPR_LIMIT = 0.3  # AUPRO integrates up to this rate (Bergmann et al. 2021, section 5.2)


@dataclass(frozen=True, eq=False)
class Ranking:
    """True and false positives at every threshold, one point per distinct score.

    `tp` and `fp` count the items whose score is at least the threshold. The first point has an
    infinite threshold and counts nothing.
    """

    threshold: np.ndarray
    tp: np.ndarray
    fp: np.ndarray

    @cached_property
    def fpr(self) -> np.ndarray:
        return self.fp / self.fp[-1]

    @cached_property
    def recall(self) -> np.ndarray:
        return self.tp / self.tp[-1]

    @cached_property
    def precision(self) -> np.ndarray:
        """1 at the first point, where no item is called defective."""
        called = self.tp + self.fp
        return np.divide(self.tp, called, out=np.ones(len(called)), where=called > 0)

    @cached_property
    def auroc(self) -> float:
        return _area(self.recall, self.fpr)

    @cached_property
    def average_precision(self) -> float:
        """Σ (R_k − R_k−1) P_k, as scikit-learn defines it: no interpolation."""
        return float(np.sum(np.diff(self.recall) * self.precision[1:]))

    @cached_property
    def f1_max(self) -> tuple[float, float]:
        """The best F1 over all thresholds, and a threshold that gives it.

        The threshold is midway between the scores on its two sides, so that rounding does not
        change a verdict. Where no score is below it, it is slightly below the lowest one.
        """
        f1 = 2 * self.tp[1:] / (self.tp[1:] + self.fp[1:] + self.tp[-1])
        best = int(np.argmax(f1))
        cut = self.threshold[1 + best]
        nothing_below = best + 2 == len(self.threshold)
        below = cut - 1e-4 * abs(cut) if nothing_below else self.threshold[2 + best]
        return float(f1[best]), (float(cut) + float(below)) / 2


def rank(defective: np.ndarray, scores: np.ndarray) -> Ranking | None:
    """The ranking of N `scores`, `defective` bool [N]; None where one of the classes is missing."""
    from sklearn.metrics import roc_curve

    positives = int(np.count_nonzero(defective))
    negatives = len(defective) - positives
    if positives == 0 or negatives == 0:
        return None
    fpr, tpr, threshold = roc_curve(defective, scores, drop_intermediate=False)
    # A rate is a count divided by a total: rounding restores the exact count.
    return Ranking(threshold, np.rint(tpr * positives), np.rint(fpr * negatives))


def aupro(
    masks: Sequence[np.ndarray],
    maps: Sequence[np.ndarray],
    ranking: Ranking,
    limit: float = FPR_LIMIT,
) -> float:
    """Area under the per-region overlap up to a false positive rate of `limit`, over `limit`.

    A region is an 8-connected component of a mask; all regions have the same weight, whatever
    their size (Bergmann et al. 2021). `ranking` must be that of all pixels of `masks` and `maps`:
    its thresholds give the place of each pixel without another sort.
    """
    from scipy.ndimage import label  # imported here: it takes 0.3 s, which only validation needs

    shares, scores = [], []
    for mask, anomaly_map in zip(masks, maps, strict=True):
        labelled, _ = label(mask, structure=np.ones((3, 3), int))
        region = labelled[mask]
        shares.append(1 / np.bincount(region)[region])
        scores.append(anomaly_map[mask])
    ascending = ranking.threshold[::-1]
    place = len(ascending) - 1 - np.searchsorted(ascending, np.concatenate(scores))
    gained = np.bincount(place, np.concatenate(shares), len(ascending))
    # All shares add up to the number of regions.
    overlap = np.cumsum(gained) / gained.sum()
    return _area(*_until(overlap, ranking.fpr, limit)) / limit


def _until(y: np.ndarray, x: np.ndarray, limit: float) -> tuple[np.ndarray, np.ndarray]:
    """The curve from x = 0 to `limit`, its last point interpolated."""
    end = int(np.searchsorted(x, limit, side="right"))
    last = np.interp(limit, x, y)
    return np.append(y[:end], last), np.append(x[:end], limit)


def _area(y: np.ndarray, x: np.ndarray) -> float:
    return float(np.sum(np.diff(x) * (y[1:] + y[:-1])) / 2)
