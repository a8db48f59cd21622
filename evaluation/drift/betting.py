"""A sequential test of exchangeability that may be looked at after every picture.

A conformal test martingale (Vovk, Gammerman and Shafer 2005; Vovk 2021, Statistical Science 36):
virtual capital, at first 1, is bet on each p-value before it is seen. While the pictures are
exchangeable with those of training, the capital exceeds 1/alpha at any time with a probability of
at most alpha (Ville 1939).
"""

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence

import numpy as np

from common.progress import progress

LOWER = "lower scores"
# What capital is bet on, in the order of `factors`.
BETS = (
    "nothing",
    "higher scores",
    LOWER,
    "more spread of the scores",
    "less spread of the scores",
    "too many pictures called defective",
)
STAKE = 0.75
# Rates at which capital moves between the bets: high ones follow quick changes; low ones keep
# capital for a change after many pictures.
RATES = 10.0 ** -np.arange(2, 7)[:, None]


def online_p_values(normal: Sequence[float], scores: Sequence[float], random) -> np.ndarray:
    """Conformal p-values [n] of `scores`, each among `normal` and all scores before it.

    Ties are broken at random (`random`: a numpy Generator). So the p-values are independent and
    uniform from 0 to 1 for exchangeable scores, however few there are in `normal` (Vovk et al.
    2005, theorem 8.2).
    """
    seen, found = sorted(normal), np.empty(len(scores))
    for i, (score, chance) in enumerate(zip(scores, random.random(len(scores)), strict=True)):
        first, last = bisect_left(seen, score), bisect_right(seen, score)
        equal = last - first + 1  # itself included
        found[i] = (len(seen) - last + chance * equal) / (len(seen) + 1)
        insort(seen, score)
    return found


def factors(p_values: np.ndarray, left_out: np.ndarray, most: float) -> np.ndarray:
    """By what each bet multiplies its capital at each picture: float [n, len(BETS)].

    p_values : [n]; ignored where the picture is left out
    left_out : bool [n], of pictures called defective
    most : largest probability of these; 1: any

    No bet expects a gain: those on p-values are shifted Legendre polynomials with a mean of 0
    (the first is the Simple Jumper's of Vovk et al. 2021, COPA, PMLR 152); that on pictures called
    defective is the likelihood ratio of a higher probability against `most`.
    """
    x = 2 * np.where(left_out, 0.5, p_values) - 1
    level, spread = STAKE * x, STAKE * (3 * x * x - 1) / 2
    found = np.ones((len(x), len(BETS)))
    found[:, 1:5] += np.stack([-level, level, spread, -spread], axis=1)
    found[left_out, :5] = 1
    if most < 1:
        higher = (1 + most) / 2
        found[:, 5] = np.where(left_out, higher / most, (1 - higher) / (1 - most))
    return found


def log_capital(factors: np.ndarray) -> np.ndarray:
    """The logarithm of the capital after each picture [n], from `factors` of all bets.

    Jumpers with several RATES share the capital at first. Each takes the same part of the capital
    of all its bets, before every picture, and divides it equally among them.
    """
    bets = factors.shape[1]
    held = np.full((len(RATES), bets), 1 / (len(RATES) * bets))
    total, found = 0.0, np.empty(len(factors))
    for i, factor in enumerate(progress(factors, len(factors), "evidence", size=lambda _: 1)):
        moved = RATES * held.sum(axis=1, keepdims=True) / bets
        held = ((1 - RATES) * held + moved) * factor
        gain = float(held.sum())
        held /= gain
        total += math.log(gain)
        found[i] = total
    return found


def beginning(factors: np.ndarray, end: int) -> tuple[int, str]:
    """Since which picture which bet has won until picture `end`: its index, and the bet's name.

    The bet and the beginning with the largest product of factors up to `end` (CUSUM; Page 1954,
    Biometrika 41).
    """
    sums = np.cumsum(np.log(factors[: end + 1][::-1]), axis=0)[::-1]
    start, bet = np.unravel_index(np.argmax(sums[:, 1:]), sums[:, 1:].shape)
    return int(start), BETS[bet + 1]
