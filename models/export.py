"""Exports a trained detector as static graphs and a distribution."""

import copy
import importlib
import inspect
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import paddle

from common.errors import UsageError, WorkError
from common.files import sha256
from common.logs import stdout_to_stderr
from common.transaction import whole_files
from models import checkpoint
from models.backbones.folding import folded
from models.checkpoint import DISTRIBUTION
from models.deployed import probe, probed_embedding, probed_map
from models.detector import Detector, head_arrays
from models.engine import Engine, has_vnni
from models.features import split
from models.layers import Embedding, Fused
from models.onnx_predictor import open_onnx
from models.open_export import GRAPHS
from models.predictor import open_predictor
from models.record import Exported, ExportedGraph
from models.static_graph import paddle_folder, save_graph

logger = logging.getLogger(__name__)

TOLERANCE = 1e-3  # of an output's range: differences between kernels are smaller
INT8_TOLERANCE = 0.2  # of the embeddings' norm
INT8_USUAL = 0.1  # at most
OURS = {f"{graph}{suffix}" for graph in ("model", "fused") for suffix in (*GRAPHS, ".pdiparams")}
OPSET = 13  # of ONNX: the oldest version that has all operators of these graphs
CPU = Engine(device="cpu", precision="fp32")


def export(
    detector: Detector,
    folder: str | Path,
    fused: bool = False,
    onnx: bool = False,
    dtype: str = "float32",
    sample: np.ndarray | None = None,
) -> list[Path]:
    """Write the graphs and the `distribution` of `detector` to `folder`; returns their paths.

    Every graph is run once and compared with its layers before the files are moved to `folder`
    together; WorkError if they differ. `sample`: good sample pictures, normalised float32
    [B,3,H,W]; if given, the graph is quantised to int8.
    """
    folder = Path(folder)
    paddle.disable_static()  # see models.backbones.network
    paddle.set_device("cpu")
    if onnx:
        importlib.import_module("paddle2onnx")  # if it is not installed, fail before the work
    # Copies: Paddle 2.6 can convert a layer only once. Quantisation needs the batch norms.
    copied = folded if sample is None else copy.deepcopy
    layers = {"model": _embedding(detector, copied(detector.features.network))}
    if fused:
        layers["fused"] = _fused(detector, copied(detector.features.network))
    size, graphs = detector.size, []
    pattern = probe(size, detector.roi)
    with whole_files(folder, OURS) as temporary:  # of an earlier export nothing stays
        with paddle_folder(temporary) as place:
            for name, layer in layers.items():
                expected = _outputs(layer, pattern)
                pair = save_graph(layer, size, place / name)
                _check(pair[0].name, expected, open_predictor(*pair, CPU, size)(pattern))
                if sample is not None:
                    # infer.py compares with the outputs of this int8 graph, not of float32.
                    expected = _to_int8(*pair, size, sample, pattern)
                if name == "model":
                    embedding = expected[0]
                if onnx:
                    pair = _to_onnx(*pair, size, pattern, expected), None
                digests = [path and sha256(path) for path in pair]
                quantized = sample is not None
                kind = (name == "fused", quantized, quantized and has_vnni())
                graphs.append(ExportedGraph(*digests, *kind))
        scores = detector.judge(split(embedding, detector.features.stages))
        answers = (probed_embedding(embedding), probed_map(scores), scores.image)
        exported = Exported(tuple(graphs), *(tuple(map(float, values)) for values in answers))
        record = replace(detector.record, exported=exported)
        path = temporary / "distribution"
        arrays = head_arrays(detector.head, dtype) | detector.roi_arrays()
        checkpoint.save(path, arrays, record, DISTRIBUTION)
        written = sorted(name for name in (*OURS, path.name) if (temporary / name).exists())
    return [folder / name for name in written]


def _embedding(detector: Detector, net: paddle.nn.Layer) -> Embedding:
    features = detector.features
    return Embedding(features.layer(net), [grid for _, grid in features.stages])


def _fused(detector: Detector, net: paddle.nn.Layer) -> Fused:
    head = detector.head.layer()
    if head is None:
        raise UsageError(
            f"the method {detector.record.method} has no fused graph; omit --fused", "fused"
        )
    grids = [grid for _, grid in detector.features.stages]
    return Fused(detector.features.layer(net), head, detector.to_map, detector.roi, grids)


def _outputs(layer, images: np.ndarray) -> list[np.ndarray]:
    with paddle.no_grad():
        outputs = layer(paddle.to_tensor(images))
    return [output.numpy() for output in (outputs if isinstance(outputs, tuple) else (outputs,))]


def _check(name: str, expected: list[np.ndarray], found: list[np.ndarray]) -> None:
    """WorkError if the outputs of a graph differ from the expected ones."""
    for ours, theirs in zip(expected, found, strict=True):
        if ours.shape != theirs.shape:
            raise WorkError(
                f"{name}: the exported graph has output {theirs.shape}, expected {ours.shape}"
            )
        off = float(np.abs(ours - theirs).max() / max(np.ptp(ours), np.abs(ours).max()))
        if not off < TOLERANCE:
            raise WorkError(
                f"{name}: the exported graph differs from the network by {off:.2g} of its range"
            )
        logger.info("%s: checked, differs from the network by %.1g of its range", name, off)


def _to_int8(
    model: Path, params: Path, size: tuple[int, int], images: np.ndarray, pattern: np.ndarray
) -> list:
    """Quantise in place; the outputs for `pattern`.

    WorkError if those for `images` change too much.
    """
    from models.quantization import quantize

    engine, some = replace(CPU, precision="int8").resolve(), images[:8]
    before = open_predictor(model, params, CPU, size)(some)[0]
    quantize(model, params, images)
    predictor = open_predictor(model, params, engine, size)
    off = float(np.linalg.norm(predictor(some)[0] - before) / np.linalg.norm(before))
    if not off < INT8_TOLERANCE:
        raise WorkError(
            f"{model.name}: int8 changes the embeddings by {100 * off:.0f} %, more than "
            f"{100 * INT8_TOLERANCE:.0f} %; export without --quantize"
        )
    level = logging.WARNING if off > INT8_USUAL else logging.INFO
    logger.log(level, "%s: int8 changes the embeddings by %.1f %%", model.name, 100 * off)
    return predictor(pattern)


def _to_onnx(
    model: Path, params: Path, size: tuple[int, int], pattern: np.ndarray, expected: list
) -> Path:
    """Convert the graph to `.onnx`, check it with `pattern`, and delete Paddle's files."""
    paddle2onnx = importlib.import_module("paddle2onnx")
    target = model.with_suffix(".onnx")
    options = {"opset_version": OPSET}
    if "optimize_tool" in inspect.signature(paddle2onnx.export).parameters:
        # Its optimisers would install packages; ONNX Runtime optimises the graph itself.
        options["optimize_tool"] = "None"
    with stdout_to_stderr():
        paddle2onnx.export(str(model), str(params), str(target), **options)
    _check(target.name, expected, open_onnx(target, CPU, size)(pattern))
    for path in (model, params):
        path.unlink()
    return target
