"""PatchCore's bank: how its patches are chosen, and how the nearest of them are found."""

import logging
import time

import numpy as np
import pytest

from models.heads.patchcore import coreset, duration
from models.heads.patchcore.coreset import choices, projection, whole
from models.heads.patchcore.learned import Learned
from models.heads.patchcore.search import Search


def naive(points, count):
    """Algorithm 1 as written, in whole numbers."""
    points = points.astype(np.int64)
    chosen = [int((points**2).sum(axis=1).argmax())]
    nearest = ((points - points[chosen[0]]) ** 2).sum(axis=1)
    while len(chosen) < count and nearest.max() > 0:
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, ((points - points[chosen[-1]]) ** 2).sum(axis=1))
    return chosen


@pytest.mark.parametrize("kind", ["normal", "with equal distances"])
def test_the_coreset_is_the_naive_greedy_choice(kind, monkeypatch):
    rng = np.random.default_rng(2)
    if kind == "normal":
        points = whole(rng.standard_normal((2000, 200), np.float32) @ projection(200))
    else:
        points = rng.integers(0, 3, (2000, 5)).astype(np.float32)
    right = naive(points, 300)
    for candidates, rows, centres in ((1, 64, 8), (7, 1000, 3), (256, 333, 100), (2048, 5000, 999)):
        monkeypatch.setattr(coreset, "ROWS", rows)
        monkeypatch.setattr(coreset, "CENTRES", centres)
        assert sum(choices(points, 300, candidates), []) == right
    assert len(right) == (300 if kind == "normal" else len(np.unique(points, axis=0)))


def test_rounded_patches_are_exact_in_float32_and_close_to_the_projected_ones():
    rng = np.random.default_rng(3)
    projected = rng.standard_normal((500, 128), np.float32) * rng.uniform(1, 50, 128) + 1e3
    points = whole(projected.astype(np.float32))
    assert (points == np.rint(points)).all()
    squared = ((points[:, None].astype(np.int64) - points.astype(np.int64)) ** 2).sum(axis=2)
    assert squared.max() <= 2**24
    centred = projected - projected.mean(axis=0)
    scale = np.linalg.norm(points, axis=1).max() / np.linalg.norm(centred, axis=1).max()
    np.testing.assert_allclose(points, centred * scale, atol=3)


@pytest.mark.parametrize("spread", ["few directions", "all directions", "clusters"])
def test_the_search_finds_what_all_distances_find(spread):
    """In few directions the bounds decide; in all directions they leave many candidates."""
    rng, dims = np.random.default_rng(4), 150
    scales = {"few directions": np.geomspace(10, 0.01, dims), "clusters": 0.01}.get(spread, 1.0)
    centres = rng.standard_normal((20, dims)) if spread == "clusters" else np.zeros((20, dims))
    x = (centres[np.arange(1200) % 20] + scales * rng.standard_normal((1200, dims)) + 5).astype("f")
    bank, queries, own = x[:1000], x[1000:], rng.integers(0, 4, 200)
    pictures = rng.integers(0, 4, 1000).astype(np.int32)
    search = Search(bank, pictures)
    distances = np.linalg.norm(queries[:, None].astype(float) - bank, axis=2)
    for without in (None, own):
        if without is not None:
            distances[without[:, None] == pictures] = np.inf
        found, entries = search.nearest(queries, without)
        np.testing.assert_allclose(found, distances.min(axis=1), rtol=1e-5)
        np.testing.assert_array_equal(entries, distances.argmin(axis=1))
    between = np.linalg.norm(bank[:30, None].astype(float) - bank, axis=2)
    for entry in range(30):
        right = between[entry].argsort()[:9]
        np.testing.assert_array_equal(search.neighbours(entry, 9), right)
        own_left_out = [i for i in between[entry].argsort() if pictures[i] != 2][:9]
        np.testing.assert_array_equal(search.neighbours(entry, 9, 2), own_left_out)


def test_above_the_budget_the_bank_is_a_coreset_of_coresets(caplog):
    caplog.set_level(logging.INFO)
    rng, dims, ratio = np.random.default_rng(5), 6, 0.1
    learned = Learned(dims, ratio, budget=4 * dims * 500)
    every = rng.standard_normal((40, 100, dims), np.float32)
    for i, block in enumerate(every):
        learned.add(block, np.full(100, i))
        stored = sum(map(len, learned.patches))
        assert stored <= Learned.most(learned.seen, dims, ratio, learned.budget)
    assert "a coreset of these coresets" in caplog.text
    bank, pictures = learned.coreset()
    assert len(bank) == 400
    assert all((every[i] == entry).all(axis=1).any() for entry, i in zip(bank, pictures))  # noqa: B905
    # Nearly as good a cover as that of a coreset of all patches.
    whole_set = Learned(dims, ratio)
    for i, block in enumerate(every):
        whole_set.add(block, np.full(100, i))
    radii = [
        Search(entries, numbers).nearest(every.reshape(-1, dims))[0].max()
        for entries, numbers in ((bank, pictures), whole_set.coreset())
    ]
    assert radii[0] < 1.3 * radii[1]


@pytest.mark.parametrize("ratio", [0.1, 0.4, 0.6])
def test_the_number_of_distances_is_what_the_reductions_compute(ratio, monkeypatch):
    computed = []

    def counted(points, count, chosen=0):
        computed.append(len(points) * count)
        return choices(points, count)

    monkeypatch.setattr("models.heads.patchcore.learned.choices", counted)
    dims, budget, rng = 4, 4 * 4 * 500, np.random.default_rng(6)
    learned = Learned(dims, ratio, budget)
    for i in range(400):
        learned.add(rng.standard_normal((10, dims), np.float32), np.full(10, i))
    learned.coreset()
    estimated = Learned.distances(4000, dims, ratio, budget)
    assert sum(computed) == pytest.approx(estimated, rel=0.1)
    assert (len(computed) > 1) == (ratio < 0.5)


def test_the_stated_time_is_about_that_of_the_choice():
    points = whole(np.random.default_rng(7).standard_normal((60000, 128), np.float32))
    stated = [duration.seconds_of_distance(128) * 60000 * 5000]
    start = time.perf_counter()
    assert sum(map(len, choices(points, 5000))) == 5000
    taken = time.perf_counter() - start
    stated.append(duration.seconds_of_distance(128) * 60000 * 5000)
    # Within a factor of 1.2 with little other work; other tests may run during one of the three.
    assert min(stated) < 3 * taken and max(stated) > taken / 3


def test_a_choice_that_takes_long_is_announced(monkeypatch):
    monkeypatch.setattr(duration, "seconds_of_distance", lambda dims: 1e-10 * dims)
    assert duration.announced(4 * 163856, 384, 0.1) == (
        "the bank will have 65542 of 655424 patches (101 MB); choosing them takes about 9 min; "
        "a smaller coreset_ratio or coarser layers are faster"
    )
    assert duration.announced(163856, 384, 0.01) is None
    monkeypatch.setattr(duration, "seconds_of_distance", None)
    assert duration.announced(10**4, 384, 0.1) is None  # so short that nothing is measured
    assert [duration.spoken(s) for s in (45.4, 700, 12600)] == ["45 s", "12 min", "3.5 h"]


def test_the_approximate_search_finds_entries_that_are_nearly_as_near():
    rng = np.random.default_rng(3)
    scales = np.float32(2) ** -np.arange(100)  # like features: some directions vary much
    bank, queries = ((rng.standard_normal((n, 100)) * scales).astype(np.float32) for n in (900, 50))
    pictures = np.arange(900, dtype=np.int32) // 30
    exact, near = (Search(bank, pictures, kind).nearest(queries) for kind in (True, False))
    assert (near[0] >= exact[0] * (1 - 1e-6)).all()
    np.testing.assert_allclose(near[0], exact[0], rtol=0.05)
    found = np.linalg.norm(queries - bank[near[1]], axis=1)
    np.testing.assert_allclose(near[0], found, rtol=1e-5)
    without = np.zeros(50, np.int64)
    assert (pictures[Search(bank, pictures, False).nearest(queries, without)[1]] != 0).all()
