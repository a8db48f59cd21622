"""How long each part of a run takes by itself: `python -m benchmarks.parts`.

Medians of several runs after a warm-up, in milliseconds a picture unless said otherwise; what is
compared takes turns. Pictures are 224 × 224, d = 100, layers 1–3 of ResNet-18.
"""

import statistics
import time
from collections.abc import Callable

import numpy as np
import paddle

from evaluation.metrics import aupro, rank
from models import build_detector
from models.anomaly_map import AnomalyMap
from models.gaussian import PatchGaussian

P, D, SIDE = 3136, 100, 224


def median_ms(works: dict[str, Callable], pictures: int, runs: int = 7) -> dict[str, float]:
    """Milliseconds a picture of each work, the works taking turns."""
    taken = {name: [] for name in works}
    for run in range(runs + 1):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            if run:  # the first is the warm-up
                taken[name].append((time.perf_counter() - start) / pictures * 1000)
    return {name: statistics.median(values) for name, values in taken.items()}


def network() -> None:
    detector = build_detector(device="cpu")
    rng = np.random.default_rng(0)
    for batch in (1, 8, 32):
        images = rng.standard_normal((batch, 3, SIDE, SIDE), dtype=np.float32)
        tensor = paddle.to_tensor(images)

        def dygraph(tensor=tensor):
            with paddle.no_grad():
                detector.network(tensor)

        works = {"static": lambda images=images: detector._extract(images), "dygraph": dygraph}
        taken = median_ms(works, batch, runs=5)
        ratio = taken["dygraph"] / taken["static"]
        print(
            f"network, batch {batch}: static graph {taken['static']:.1f}, "
            f"dygraph {taken['dygraph']:.1f}, ratio {ratio:.1f}"
        )


def gaussian() -> None:
    rng = np.random.default_rng(0)
    patches = PatchGaussian(P, D)
    embedding = rng.standard_normal((32, P, D), dtype=np.float32)
    taken = median_ms({"update": lambda: patches.update(embedding)}, 32)
    print(f"statistics, batch 32: {taken['update']:.2f}")
    start = time.perf_counter()
    patches.finalize()
    print(f"inversion, once: {(time.perf_counter() - start) * 1000:.0f} ms")
    to_map = AnomalyMap((56, 56), (SIDE, SIDE))
    for batch in (1, 8, 32):
        part = embedding[:batch]
        works = {
            "distance": lambda part=part: patches.mahalanobis(part),
            "map": lambda batch=batch: to_map(embedding[:batch, :, 0].reshape(batch, 56, 56)),
        }
        taken = median_ms(works, batch)
        print(f"scoring, batch {batch}: distance {taken['distance']:.2f}, map {taken['map']:.2f}")


def metrics() -> None:
    rng = np.random.default_rng(0)
    masks = np.zeros((160, SIDE, SIDE), bool)
    masks[:120, 60:100, 80:110] = True
    maps = rng.standard_normal(masks.shape, dtype=np.float32) + masks
    rank(masks[:, 60, 80], maps[:, 60, 80])  # imports scikit-learn
    start = time.perf_counter()
    ranking = rank(masks.ravel(), maps.ravel())
    figures = [ranking.auroc, ranking.average_precision, ranking.f1_max]
    middle = time.perf_counter()
    aupro(masks, maps, ranking)
    end = time.perf_counter()
    print(
        f"metrics of {maps.size / 1e6:.0f} million pixels: {len(figures)} from the ranking "
        f"{middle - start:.1f} s, AUPRO {end - middle:.1f} s more"
    )


if __name__ == "__main__":
    network()
    gaussian()
    metrics()
