"""Exact nearest neighbours in the memory bank, without computing all distances.

Bank and queries are turned onto the bank's principal axes, which changes no distance. Of each, the
first AXES − 1 coordinates are kept, and the norm of all others. The distance of two such short
vectors is a lower bound of the distance, because two norms differ by at most the norm of the
difference. One matrix product gives all bounds. The entry with the smallest bound is often the
nearest; only entries whose bound is below its distance can be nearer (on MVTec AD bottle 10 to 20
of 16,385), and only of these the distances are computed, from the differences in all channels.

The approximate search ends with the entry of the smallest bound: its distance is computed, but
another entry may be nearer.
"""

import threading
from dataclasses import dataclass

import numpy as np

from models.device import cpu_threads
from models.parallel import each, pieces

AXES = 64
QUERIES = 98  # per block: 6 MB of bounds for 16,385 entries; 28 × 28 positions are 8 blocks
# Rounding errors of float32 in a bound, in units of the two squared norms: bounds are lowered by
# so much.
SLACK = 4e-6
PAIRS = 1024  # whose differences are computed at a time
# Queries with more candidates than this share of the bank get bounds from all axes.
CROWDED = 1 / 64


@dataclass(frozen=True)
class Turned:
    """Centred vectors on the principal axes of the bank.

    short : float32 [n,AXES], as above; full : float32 [n,D]; squares : squared norms, float32 [n]
    """

    short: np.ndarray
    full: np.ndarray
    squares: np.ndarray


class Search:
    """Finds the nearest of the entries `bank`, float32 [M,D].

    `pictures`, int [M]: the training picture of each entry, for `without`, the picture of each
    query, whose entries are then left out. `exact`: whether `nearest` is; `neighbours` always is.
    """

    def __init__(self, bank: np.ndarray, pictures: np.ndarray, exact: bool = True):
        self.bank, self.pictures, self.exact = bank, pictures, exact
        self.mean = bank.mean(axis=0, dtype=np.float64).astype(np.float32)
        centred = bank - self.mean
        _, axes = np.linalg.eigh((centred.T @ centred).astype(np.float64))
        del centred  # frees as much memory as the bank has
        self.axes = np.ascontiguousarray(axes[:, ::-1], np.float32)
        turned = self._turned(bank)
        self.factors = [_factor(x, turned.squares) for x in (turned.short, turned.full)]
        self.largest = turned.squares.max()
        self.scratch = threading.local()  # arrays that each thread uses again

    @staticmethod
    def memory(entries: int, dims: int) -> int:
        """Bytes of a search in so many entries beside the bank, at most, while it is made or used.

        More, if most entries are equally near to a query.
        """
        turned = entries * (3 * (dims + 1) + 3 * AXES) + 10 * dims**2
        return 4 * turned + cpu_threads() * QUERIES * entries * 5

    def nearest(
        self, queries: np.ndarray, without: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Distances float32 [Q] of `queries` [Q,D] from the nearest entries, and these, int64 [Q].

        The distance is inf where `without` leaves no entry. Of equally near entries the first.
        """
        distance, entry = np.empty(len(queries), np.float32), np.empty(len(queries), np.int64)

        def work(part: slice) -> None:
            own = None if without is None else without[part]
            squared, entry[part] = self._nearest(queries[part], own)
            np.sqrt(squared, out=distance[part])

        each(work, pieces(len(queries), QUERIES))
        return distance, entry

    def neighbours(self, entry: int, count: int, without: int | None = None) -> np.ndarray:
        """The `count` entries nearest to one of the entries, itself first: int [≤ count].

        Fewer, if the bank, without the picture `without`, has fewer.
        """
        there = np.arange(len(self.bank))
        if without is not None:
            there = there[self.pictures != without]
        query = self._turned(self.bank[entry : entry + 1])
        bounds = (_with_one(query.short) @ self.factors[0].T)[0, there]
        count = min(count, len(there))
        some = there[np.argpartition(bounds, count - 1)[:count]]
        farthest = self._squared(self.bank[[entry]], np.zeros(count, int), some).max()
        near = there[bounds <= self._limit(farthest, query.squares)]
        squared = self._squared(self.bank[[entry]], np.zeros(len(near), int), near)
        squared[near == entry] = -1  # before others that equal it
        return near[np.argsort(squared, kind="stable")[:count]]

    def _turned(self, x: np.ndarray) -> Turned:
        full = (x - self.mean) @ self.axes
        rest = full[:, AXES - 1 :]
        tail = np.sqrt(np.einsum("nd,nd->n", rest, rest))
        short = np.hstack([full[:, : AXES - 1], tail[:, None]])
        return Turned(short, full, np.einsum("nd,nd->n", full, full))

    def _limit(self, squared: np.ndarray, squares: np.ndarray) -> np.ndarray:
        """The largest half bound of an entry that is not farther than `squared`."""
        return (squared - squares) / 2 + np.float32(SLACK) * (squares + self.largest)

    def _nearest(self, queries: np.ndarray, without) -> tuple[np.ndarray, np.ndarray]:
        """Squared distances and entries for one block of queries."""
        turned, every = self._turned(queries), np.arange(len(queries))
        squared, entry = np.full(len(queries), np.inf, np.float32), np.zeros(len(queries), np.int64)
        of, near, crowded = self._candidates(queries, turned, every, without, 0)
        self._choose(queries, of, near, squared, entry)
        if len(crowded):
            of, near, _ = self._candidates(queries, turned, crowded, without, 1)
            self._choose(queries, of, near, squared, entry)
        return squared, entry

    def _candidates(
        self, queries: np.ndarray, turned: Turned, rows: np.ndarray, without, kind: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pairs (query, entry), sorted, that contain the nearest entry of the queries `rows`.

        `kind` 0: by the short vectors; the third result are queries with too many candidates, which
        have no pairs. 1: by the full vectors.
        """
        vectors, entries = (turned.short, turned.full)[kind][rows], len(self.bank)
        bounds, below = self._buffers(len(rows))
        np.matmul(_with_one(vectors), self.factors[kind].T, out=bounds)
        if without is not None:
            bounds[self.pictures == without[rows, None]] = np.inf
        first = bounds.argmin(axis=1)
        there = np.isfinite(bounds[np.arange(len(rows)), first])
        if not self.exact:
            return rows[there], first[there], rows[:0]
        limit = self._limit(self._squared(queries, rows, first), turned.squares[rows])
        limit[~there] = -np.inf
        np.less_equal(bounds, limit[:, None], out=below)
        row, near = np.divmod(np.flatnonzero(below), entries)
        if kind == 1:
            return rows[row], near, rows[:0]
        many = np.bincount(row, minlength=len(rows)) > max(AXES, CROWDED * entries)
        few = ~many[row]
        return rows[row[few]], near[few], rows[many]

    def _buffers(self, rows: int) -> tuple[np.ndarray, np.ndarray]:
        """Scratch arrays of this thread, float32 and bool [rows,M]: new memory is slow."""
        if not hasattr(self.scratch, "pair"):
            shape = QUERIES, len(self.bank)
            self.scratch.pair = np.empty(shape, np.float32), np.empty(shape, bool)
        bounds, below = self.scratch.pair
        return bounds[:rows], below[:rows]

    def _choose(self, queries, of, near, squared, entry) -> None:
        """Set `squared` and `entry` of the queries in the sorted pairs `of`, `near`."""
        if len(of) == 0:
            return
        found = self._squared(queries, of, near)
        starts = np.flatnonzero(np.diff(of, prepend=-1))
        smallest = np.minimum.reduceat(found, starts)
        counts = np.diff(starts, append=len(of))
        hits = np.flatnonzero(found == np.repeat(smallest, counts))[::-1]
        squared[of[starts]] = smallest
        entry[of[hits]] = near[hits]  # of several the first, which is set last

    def _squared(self, queries: np.ndarray, of: np.ndarray, entries: np.ndarray) -> np.ndarray:
        """Squared distances of pairs from the differences: float32 [pairs]."""
        found = np.empty(len(of), np.float32)
        for part in pieces(len(of), PAIRS):
            difference = queries[of[part]]
            difference -= self.bank[entries[part]]
            np.einsum("nd,nd->n", difference, difference, out=found[part])
        return found


def _factor(vectors: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """The rows whose products with (query, 1) are (|x|² − 2·q·x)/2."""
    factor = np.empty((len(vectors), vectors.shape[1] + 1), np.float32)
    np.negative(vectors, out=factor[:, :-1])
    np.divide(squares, 2, out=factor[:, -1])
    return factor


def _with_one(vectors: np.ndarray) -> np.ndarray:
    return np.hstack([vectors, np.ones((len(vectors), 1), np.float32)])
