"""Writes a trained detector as static graphs and a distribution."""

import importlib
import inspect
import logging
import os
import sys
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import numpy as np

from common.errors import WorkError
from common.files import whole_files
from models import checkpoint, distribution
from models.anomaly_map import AnomalyMap
from models.backbones import resnet
from models.checkpoint import DISTRIBUTION
from models.deployed import probe
from models.extractor import Engine, open_graph
from models.graph import Embedding, Fused, Selection, save_graph
from models.padim import PaDiM

logger = logging.getLogger(__name__)

TOLERANCE = 1e-3  # of an output's range: what other kernels may change
# The same graph as Paddle 3 and Paddle 2 write it.
TWINS = {"model.json": "model.pdmodel", "fused.json": "fused.pdmodel"}
TWINS |= {value: key for key, value in TWINS.items()}
OPSET = 13  # of ONNX: the oldest that has every operator of these graphs


def export(
    detector: PaDiM,
    folder: Path,
    fused: bool = False,
    onnx: bool = False,
    dtype: str = "float32",
) -> list[Path]:
    """Write the graphs and the `distribution` of `detector` to `folder`; the files' paths.

    Every graph is run once beside the layers it was made from before anything of it stands in
    `folder`; WorkError where they disagree. All files are renamed to their names together.
    """
    layers = {"model": _embedding(detector)} | ({"fused": _fused(detector)} if fused else {})
    with whole_files(folder) as temporary:
        parameters = {}
        for name, layer in layers.items():
            expected = _outputs(layer, probe(detector.size))
            pair = save_graph(layer, detector.size, temporary / name)
            _check(*pair, detector.size, expected)
            parameters[pair[0].name] = pair[1].stat().st_size
            if onnx:
                _check(_to_onnx(*pair), None, detector.size, expected)
                for path in pair:
                    path.unlink()
        _save_distribution(detector, temporary / "distribution", dtype, parameters)
        names = sorted(path.name for path in temporary.iterdir())
    for name in set(TWINS) & set(names):
        # It would be taken for the graph of parameters that have just been replaced.
        (folder / TWINS[name]).unlink(missing_ok=True)
    return [folder / name for name in names]


def _save_distribution(detector: PaDiM, path: Path, dtype: str, parameters: dict) -> None:
    record = dict(detector.record)
    record |= {"stages": detector.stages, "parameter_bytes": parameters}
    record["probe_score"] = float(detector.score(probe(detector.size)).image[0])
    checkpoint.save(path, distribution.pack(detector.gaussian, dtype), record, DISTRIBUTION)


def _selection(detector: PaDiM) -> Selection:
    """A network of its own for each graph: Paddle 2.6 converts a layer once only."""
    network = resnet.ResNet(detector.record["backbone"], detector.record["layers"])
    resnet.set_weights(network, resnet.get_weights(detector.network))
    return Selection(network, detector.embedding)


def _embedding(detector: PaDiM) -> Embedding:
    return Embedding(_selection(detector), [grid for _, grid in detector.stages])


def _fused(detector: PaDiM) -> Fused:
    gaussian = detector.gaussian
    to_map = AnomalyMap(gaussian.grid, detector.size, detector.record["sigma"])
    return Fused(_selection(detector), gaussian, to_map)


def _outputs(layer, images: np.ndarray) -> list[np.ndarray]:
    paddle = importlib.import_module("paddle")
    with paddle.no_grad():
        outputs = layer(paddle.to_tensor(images))
    return [output.numpy() for output in (outputs if isinstance(outputs, tuple) else (outputs,))]


def _check(model: Path, params: Path | None, size: tuple[int, int], expected: list) -> None:
    """Run the graph in the files; WorkError where it does not give what was expected."""
    found = open_graph(model, params, Engine(device="cpu"), size)(probe(size))
    for ours, theirs in zip(expected, found, strict=True):
        off = float(np.abs(ours - theirs).max() / max(np.ptp(ours), np.abs(ours).max()))
        if ours.shape != theirs.shape or not off < TOLERANCE:
            raise WorkError(f"{model.name}: the exported graph is off by {off:.2g} of its range")
        logger.info("%s: checked, off by %.1g of its range", model.name, off)


def _to_onnx(model: Path, params: Path) -> Path:
    paddle2onnx = importlib.import_module("paddle2onnx")
    target = model.with_suffix(".onnx")
    options = {"opset_version": OPSET}
    if "optimize_tool" in inspect.signature(paddle2onnx.export).parameters:
        # Its optimisers would install packages; ONNX Runtime optimises by itself.
        options["optimize_tool"] = "None"
    with _stdout_to_stderr():
        paddle2onnx.export(str(model), str(params), str(target), **options)
    return target


@contextmanager
def _stdout_to_stderr():
    """What the converter prints, in C++ and in Python, is no result of ours."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
