"""Writes a trained detector as static graphs and a distribution."""

import importlib
import inspect
import logging
from pathlib import Path

import numpy as np
import paddle

from common.errors import WorkError
from common.files import whole_files
from common.logs import stdout_to_stderr
from models import checkpoint, distribution
from models.anomaly_map import AnomalyMap
from models.backbones import network
from models.checkpoint import DISTRIBUTION
from models.deployed import fingerprint, probe
from models.embedding import split
from models.extractor import Engine, open_graph
from models.graph import Embedding, Fused, save_graph, selection
from models.options import GRAPHS
from models.padim import PaDiM, blank
from models.scoring import Scorer

logger = logging.getLogger(__name__)

TOLERANCE = 1e-3  # of an output's range: what other kernels may change
INT8_TOLERANCE = 0.2  # of the embeddings' norm; 0.05 or less is usual
OURS = {f"{graph}{suffix}" for graph in ("model", "fused") for suffix in (*GRAPHS, ".pdiparams")}
OPSET = 13  # of ONNX: the oldest that has every operator of these graphs


def export(
    detector: PaDiM,
    folder: Path,
    fused: bool = False,
    onnx: bool = False,
    dtype: str = "float32",
    calibration: np.ndarray | None = None,
) -> list[Path]:
    """Write the graphs and the `distribution` of `detector` to `folder`; the files' paths.

    Every graph is run once beside the layers it was made from before anything of it stands in
    `folder`; WorkError where they disagree. All files are renamed to their names together.
    `calibration`: good pictures, float32 [B,3,H,W] normalised, to quantise the graph with.
    """
    paddle.set_device("cpu")
    if onnx:
        importlib.import_module("paddle2onnx")  # if it is missing, then before the work
    layers = {"model": _embedding(detector)} | ({"fused": _fused(detector)} if fused else {})
    expected = {name: _outputs(layer, probe(detector.size)) for name, layer in layers.items()}
    with whole_files(folder) as temporary:
        parameters = {}
        for name, layer in layers.items():
            pair = save_graph(layer, detector.size, temporary / name)
            _check(*pair, detector.size, expected[name])
            if calibration is not None:
                # Another processor must answer the probe as this graph does, not as float32.
                expected[name] = _to_int8(*pair, detector.size, calibration)
            parameters[pair[0].name] = pair[1].stat().st_size
            if onnx:
                _check(_to_onnx(*pair), None, detector.size, expected[name])
                for path in pair:
                    path.unlink()
        path = temporary / "distribution"
        _save_distribution(detector, path, dtype, expected["model"][0], parameters)
        written = {path.name for path in temporary.iterdir()}
    for name in OURS - written:
        # Of an earlier export: it would not fit the distribution beside it any more.
        (folder / name).unlink(missing_ok=True)
    return [folder / name for name in sorted(written)]


def _save_distribution(
    detector: PaDiM, path: Path, dtype: str, embedding: np.ndarray, parameters: dict
) -> None:
    """`embedding` is that of the probe picture, `parameters` the bytes of each graph's."""
    score = Scorer(detector.gaussian, detector.size, detector.record["sigma"])
    found = fingerprint(embedding, score(split(embedding, detector.stages)))
    record = {
        **detector.record,
        "stages": detector.stages,
        "parameter_bytes": parameters,
        "probe": {key: values.tolist() for key, values in found.items()},
    }
    checkpoint.save(path, distribution.pack(detector.gaussian, dtype), record, DISTRIBUTION)


def _selection(detector: PaDiM) -> paddle.nn.Layer:
    """A network of its own for each graph: Paddle 2.6 converts a layer once only."""
    net = blank(detector.record)
    network.set_weights(net, network.get_weights(detector.network))
    return selection(net, detector.embedding)


def _embedding(detector: PaDiM) -> Embedding:
    return Embedding(_selection(detector), [grid for _, grid in detector.stages])


def _fused(detector: PaDiM) -> Fused:
    gaussian = detector.gaussian
    to_map = AnomalyMap(gaussian.grid, detector.size, detector.record["sigma"])
    return Fused(_selection(detector), gaussian, to_map)


def _outputs(layer, images: np.ndarray) -> list[np.ndarray]:
    with paddle.no_grad():
        outputs = layer(paddle.to_tensor(images))
    return [output.numpy() for output in (outputs if isinstance(outputs, tuple) else (outputs,))]


def _check(model: Path, params: Path | None, size: tuple[int, int], expected: list) -> None:
    """Run the graph in the files; WorkError where it does not give what was expected."""
    found = open_graph(model, params, Engine(device="cpu"), size)(probe(size))
    for ours, theirs in zip(expected, found, strict=True):
        if ours.shape != theirs.shape:
            raise WorkError(f"{model.name}: gives {theirs.shape}, not {ours.shape}")
        off = float(np.abs(ours - theirs).max() / max(np.ptp(ours), np.abs(ours).max()))
        if not off < TOLERANCE:
            raise WorkError(f"{model.name}: the exported graph is off by {off:.2g} of its range")
        logger.info("%s: checked, off by %.1g of its range", model.name, off)


def _to_int8(model: Path, params: Path, size: tuple[int, int], images: np.ndarray) -> list:
    """Quantise in place; the probe's outputs. WorkError where those of `images` change too much."""
    from models.quantization import quantize

    before = open_graph(model, params, Engine(device="cpu"), size)(images[:8])[0]
    quantize(model, params, images)
    graph = open_graph(model, params, Engine(device="cpu", precision="int8"), size)
    off = float(np.linalg.norm(graph(images[:8])[0] - before) / np.linalg.norm(before))
    if not off < INT8_TOLERANCE:
        raise WorkError(f"{model.name}: int8 changes the embeddings by {100 * off:.0f} %")
    logger.info("%s: int8, which changes the embeddings by %.1f %%", model.name, 100 * off)
    return graph(probe(size))


def _to_onnx(model: Path, params: Path) -> Path:
    paddle2onnx = importlib.import_module("paddle2onnx")
    target = model.with_suffix(".onnx")
    options = {"opset_version": OPSET}
    if "optimize_tool" in inspect.signature(paddle2onnx.export).parameters:
        # Its optimisers would install packages; ONNX Runtime optimises by itself.
        options["optimize_tool"] = "None"
    with stdout_to_stderr():
        paddle2onnx.export(str(model), str(params), str(target), **options)
    return target
