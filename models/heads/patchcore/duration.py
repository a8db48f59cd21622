"""How long choosing the bank will take on this machine, to say so before pictures are read."""

import time

import numpy as np

from models.heads.patchcore.coreset import DIMS, shorten, with_squares
from models.heads.patchcore.learned import Learned

LONG = 30  # seconds from which the time is stated
# Products that any machine computes in less: nothing is measured then.
SHORT = 10**10
PATCHES, CENTRES, ROUNDS = 2**14, 512, 3  # of the measurement: 10 ms each on two cores


def announced(seen: int, dims: int, ratio: float) -> str | None:
    """What a bank of `seen` patches of `dims` channels will be; None if it is made in LONG s."""
    distances, projected = Learned.distances(seen, dims, ratio), min(dims, DIMS)
    if distances * projected < SHORT:
        return None
    seconds = distances * seconds_of_distance(projected)
    if seconds < LONG:
        return None
    kept = Learned.kept(seen, ratio)
    return (
        f"the bank will have {kept} of {seen} patches ({4 * kept * dims / 1e6:.0f} MB); choosing "
        f"them takes about {spoken(seconds)}; a smaller coreset_ratio or coarser layers are faster"
    )


def seconds_of_distance(dims: int) -> float:
    """Of one patch from one centre, in the products of `coreset`; measured in some 50 ms."""
    rng = np.random.default_rng(0)
    points = rng.integers(-99, 100, (PATCHES, dims)).astype(np.float32)
    left, nearest, taken = with_squares(points), np.full(PATCHES, np.inf, np.float32), []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        shorten(nearest, left, list(range(CENTRES)))
        taken.append(time.perf_counter() - start)
    return min(taken[1:]) / (PATCHES * CENTRES)  # the first one starts threads


def spoken(seconds: float) -> str:
    """For example 45 s, 12 min or 3.5 h."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 2 * 3600 else f"{seconds / 3600:.1f} h"
