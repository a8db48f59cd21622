"""Measures each part of a run by itself: `python -m benchmarks.parts`.

Medians of several runs after a warm-up, in milliseconds per picture unless stated otherwise;
compared parts run alternately. The floor of the distance is to read all factors once.
Pictures are 224 × 224; first the default backbone, then ResNet-18.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import paddle
from paddle import inference

from evaluation.metrics import aupro, rank
from models.anomaly_map import AnomalyMap
from models.device import cpu_threads
from models.engine import Engine
from models.factory import build_detector
from models.predictor import AT_ONCE
from models.static_graph import save_graph

SIDE = 224
BATCHES = (1, 8, 32)


def median_ms(works: dict[str, Callable], pictures: int, runs: int = 7) -> dict[str, float]:
    """Milliseconds per picture of each of `works`, which run alternately."""
    taken = {name: [] for name in works}
    for run in range(runs + 1):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            if run:  # the first is the warm-up
                taken[name].append((time.perf_counter() - start) / pictures * 1000)
    return {name: statistics.median(values) for name, values in taken.items()}


def bare(detector):
    """A loop that only calls Paddle Inference, with the same graph as `detector`."""
    with tempfile.TemporaryDirectory() as folder:
        layer = detector.features.layer(detector.features.network)
        model, params = save_graph(layer, detector.size, Path(folder) / "bare")
        config = inference.Config(str(model), str(params))
        config.disable_gpu()
        config.disable_glog_info()
        config.enable_mkldnn()
        config.set_cpu_math_library_num_threads(cpu_threads())
        predictor = inference.create_predictor(config)
    source = predictor.get_input_handle(predictor.get_input_names()[0])
    outputs = [predictor.get_output_handle(name) for name in predictor.get_output_names()]

    def run(images):
        for start in range(0, len(images), AT_ONCE):
            source.copy_from_cpu(images[start : start + AT_ONCE])
            predictor.run()
            for output in outputs:
                output.copy_to_cpu()

    return run


def network(detector, loop) -> None:
    rng = np.random.default_rng(0)
    for batch in BATCHES:
        images = rng.standard_normal((batch, 3, SIDE, SIDE), dtype=np.float32)
        tensor = paddle.to_tensor(images)

        def dygraph(tensor=tensor):
            with paddle.no_grad():
                detector.features.network(tensor)

        works = {
            "extractor": lambda images=images: detector.features(images),
            "bare loop": lambda images=images: loop(images),
        }
        taken = median_ms(works, batch, runs=32 // batch + 9)
        taken |= median_ms({"dygraph": dygraph}, batch, runs=3)
        ratio = taken["extractor"] / taken["bare loop"]
        times = ", ".join(f"{name} {ms:.1f}" for name, ms in taken.items())
        print(f"network, batch {batch}: {times}; extractor : bare loop {ratio:.3f}")


def scoring(detector) -> None:
    """Of random maps with the shapes that the detector's features have."""
    head, stages = detector.head, detector.features.stages
    rng = np.random.default_rng(0)
    maps = [rng.standard_normal((32, c, *grid), dtype=np.float32) for c, grid in stages]
    taken = median_ms({"update": lambda: head.update(maps)}, 32)
    print(f"statistics, batch 32: {taken['update']:.2f}")
    start = time.perf_counter()
    head.finish()
    print(f"inversion, once: {(time.perf_counter() - start) * 1000:.0f} ms")
    print(f"arrays: {sum(array.nbytes for array in head.arrays().values()) / 1e6:.1f} MB")
    factors = [level.factor.ravel() for one in head.gaussians for level in one.levels]
    print(f"factors in memory: {sum(factor.nbytes for factor in factors) / 1e6:.1f} MB")
    to_map = AnomalyMap(stages[0][1], (SIDE, SIDE))
    for batch in BATCHES:
        part = [stage[:batch] for stage in maps]
        patches = head.score(part)[1]
        works = {
            "distance": lambda part=part: head.score(part),
            "floor": lambda: [factor @ factor for factor in factors],
            "map": lambda patches=patches: to_map(patches),
        }
        taken = median_ms(works, batch, runs=15)
        times = ", ".join(f"{name} {ms:.2f}" for name, ms in taken.items())
        print(f"scoring, batch {batch}: {times}")


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


def all_parts(**settings) -> None:
    """Of a detector with these `settings` of models.factory.plan."""
    engine = Engine(device="cpu")
    detector = build_detector(engine=engine, **settings)
    print(f"{detector.record.features.backbone}:")
    network(detector, bare(build_detector(engine=engine, **settings)))
    scoring(detector)


if __name__ == "__main__":
    all_parts()
    all_parts(pretrained_backbone="embedded")
    metrics()
