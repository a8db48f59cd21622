"""Whole files of every kind that the program reads, small and made without Paddle."""

import json
import pickle
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from common.calibration import HELD_OUT, BestF1, Calibration, Normal, NormalScores
from common.preprocessing import Preprocessing
from common.score_log import ModelLine, ScoreLog
from models import checkpoint, states
from models.checkpoint import arrays_digest, text_digest
from models.heads import HEAD
from models.methods import METHODS
from models.record import Exported, ExportedGraph, FeatureRecord, Record, Weights
from tests.pickle_files import tensor, write_legacy, write_zip

STAGES = ((3, (4, 4)), (4, (2, 2)))
PICTURES = 5
FEATURES = FeatureRecord(
    backbone="resnet18",
    layers=("layer1", "layer2"),
    variant=None,
    weights=Weights("a.pth", "0" * 64, "a test"),
    reduction="random",
    dims=7,
    seed=7,
    patch_size=1,
    stages=STAGES,
)
SCORES = NormalScores((1.0, 2.0, 3.0, 2.5, 1.5), PICTURES)
CALIBRATION = Calibration(
    Normal(SCORES, SCORES, 1.0, HELD_OUT, "1" * 64), BestF1(3.0, 3.0, 2.0, 1.0, "a test")
)
GRAPH = ExportedGraph("2" * 64, "3" * 64, fused=False, int8=False, vnni=False)
EXPORTED = Exported((GRAPH,), (1.0,) * 7, (1.0,) * 64, (1.0,))
STATE = {
    "conv1.weight": np.arange(24, dtype="f4").reshape(2, 3, 2, 2),
    "bn1.bias": np.array([-1.5, 2.25], "f4"),
}
# Values of each setting that `resolved` would fill in.
KNOWN = {"padim": {"epsilon": 0.01, "gaussians": "joint"}, "patchcore": {}, "spade": {}}


def blank_head(method: str):
    """A head that has learned nothing."""
    return METHODS[method].head_class()(METHODS[method].settings(**KNOWN[method]), STAGES)


def head(method: str):
    """A head that learned PICTURES random maps, before `finish`."""
    found = blank_head(method)
    random = np.random.default_rng(0)
    found.update([random.random((PICTURES, c, *grid), np.float32) for c, grid in STAGES])
    return found


def model(path: Path, method: str = "padim", kind=checkpoint.CHECKPOINT) -> Path:
    """A checkpoint or a distribution without a network, with a region of interest."""
    learned = head(method)
    learned.finish()
    arrays = {f"{HEAD}{name}": array for name, array in learned.arrays().items()}
    arrays["roi"] = np.packbits(np.ones((64, 64), bool))
    record = Record(
        method,
        learned.settings,
        FEATURES,
        Preprocessing(64, (64, 64)),
        pictures=PICTURES,
        unit=learned.unit,
        roi=True,
        calibration=CALIBRATION,
        exported=EXPORTED if kind is checkpoint.DISTRIBUTION else None,
    )
    checkpoint.save(path, arrays, record, kind)
    return path


def distribution(path: Path, method: str = "padim") -> Path:
    return model(path, method, checkpoint.DISTRIBUTION)


def state(path: Path) -> Path:
    """The file of a training that goes on."""
    learned = head("padim")
    arrays = {f"{HEAD}{name}": array for name, array in learned.state().items()}
    arrays |= {"learned": np.arange(PICTURES), "data": np.zeros(states.DIGEST, np.uint8)}
    checkpoint.save(path, arrays, state_record(), states.STATE)
    return path


def state_record() -> Record:
    settings = METHODS["padim"].settings(**KNOWN["padim"])
    size = Preprocessing(64, (64, 64))
    return Record("padim", settings, FEATURES, size, pictures=PICTURES)


def contents(path: Path) -> tuple[dict, dict]:
    """The arrays and the record of a model file."""
    with safe_open(path, "numpy") as file:
        record = json.loads(file.metadata()["record"])
        return {key: file.get_tensor(key) for key in file.keys()}, record  # noqa: SIM118


def rewritten(path: Path, arrays: dict, record: dict | str, digest: bool = True) -> Path:
    """A model file as a stranger could make it; `digest` False keeps the digest of other arrays."""
    if isinstance(record, dict):
        if digest:
            record = {**record, "arrays_sha256": arrays_digest(arrays)}
        record = json.dumps(record)
    metadata = {"record": record, "record_sha256": text_digest(record)}
    save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, path, metadata)
    return path


def score_log(path: Path) -> Path:
    with ScoreLog(path, ModelLine.of("nut", ("2" * 64,), CALIBRATION.normal)) as log:
        log.add("a.png", 1.0, 0.5, "good")
        log.add(None, 4.0, 0.1, "defective")
    return path


def torch_zip(path: Path) -> Path:
    return write_zip(path, {name: tensor(array, name) for name, array in STATE.items()})


def torch_legacy(path: Path) -> Path:
    return write_legacy(path, {name: tensor(array, name) for name, array in STATE.items()})


def paddle_pickle(path: Path) -> Path:
    path.write_bytes(pickle.dumps(STATE, protocol=4))
    return path


def safetensors(path: Path) -> Path:
    save_file(STATE, path, {"variant": "{}"})
    return path
