"""Writes a trained detector as static graphs and a distribution."""

import importlib
import inspect
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import paddle

from common.errors import UsageError, WorkError
from common.files import sha256, whole_files
from common.logs import stdout_to_stderr
from models import checkpoint
from models.backbones import network
from models.checkpoint import DISTRIBUTION
from models.deployed import GRAPHS, probe, probed_embedding, probed_map
from models.detector import Detector
from models.engine import Engine
from models.factory import blank_network
from models.features import split
from models.layers import Embedding, Fused
from models.onnx_predictor import open_onnx
from models.predictor import open_predictor
from models.record import Exported, ExportedGraph
from models.static_graph import paddle_folder, save_graph

logger = logging.getLogger(__name__)

TOLERANCE = 1e-3  # of an output's range: what other kernels may change
INT8_TOLERANCE = 0.2  # of the embeddings' norm; 0.05 or less is usual
OURS = {f"{graph}{suffix}" for graph in ("model", "fused") for suffix in (*GRAPHS, ".pdiparams")}
OPSET = 13  # of ONNX: the oldest that has every operator of these graphs
CPU = Engine(device="cpu")


def export(
    detector: Detector,
    folder: Path,
    fused: bool = False,
    onnx: bool = False,
    dtype: str = "float32",
    sample: np.ndarray | None = None,
) -> list[Path]:
    """Write the graphs and the `distribution` of `detector` to `folder`; the files' paths.

    Every graph is run once beside the layers it was made from before it is moved to `folder`;
    WorkError where they disagree. All files are renamed to their names together. `sample`: good
    pictures, float32 [B,3,H,W] normalised; with them the graph is quantised to int8.
    """
    paddle.set_device("cpu")
    if onnx:
        importlib.import_module("paddle2onnx")  # where it is missing, fail before the work
    layers = {"model": _embedding(detector)} | ({"fused": _fused(detector)} if fused else {})
    size, graphs = detector.size, []
    with whole_files(folder) as temporary:
        with paddle_folder(temporary) as place:
            for name, layer in layers.items():
                expected = _outputs(layer, probe(size))
                pair = save_graph(layer, size, place / name)
                _check(pair[0].name, expected, open_predictor(*pair, CPU, size)(probe(size)))
                if sample is not None:
                    # Another processor must answer the probe as this graph does, not as float32.
                    expected = _to_int8(*pair, size, sample)
                if name == "model":
                    embedding = expected[0]
                if onnx:
                    pair = _to_onnx(*pair, size, expected), None
                digests = [path and sha256(path) for path in pair]
                graphs.append(ExportedGraph(*digests, name == "fused", sample is not None))
        scores = detector.judge(split(embedding, detector.features.stages))
        answers = (probed_embedding(embedding), probed_map(scores))
        exported = Exported(tuple(graphs), *(tuple(map(float, values)) for values in answers))
        record = replace(detector.record, exported=exported)
        path = temporary / "distribution"
        checkpoint.save(path, detector.head.arrays(dtype), record, DISTRIBUTION)
        written = {path.name for path in temporary.iterdir()}
    for name in OURS - written:
        # Files of an earlier export would not fit the distribution beside them any more.
        (folder / name).unlink(missing_ok=True)
    return [folder / name for name in sorted(written)]


def _features(detector: Detector) -> paddle.nn.Layer:
    """The features' layer with a network of its own: Paddle 2.6 converts a layer once only."""
    net = blank_network(detector.record)
    network.set_weights(net, network.get_weights(detector.features.network))
    return detector.features.layer(net)


def _embedding(detector: Detector) -> Embedding:
    return Embedding(_features(detector), [grid for _, grid in detector.features.stages])


def _fused(detector: Detector) -> Fused:
    head = detector.head.layer()
    if head is None:
        raise UsageError(f"{detector.record.method} has no fused graph", "fused")
    return Fused(_features(detector), head, detector.to_map)


def _outputs(layer, images: np.ndarray) -> list[np.ndarray]:
    with paddle.no_grad():
        outputs = layer(paddle.to_tensor(images))
    return [output.numpy() for output in (outputs if isinstance(outputs, tuple) else (outputs,))]


def _check(name: str, expected: list[np.ndarray], found: list[np.ndarray]) -> None:
    """WorkError where a graph does not give what was expected."""
    for ours, theirs in zip(expected, found, strict=True):
        if ours.shape != theirs.shape:
            raise WorkError(f"{name}: the exported graph gives {theirs.shape}, not {ours.shape}")
        off = float(np.abs(ours - theirs).max() / max(np.ptp(ours), np.abs(ours).max()))
        if not off < TOLERANCE:
            raise WorkError(f"{name}: the exported graph is off by {off:.2g} of its range")
        logger.info("%s: checked, off by %.1g of its range", name, off)


def _to_int8(model: Path, params: Path, size: tuple[int, int], images: np.ndarray) -> list:
    """Quantise in place; the probe's outputs. WorkError where those of `images` change too much."""
    from models.quantization import quantize

    engine = replace(CPU, precision="int8").resolve()
    before = open_predictor(model, params, CPU, size)(images[:8])[0]
    quantize(model, params, images)
    predictor = open_predictor(model, params, engine, size)
    off = float(np.linalg.norm(predictor(images[:8])[0] - before) / np.linalg.norm(before))
    if not off < INT8_TOLERANCE:
        raise WorkError(f"{model.name}: int8 changes the embeddings by {100 * off:.0f} %")
    logger.info("%s: int8, which changes the embeddings by %.1f %%", model.name, 100 * off)
    return predictor(probe(size))


def _to_onnx(model: Path, params: Path, size: tuple[int, int], expected: list) -> Path:
    """The same graph as `.onnx`, checked, in place of Paddle's files."""
    paddle2onnx = importlib.import_module("paddle2onnx")
    target = model.with_suffix(".onnx")
    options = {"opset_version": OPSET}
    if "optimize_tool" in inspect.signature(paddle2onnx.export).parameters:
        # Its optimisers would install packages; ONNX Runtime optimises by itself.
        options["optimize_tool"] = "None"
    with stdout_to_stderr():
        paddle2onnx.export(str(model), str(params), str(target), **options)
    _check(target.name, expected, open_onnx(target, CPU, size)(probe(size)))
    for path in (model, params):
        path.unlink()
    return target
