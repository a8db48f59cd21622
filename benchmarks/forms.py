"""Compares exact forms of the Mahalanobis distance: `python -m benchmarks.forms`.

They run alternately on one core, on random statistics of the usual shape: ResNet-18, 224 × 224,
d = 100. The time to assemble the embedding, which only the plain forms need, is not counted.
"""

import os

import numpy as np

from benchmarks.parts import GRIDS, median_ms
from models.features import ChannelSelection
from models.grids import covering
from models.heads.padim.gaussian import PatchGaussian

BLOCK = 25  # of the triangle: 10 of 16 blocks are kept
STEP = 98  # positions at a time, so that the float32 copies stay in the cache


def fitted(stages, pictures: int = 40) -> PatchGaussian:
    rng = np.random.default_rng(0)
    gaussian = PatchGaussian(stages)
    gaussian.update(drawn(rng, stages, pictures))
    gaussian.finalize()
    return gaussian


def drawn(rng, stages, pictures: int) -> list[np.ndarray]:
    shapes = ((pictures, c, *grid) for c, grid in stages)
    return [rng.standard_normal(shape, dtype=np.float32) for shape in shapes]


def plain(gaussian: PatchGaussian) -> tuple[np.ndarray, np.ndarray]:
    """Mean [P,d] and precision [P,d,d] = WᵀW of a factored Gaussian."""
    mean = np.zeros((1, 0), np.float32)
    rows, before = np.zeros((1, 0, 0), np.float32), (1, 1)
    for level in gaussian.levels:
        parent = covering(level.grid, before)
        c, above = level.mean.shape[1], rows[parent]
        size = above.shape[1]
        rows = np.zeros((len(parent), size + c, size + c), np.float32)
        rows[:, :size, :size] = above
        rows[:, size:, :size] = level.factor[:, :, :size] @ above
        rows[:, size:, size:] = level.factor[:, :, size:]
        mean, before = np.concatenate([mean[parent], level.mean], axis=1), level.grid
    return mean, rows.transpose(0, 2, 1) @ rows


def embedded(maps, stages) -> np.ndarray:
    """[P,d,B], coarsest stage first."""
    out, before = np.zeros((1, 0, len(maps[0])), np.float32), (1, 1)
    for stage, (c, grid) in zip(reversed(maps), reversed(stages), strict=True):
        own = stage.reshape(len(stage), c, -1).transpose(2, 1, 0)
        out, before = np.concatenate([out[covering(grid, before)], own], axis=1), grid
    return out


def by_matrix(x, precision) -> np.ndarray:
    """Products with whole matrices; float16 matrices are converted a few at a time."""
    out = np.empty((len(x), x.shape[2]), np.float32)
    for i in range(0, len(x), STEP):
        part = x[i : i + STEP]
        y = precision[i : i + STEP].astype(np.float32, copy=False) @ part
        out[i : i + STEP] = np.einsum("pdb,pdb->pb", part, y)
    return np.sqrt(out)


def triangle(precision) -> list[tuple[int, int, np.ndarray]]:
    """The blocks on and below the diagonal; those below are doubled, for the ones above."""
    d = precision.shape[1]
    edges = [slice(i, i + BLOCK) for i in range(0, d, BLOCK)]
    return [
        (i, j, np.ascontiguousarray(precision[:, edges[i], edges[j]]) * np.float32(1 + (i > j)))
        for i in range(len(edges))
        for j in range(i + 1)
    ]


def by_triangle(x, blocks) -> np.ndarray:
    out = np.zeros((len(x), x.shape[2]), np.float32)
    for i, j, block in blocks:
        y = block @ x[:, j * BLOCK : (j + 1) * BLOCK]
        out += np.einsum("pdb,pdb->pb", x[:, i * BLOCK : (i + 1) * BLOCK], y)
    return np.sqrt(out)


def main() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    stages = ChannelSelection.draw((64, 128, 256), 100, 7).stages(GRIDS)
    gaussian = fitted(stages)
    mean, precision = plain(gaussian)
    half, blocks = precision.astype(np.float16), triangle(precision)
    sizes = {
        "matrices": precision.nbytes,
        "one triangle, in blocks": sum(block.nbytes for *_, block in blocks),
        "matrices in float16": half.nbytes,
        "factored": sum(level.factor.nbytes for level in gaussian.levels),
    }
    print({name: f"{size / 1e6:.0f} MB" for name, size in sizes.items()})
    for batch in (1, 8, 32):
        maps = drawn(np.random.default_rng(batch), stages, batch)
        x = embedded(maps, stages) - mean[:, :, None]
        works = {
            "matrices": lambda x=x: by_matrix(x, precision),
            "one triangle, in blocks": lambda x=x: by_triangle(x, blocks),
            "matrices in float16": lambda x=x: by_matrix(x, half),
            "factored": lambda maps=maps: gaussian.mahalanobis(maps).reshape(len(maps[0]), -1).T,
        }
        expected = works["matrices"]()
        for name, work in works.items():
            off = np.abs(work() / expected - 1).max()
            assert off < (0.02 if "float16" in name else 1e-3), (name, off)
        taken = median_ms(works, batch, runs=9 if batch < 32 else 5)
        print(f"batch {batch}:", {name: f"{ms:.2f} ms" for name, ms in taken.items()})


if __name__ == "__main__":
    main()
