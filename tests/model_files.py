"""Reads and changes model files, for tests of damaged ones."""

import json
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from models.checkpoint import arrays_digest, text_digest
from tests.conftest import call


def contents(path: Path) -> tuple[dict, dict]:
    with safe_open(path, "numpy") as file:
        record = json.loads(file.metadata()["record"])
        return {key: file.get_tensor(key) for key in file.keys()}, record  # noqa: SIM118


def write(path: Path, arrays: dict, record: dict | str, digest: bool = True) -> Path:
    """A file as a stranger could make it; `digest` False keeps the digest of other arrays."""
    if isinstance(record, dict):
        if digest:
            record = {**record, "arrays_sha256": arrays_digest(arrays)}
        record = json.dumps(record)
    metadata = {"record": record, "record_sha256": text_digest(record)}
    save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, path, metadata)
    return path


def predict(path: Path, demo: Path, tmp_path: Path):
    picture = demo / "flange" / "test" / "good" / "000.png"
    return call(
        *("predict", "--picture_path", picture, "--model_path", path),
        *("--save_path", tmp_path / "sheet.png"),
    )
