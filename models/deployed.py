"""A detector made of exported files: a graph, and the distribution that belongs to it."""

from pathlib import Path

import numpy as np

from common.errors import WorkError
from common.timing import phase
from models import checkpoint, distribution
from models.checkpoint import DISTRIBUTION
from models.embedding import split
from models.extractor import Engine, Graph, open_graph
from models.scoring import Scorer, Scores, check_images, finite, score_scale

# How far the probe picture's embedding and map may be off, of their norms: coarse arithmetic
# (bfloat16, a float16 distribution) stays within, graphs of other channels or weights are beyond.
PROBE_TOLERANCE = 0.05
PROBE_POINTS = 8  # of the map, along each side


class Deployed:
    """The same verb as a trained detector's: `score`. `record` is the model's.

    `graph` gives embeddings [B,d,h,w], or the anomaly maps [B,H,W] and scores [B] where the
    distribution is `fused` into the graph.
    """

    def __init__(self, graph: Graph, arrays: dict[str, np.ndarray], record: dict, fused: bool):
        self.record, self.graph, self.fused = record, graph, fused
        self.size = tuple(record["image_size"])
        self.stages = [(channels, tuple(grid)) for channels, grid in record["stages"]]
        if not fused:
            gaussian = distribution.unpack(arrays, self.stages, record["n"])
            self._score = Scorer(gaussian, self.size, record["sigma"])

    def score(self, images: np.ndarray) -> Scores:
        """Scores of pictures float32 [B,3,H,W]; each depends on its picture alone."""
        check_images(images, self.size)
        with phase("network"):
            outputs = self.graph(images)
        with phase("scoring"):
            return self.judge(outputs)

    def judge(self, outputs: list[np.ndarray]) -> Scores:
        """Scores from what the graph gave."""
        if self.fused:
            anomaly_maps, image = outputs
            return finite(Scores(image, anomaly_maps))
        return self._score(split(outputs[0], self.stages))

    @property
    def score_scale(self) -> float:
        """√d: the root-mean-square distance of training patches from their own Gaussian."""
        return score_scale(sum(channels for channels, _ in self.stages))


def open_deployed(
    model: str | Path, params: str | Path | None, path: str | Path, engine: Engine
) -> Deployed:
    """The graph in `model` and `params` (None for ONNX) with the distribution in `path`.

    Raises WorkError where either is damaged or the two do not belong together.
    """
    model, params, path = Path(model), params and Path(params), Path(path)
    arrays, record = checkpoint.load(path, DISTRIBUTION)
    with checkpoint.reading(path, DISTRIBUTION):
        size, (_, (h, w)) = tuple(record["image_size"]), record["stages"][0]
        dims = sum(channels for channels, _ in record["stages"])
        expected = {key: np.array(record["probe"][key], float) for key in ("embedding", "map")}
        _require_whole(model, params, record)
    with phase("start of the network"):
        graph = open_graph(model, params, engine, size)
        try:
            outputs = graph(probe(size))
        except (RuntimeError, ValueError, OSError, SystemError) as error:
            raise _unfit(path, model, f"pictures of {size[0]}×{size[1]} fail: {error}") from error
    shapes = [output.shape for output in outputs]
    fused = shapes == [(1, *size), (1,)]
    if not fused and shapes != [(1, dims, h, w)]:
        raise _unfit(path, model, f"the graph gives {shapes}, not {[(1, dims, h, w)]}")
    with checkpoint.reading(path, DISTRIBUTION):
        detector = Deployed(graph, arrays, record, fused)
    found = fingerprint(None if fused else outputs[0], detector.judge(outputs))
    for key, values in found.items():
        off = np.linalg.norm(values - expected[key]) / np.linalg.norm(expected[key])
        if not off <= PROBE_TOLERANCE:
            raise _unfit(path, model, f"the probe picture's {key} is off by {100 * off:.0f} %")
    return detector


def fingerprint(embedding: np.ndarray | None, scores: Scores) -> dict[str, np.ndarray]:
    """What the probe picture leaves: the mean of each channel, some points of the map."""
    side = scores.map.shape[1:]
    rows, columns = (np.linspace(0, length - 1, PROBE_POINTS).astype(int) for length in side)
    found = {"map": scores.map[0][rows[:, None], columns].ravel()}
    if embedding is not None:
        found["embedding"] = embedding[0].mean(axis=(1, 2))
    return found


def probe(size: tuple[int, int]) -> np.ndarray:
    """A picture that shows whether a graph and a distribution belong together: [1,3,H,W].

    Waves of another length and direction in each channel, so that many features answer.
    """
    rows, columns = np.mgrid[: size[0], : size[1]].astype(np.float32)
    waves = [np.sin(rows / a + columns / b) for a, b in ((3, 7), (11, 5), (2, 19))]
    return np.stack(waves)[None].astype(np.float32)


def _require_whole(model: Path, params: Path | None, record: dict) -> None:
    """Paddle itself may not notice that the end of its parameters is missing."""
    expected = record["parameter_bytes"].get(model.name)
    if expected is None:
        return  # the graph of another Paddle, whose parameters may be smaller
    if (found := params.stat().st_size) < expected:
        raise WorkError(
            f"{params}: truncated, or of another graph ({found} of {expected} bytes); "
            "export it again with export_model.py"
        )


def _unfit(path: Path, model: Path, reason: str) -> WorkError:
    return WorkError(
        f"{path} does not fit the graph {model}: {reason}; "
        "export both in one run of export_model.py"
    )
