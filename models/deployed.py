"""Opens exported files: a graph, its parameters, and their distribution."""

import logging
from pathlib import Path

import numpy as np

from common.errors import UsageError, WorkError
from common.files import sha256_of
from common.logs import silent_stdout
from common.timing import phase
from models import checkpoint, loading, runtime
from models.checkpoint import DISTRIBUTION
from models.detector import Detector, Scores
from models.engine import Engine, has_vnni
from models.features import GraphFeatures
from models.open_export import ExportedFiles, OpenExport
from models.record import ExportedGraph, Record
from models.roi import Roi

logger = logging.getLogger(__name__)

# Largest relative error (by norm) of the probe picture's embedding, map and image score. Errors of
# bfloat16 and of a float16 distribution are smaller.
PROBE_TOLERANCE = 0.05
PROBE_POINTS = 8  # points of the map along each side


def open_exported(
    files: ExportedFiles | OpenExport, engine: Engine | None = None, batch_size: int = 1
) -> Detector:
    """The detector of exported `files`, ready to score `batch_size` pictures at a time.

    It stays usable if another export takes the place of the files, now or later.

    Raises UsageError if this machine does not support `engine`, WorkError if a file is damaged or
    the files do not belong together.
    """
    if isinstance(files, ExportedFiles):
        with OpenExport(files) as opened:
            return open_exported(opened, engine, batch_size)
    return _opened(files, engine, batch_size)


def _opened(opened: OpenExport, engine: Engine | None, batch_size: int) -> Detector:
    files, record = opened.files, opened.record
    path = files.distribution

    def most(record: Record) -> int:
        loading.check_record_memory(record, path, batch_size)
        return loading.head_bytes(record)

    arrays = opened.distribution.arrays(most)
    if record.exported is None:
        raise checkpoint.damaged(path, "exported is missing", DISTRIBUTION)
    graph = _verified(opened)
    runtime.prepare()
    engine = (engine or Engine()).resolve(graph.int8)
    _require_same_precision(files.model, graph, engine)
    _warn_of_overflow(files.model, graph)
    with checkpoint.reading(path, DISTRIBUTION):
        roi = loading.load_roi(arrays, record)
    # In its first run a graph may print names of checks, which are no results.
    with phase("start of the network"), silent_stdout():
        predictor = _predictor(opened, engine)
        outputs = _answers(files, predictor, graph, record, roi)
    stages = None if graph.fused else list(record.features.stages)
    with checkpoint.reading(path, DISTRIBUTION):
        head = None if graph.fused else loading.load_head(arrays, record)
    features, device = GraphFeatures(predictor, stages), engine.device
    detector = Detector(features, head, record, str(path), roi, device)
    _check_probe(files, detector, outputs)
    return detector


def probe(size: tuple[int, int], roi: Roi | None = None) -> np.ndarray:
    """A test picture for checking the output of a graph: [1,3,H,W], 0 outside `roi`.

    Each channel has waves of another length and direction, so that many features are active.
    """
    rows, columns = np.mgrid[: size[0], : size[1]].astype(np.float32)
    waves = [np.sin(rows / a + columns / b) for a, b in ((3, 7), (11, 5), (2, 19))]
    images = np.stack(waves)[None].astype(np.float32)
    return images if roi is None else roi.visible(images)


def probed_map(scores: Scores) -> np.ndarray:
    """Some points of the probe picture's map."""
    side = scores.map.shape[1:]
    rows, columns = (np.linspace(0, length - 1, PROBE_POINTS).astype(int) for length in side)
    return scores.map[0][rows[:, None], columns].ravel()


def probed_embedding(embedding: np.ndarray) -> np.ndarray:
    """The mean of each channel of the probe picture's embedding [1,d,h,w]."""
    return embedding[0].mean(axis=(1, 2))


def _verified(opened: OpenExport) -> ExportedGraph:
    """The entry in the record for these files, found by their SHA-256.

    Paddle ends the process on some damaged files and reads others without an error.
    """
    files, model = opened.files, sha256_of(opened.model)
    graphs = opened.record.exported.graphs
    graph = next((graph for graph in graphs if graph.model == model), None)
    if graph is None:
        raise _unfit(files, "the graph is damaged, or from another export")
    if opened.params is not None and sha256_of(opened.params) != graph.params:
        raise WorkError(
            f"{files.params}: these parameters are damaged, or from another export than "
            f"{files.model}; export both again with export_model.py"
        )
    return graph


def _require_same_precision(model: Path, graph: ExportedGraph, engine: Engine) -> None:
    """If precision and graph did not match, Paddle would run in float32 without a message."""
    if graph.int8 != (engine.precision == "int8"):
        what = "an int8 graph; use int8" if graph.int8 else "not an int8 graph; use fp32"
        raise UsageError(f"{engine.precision}: {model} is {what}", "precision")


def _warn_of_overflow(model: Path, graph: ExportedGraph) -> None:
    if graph.vnni and not has_vnni():
        logger.warning(
            "%s was quantised for processors with VNNI. This processor has none: its sums of 8-bit "
            "products can overflow, so scores can be wrong; quantise again on this machine",
            model,
        )


def _predictor(opened: OpenExport, engine: Engine):
    with opened.paths() as (model, params):
        if params is None:
            from models.onnx_predictor import open_onnx

            return open_onnx(model, engine, opened.record.size)
        from models.predictor import open_predictor

        return open_predictor(model, params, engine, opened.record.size)


def _answers(
    files: ExportedFiles, predictor, graph: ExportedGraph, record: Record, roi: Roi | None
) -> list:
    """The graph's outputs for the probe picture; WorkError if their shapes are wrong."""
    size = record.size
    try:
        outputs = predictor(probe(size, roi))
    except (RuntimeError, ValueError, OSError, SystemError) as error:
        raise _unfit(files, f"it cannot run on pictures of {size[0]}×{size[1]}: {error}") from error
    h, w = record.features.stages[0][1]
    expected = [(1, *size), (1,)] if graph.fused else [(1, record.features.dims, h, w)]
    if (shapes := [output.shape for output in outputs]) != expected:
        raise _unfit(files, f"the graph has outputs of shapes {shapes}, expected {expected}")
    return outputs


def _check_probe(files: ExportedFiles, detector: Detector, outputs: list[np.ndarray]) -> None:
    exported, found = detector.record.exported, {}
    if detector.head is not None:
        found["embedding"] = probed_embedding(outputs[0]), exported.probe_embedding
    scores = detector.judge(detector.features.maps(outputs))
    found["map"] = probed_map(scores), exported.probe_map
    found["image score"] = scores.image, exported.probe_image
    for name, (values, expected) in found.items():
        if len(values) != len(expected):
            raise _unfit(
                files,
                f"the {name} of the probe picture has {len(values)} values, not {len(expected)}",
            )
        off = np.linalg.norm(values - np.array(expected)) / np.linalg.norm(expected)
        if not off <= PROBE_TOLERANCE:
            raise _unfit(files, f"the {name} of the probe picture is wrong by {100 * off:.0f} %")


def _unfit(files: ExportedFiles, reason: str) -> WorkError:
    return WorkError(
        f"{files.distribution} does not fit the graph {files.model}: {reason}; "
        "export both together with export_model.py"
    )
