"""Exported files: a graph, its parameters, and the distribution that belongs to them."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import UsageError, WorkError
from common.files import sha256
from common.timing import phase
from models import checkpoint, factory, runtime
from models.checkpoint import DISTRIBUTION
from models.detector import Detector, Scores
from models.engine import Engine
from models.features import GraphFeatures
from models.record import ExportedGraph, Record

GRAPHS = (".json", ".pdmodel", ".onnx")  # as Paddle 3, Paddle 2 and paddle2onnx write them

# How far the probe picture's embedding and map may be off, of their norms: coarse arithmetic
# (bfloat16, a float16 distribution) stays within it.
PROBE_TOLERANCE = 0.05
PROBE_POINTS = 8  # of the map, along each side


@dataclass(frozen=True)
class ExportedFiles:
    """Paths of what was exported; `params` is None for ONNX, whose graph holds them."""

    model: Path
    params: Path | None
    distribution: Path

    @classmethod
    def beside(
        cls, model: Path, params: Path | None = None, distribution: Path | None = None
    ) -> "ExportedFiles":
        """What is not given lies beside `model` under its usual name."""
        params = None if model.suffix == ".onnx" else params or model.with_suffix(".pdiparams")
        return cls(model, params, distribution or model.parent / "distribution")

    @classmethod
    def within(cls, folder: Path) -> "ExportedFiles":
        """Those of `folder`; UsageError where it has no graph."""
        candidates = [folder / f"model{suffix}" for suffix in GRAPHS]
        model = next((path for path in candidates if path.exists()), None)
        if model is None:
            raise UsageError(
                f"{folder}: no model.json, model.pdmodel or model.onnx in it; export_model.py "
                "writes them"
            )
        return cls.beside(model)


def open_exported(
    files: ExportedFiles, engine: Engine | None = None, batch_size: int = 1
) -> Detector:
    """The detector of exported `files`, ready to score `batch_size` pictures at a time.

    Raises UsageError where the machine lacks what `engine` asks for, WorkError where a file is
    damaged or the files do not belong together.
    """
    path = files.distribution
    factory.check_record_memory(checkpoint.load_record(path, DISTRIBUTION), path, batch_size)
    arrays, record = checkpoint.load(path, DISTRIBUTION)
    if record.exported is None:
        raise checkpoint.damaged(path, "exported is missing", DISTRIBUTION)
    graph = _verified(files, record)
    runtime.prepare()
    engine = (engine or Engine()).resolve()
    _require_same_precision(files.model, graph, engine)
    with phase("start of the network"):
        predictor = _open(files, engine, record.size)
        outputs = _answers(files, predictor, graph, record)
    stages = None if graph.fused else list(record.features.stages)
    with checkpoint.reading(path, DISTRIBUTION):
        head = None if graph.fused else factory.load_head(arrays, record)
    detector = Detector(GraphFeatures(predictor, stages), head, record, str(path))
    _check_probe(files, detector, outputs)
    return detector


def probe(size: tuple[int, int]) -> np.ndarray:
    """A picture that shows whether a graph computes what it should: [1,3,H,W].

    Waves of another length and direction in each channel, so that many features respond.
    """
    rows, columns = np.mgrid[: size[0], : size[1]].astype(np.float32)
    waves = [np.sin(rows / a + columns / b) for a, b in ((3, 7), (11, 5), (2, 19))]
    return np.stack(waves)[None].astype(np.float32)


def probed_map(scores: Scores) -> np.ndarray:
    """Some points of the probe picture's map."""
    side = scores.map.shape[1:]
    rows, columns = (np.linspace(0, length - 1, PROBE_POINTS).astype(int) for length in side)
    return scores.map[0][rows[:, None], columns].ravel()


def probed_embedding(embedding: np.ndarray) -> np.ndarray:
    """The mean of each channel of the probe picture's embedding [1,d,h,w]."""
    return embedding[0].mean(axis=(1, 2))


def _verified(files: ExportedFiles, record: Record) -> ExportedGraph:
    """Which of the record's graphs the files are, by their digests.

    Paddle ends the process on some damaged files and reads others without a word.
    """
    model = sha256(files.model)
    graph = next((graph for graph in record.exported.graphs if graph.model == model), None)
    if graph is None:
        raise _unfit(files, "the graph is damaged, or of another export")
    if files.params is not None and sha256(files.params) != graph.params:
        raise WorkError(
            f"{files.params}: damaged, or of another graph than {files.model}; "
            "export them again with export_model.py"
        )
    return graph


def _require_same_precision(model: Path, graph: ExportedGraph, engine: Engine) -> None:
    """Paddle would run either kind of graph in float32 without a message."""
    if graph.int8 != (engine.precision == "int8"):
        what = "an int8 graph, which needs precision int8" if graph.int8 else "no int8 graph"
        raise UsageError(f"{engine.precision}: {model} is {what}", "precision")


def _open(files: ExportedFiles, engine: Engine, size: tuple[int, int]):
    if files.params is None:
        from models.onnx_predictor import open_onnx

        return open_onnx(files.model, engine, size)
    from models.predictor import open_predictor

    with _utf8(files) as (model, params):
        return open_predictor(model, params, engine, size)


@contextmanager
def _utf8(files: ExportedFiles) -> Iterator[tuple[Path, Path]]:
    """Paths of the graph that Paddle can take: it needs UTF-8, so others are copied."""
    from models.static_graph import is_utf8

    if is_utf8(files.model) and is_utf8(files.params):
        yield files.model, files.params
        return
    with tempfile.TemporaryDirectory() as folder:
        copies = Path(folder) / f"model{files.model.suffix}", Path(folder) / "model.pdiparams"
        for source, copy in zip((files.model, files.params), copies, strict=True):
            shutil.copyfile(source, copy)
        yield copies


def _answers(files: ExportedFiles, predictor, graph: ExportedGraph, record: Record) -> list:
    """The graph's outputs for the probe picture, of the right shapes."""
    size = record.size
    try:
        outputs = predictor(probe(size))
    except (RuntimeError, ValueError, OSError, SystemError) as error:
        raise _unfit(files, f"pictures of {size[0]}×{size[1]} fail: {error}") from error
    h, w = record.features.stages[0][1]
    expected = [(1, *size), (1,)] if graph.fused else [(1, record.features.dims, h, w)]
    if (shapes := [output.shape for output in outputs]) != expected:
        raise _unfit(files, f"the graph gives {shapes}, not {expected}")
    return outputs


def _check_probe(files: ExportedFiles, detector: Detector, outputs: list[np.ndarray]) -> None:
    exported, found = detector.record.exported, {}
    if detector.head is not None:
        found["embedding"] = probed_embedding(outputs[0]), exported.probe_embedding
    found["map"] = probed_map(detector.judge(detector.features.maps(outputs))), exported.probe_map
    for name, (values, expected) in found.items():
        if len(values) != len(expected):
            raise _unfit(files, f"the probe picture's {name} has {len(values)} values")
        off = np.linalg.norm(values - np.array(expected)) / np.linalg.norm(expected)
        if not off <= PROBE_TOLERANCE:
            raise _unfit(files, f"the probe picture's {name} is off by {100 * off:.0f} %")


def _unfit(files: ExportedFiles, reason: str) -> WorkError:
    return WorkError(
        f"{files.distribution} does not fit the graph {files.model}: {reason}; "
        "export both in one run of export_model.py"
    )
