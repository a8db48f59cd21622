"""Compares the scores of judged pictures with those of training, or of pictures judged before."""

import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from common.calibration import NormalScores, ranks
from common.errors import WorkError
from evaluation.drift import betting


@dataclass(frozen=True)
class Question:
    """What is asked.

    alpha : probability of an alarm without drift, at most, over all looks at a growing file
    leave_out : whether pictures called defective are left out, of both sides
    fpr : false-alarm rate of the threshold from which on a picture is called defective here
    most : share of defective pictures that is not drift; 1: any
    seed : of the random numbers that break ties
    """

    alpha: float = 0.01
    leave_out: bool = True
    fpr: float = 0.01
    most: float = 0.2
    seed: int = 7


@dataclass(frozen=True, eq=False)
class Drift:
    """Scores of pictures [n] in the order of judging, and those of good pictures of training.

    Pictures called defective are no drift. So only scores below `cut` are compared, the highest
    score of training that is not called defective: given `cut`, the scores below it, of training
    and of today, are independent draws of one distribution, as long as nothing drifts.

    earlier : scores of pictures [m] that were judged before, to compare with instead of training
    """

    normal: NormalScores
    scores: np.ndarray
    question: Question = field(default_factory=Question)
    earlier: np.ndarray | None = None

    @cached_property
    def cut(self) -> float:
        """Only scores below it are compared; infinite where all are."""
        return float(self._training[self._rank - 1]) if self.question.leave_out else math.inf

    @property
    def _rank(self) -> int:
        """That of `cut` among the n training scores, from 1: the threshold's, or n."""
        n = self.normal.pictures
        return min(math.ceil((1 - self.question.fpr) * (n + 1) - 1e-9), n)

    @cached_property
    def _training(self) -> np.ndarray:
        """Ascending. Of more scores than a model keeps, those between are interpolated."""
        n = self.normal.pictures
        return np.interp(np.arange(n), np.array(ranks(n)), np.array(self.normal.ascending))

    @cached_property
    def reference(self) -> np.ndarray:
        """The scores to compare with: those below `cut`, ascending."""
        scores = self._training if self.earlier is None else np.sort(self.earlier)
        return scores[scores < self.cut]

    @cached_property
    def left_out(self) -> np.ndarray:
        """bool [n], of pictures that are not compared."""
        return self.scores >= self.cut

    @property
    def compared(self) -> np.ndarray:
        return self.scores[~self.left_out]

    @cached_property
    def most_left_out(self) -> float:
        """The largest probability that a picture is left out without drift.

        The share of defective pictures that is not drift, and of the others those above `cut`:
        beta distributed, because `cut` is a score of n; its 1 − alpha/2 quantile.
        """
        from scipy.stats import beta

        n, share = self.normal.pictures, self.question.most
        if not self.question.leave_out or share >= 1:
            return 1.0
        good = float(beta.ppf(1 - self.question.alpha / 2, n + 1 - self._rank, self._rank))
        return share + (1 - share) * good

    @cached_property
    def online(self) -> np.ndarray:
        """Online p-values [n] (betting.online_p_values); NaN where a picture is left out."""
        random = np.random.default_rng(self.question.seed)
        found = np.full(len(self.scores), np.nan)
        compared = self.compared.tolist()
        found[~self.left_out] = betting.online_p_values(self.reference.tolist(), compared, random)
        return found

    @cached_property
    def factors(self) -> np.ndarray:
        return betting.factors(self.online, self.left_out, self.most_left_out)

    @cached_property
    def evidence(self) -> np.ndarray:
        """The logarithm of the evidence against `no drift` after each picture [n]."""
        return betting.log_capital(self.factors)

    def require_reference(self, path: Path) -> None:
        """WorkError that names the file `path` if there is no score to compare with."""
        if not len(self.reference):
            raise WorkError(
                f"{path}: nothing to compare with: no reference score is below {self.cut:.6g}, the "
                "highest score of training that is not called defective; give "
                "--leave_out_defective False, or train with more pictures"
            )

    @property
    def level(self) -> float:
        """The alarm's evidence: 2/alpha; the other half of alpha is that of `most_left_out`."""
        return 2 / self.question.alpha

    @cached_property
    def alarm(self) -> int | None:
        """Index of the picture with which the evidence reached `level` first."""
        reached = np.flatnonzero(self.evidence >= math.log(self.level))
        return int(reached[0]) if len(reached) else None

    @cached_property
    def change(self) -> tuple[int, str] | None:
        """Since which picture, and what has changed; None without an alarm."""
        return None if self.alarm is None else betting.beginning(self.factors, self.alarm)

    @cached_property
    def distance(self) -> tuple[float, float] | None:
        """The Kolmogorov-Smirnov distance of the scores compared from `reference`, and the
        share of pairs of samples of these sizes, of one distribution, that are at least so far
        apart. For one look. None if there is nothing to compare.

        Not a test of p-values for uniformity: those of one reference are dependent.
        """
        from scipy.stats import ks_2samp

        if not len(self.compared):
            return None
        found = ks_2samp(self.compared, self.reference)
        return float(found.statistic), float(found.pvalue)


def p_values(reference: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """(1 + number of reference scores [m], ascending, of at least this score) / (m + 1), [n]."""
    below = np.searchsorted(reference, scores)
    return (1 + len(reference) - below) / (len(reference) + 1)
