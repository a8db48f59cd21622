"""Reads, checks and converts the weights of a backbone.

Files are told apart by their content, not by their ending: safetensors, PyTorch's `.pth` (both
of its formats) and what `paddle.save` writes (`.pdparams`, `.pdiparams`).
"""

import argparse
import hashlib
import json
import logging
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import UsageError, WorkError, run
from common.files import save_arrays
from models.backbones import catalogue, names, pickles
from models.backbones.catalogue import BACKBONES

logger = logging.getLogger(__name__)

MODELS = Path(__file__).resolve().parent.parent
ENDINGS = (".pth", ".pt", ".pdparams", ".pdiparams", ".safetensors")
ACCEPTED = "PyTorch's .pth, Paddle's .pdparams or .pdiparams from paddle.save, .safetensors"


@dataclass(frozen=True)
class Weights:
    """Arrays under our names, where they come from, and the `variant` of the network they need."""

    state: dict
    name: str
    sha256: str
    origin: str
    variant: dict


def load(path: Path, backbone: str, origin: str) -> Weights:
    """Read `path` and check it against `backbone`, tensor by tensor.

    Raises UsageError where there is no such file, WorkError where it is no weight file, asks
    for code to be executed, or has missing, extra or misshapen tensors (all are listed).
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such weight file (--pretrained_backbone); give {ACCEPTED}")
    state, variant = read_as(path, backbone, path.name)
    return Weights(state, path.name, sha256(path), origin, variant)


def read_as(path: Path, backbone: str, file: str) -> tuple[dict, dict]:
    """The arrays of `backbone` in `path`, checked, and the variant of the network they need.

    `file` is the name it was published under.
    """
    arrays = read(path)
    variant = _variant(path)
    if variant is None:
        variant = names.variant_of(backbone, arrays, file)
        if names.scheme_of(backbone, names.unwrapped(arrays).values()) == "timm":
            logger.warning(
                "%s has timm's names; taken for %s weights (files of TensorFlow's are called tf_…)",
                path,
                "TensorFlow's" if variant["padding"] == "same" else "PyTorch's",
            )
    return convert(arrays, backbone, path), variant


def metadata(variant: dict) -> dict[str, str]:
    """What stands beside the arrays in files that we write."""
    return {"format": "names of this project, no classifier", "variant": json.dumps(variant)}


def _check_variant(padding: str, epsilon: float) -> None:
    if padding not in catalogue.PADDINGS:
        raise ValueError(f"padding {padding!r}")
    if not (isinstance(epsilon, float) and math.isfinite(epsilon) and epsilon > 0):
        raise ValueError(f"epsilon {epsilon!r}")


def _variant(path: Path) -> dict | None:
    """What `metadata` wrote, None in other files."""
    if _reader(path) is not _read_safetensors:
        return None
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        written = (file.metadata() or {}).get("variant")
    try:
        variant = None if written is None else json.loads(written)
        if variant:
            _check_variant(**variant)
    except (ValueError, TypeError) as error:
        raise WorkError(f"{path}: damaged metadata ({error})") from error
    return variant


def read(path: Path) -> dict:
    """The arrays of a weight file under the names it has them by."""
    try:
        return _flat(_reader(path)(path))
    except pickles.UnsafePickleError as error:
        raise WorkError(
            f"{path}: refused: asks for {error}, which tensors do not need; nothing was executed. "
            "Save the state dict alone"
        ) from error
    except Exception as error:  # a broken file breaks its reader in any way it likes
        raise WorkError(
            f"{path}: cannot be read as weights ({error or type(error).__name__}); "
            f"expected {ACCEPTED}"
        ) from error


def convert(state: dict, backbone: str, path: Path) -> dict:
    """Check `state` against the whole `backbone`; our names, floats, no classifier."""
    from models.backbones.network import full_shapes

    expected = full_shapes(backbone)
    ours = {name: state[key] for key, name in names.renamed(backbone, state).items()}
    problems = {
        "missing": [key for key in expected if key not in ours],
        "extra": [key for key in ours if key not in expected],
        "misshapen": [
            f"{key} is {tuple(ours[key].shape)}, not {shape}"
            for key, shape in expected.items()
            if key in ours and tuple(ours[key].shape) != shape
        ],
        "not finite": [key for key, array in ours.items() if not np.isfinite(array).all()],
        "negative": [
            key for key, array in ours.items() if key.endswith("running_var") and (array < 0).any()
        ],
    }
    found = [f"{len(keys)} {what}: {', '.join(keys)}" for what, keys in problems.items() if keys]
    if found:
        raise WorkError(
            f"{path}: does not match {backbone} ({len(ours)} of {len(expected)} tensors); "
            + "; ".join(found)
        )
    return {key: ours[key] for key in expected}


def _reader(path: Path):
    with path.open("rb") as file:
        head = file.read(9)
    # A safetensors header's length comes first, whose low bytes may look like anything.
    if head[4:] == bytes(4) + b"{":
        return _read_safetensors
    if head[:2] == b"PK":
        return pickles.read_torch_zip
    if head[:1] == b"\x80":
        return pickles.read_pickle
    if head[:4] == bytes(4):
        raise ValueError("a parameter stream of a static graph, which holds no names")
    raise ValueError("no known format")


def _read_safetensors(path: Path) -> dict:
    from safetensors.numpy import load_file

    return load_file(path)


def _flat(state) -> dict:
    """The state dict itself, without the containers training scripts put around it."""
    for _ in range(3):
        if not isinstance(state, dict):
            break
        inner = (state.get(key) for key in ("state_dict", "model"))
        state = next((value for value in inner if isinstance(value, dict)), state)
    if not isinstance(state, dict) or not state:
        raise ValueError("holds no state dict")
    arrays = {key: _array(value) for key, value in state.items() if isinstance(key, str)}
    return {key: array for key, array in arrays.items() if array is not None}


def _array(value) -> np.ndarray | None:
    """The numbers of a tensor, however its file holds it; None for what is no tensor."""
    if isinstance(value, tuple) and len(value) == 2:
        value = value[1]  # (name, array): how older Paddle saves a tensor
    if isinstance(value, pickles.Later):
        value = value.array()
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiub":
        return None
    # Paddle has no 16-bit unsigned numbers: it saves bfloat16 as such.
    return pickles.widened(value) if value.dtype == np.uint16 else value


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def save_half(state: dict, path: Path, variant: dict) -> None:
    """Write `state` as float16 safetensors; every float must fit float16's range."""
    with np.errstate(over="ignore"):
        halves = {key: array.astype(np.float16) for key, array in state.items()}
    overflow = [key for key, array in halves.items() if not np.isfinite(array).all()]
    if overflow:
        raise WorkError(f"{path}: beyond float16's range: {', '.join(overflow)}")
    save_arrays(path, halves, metadata(variant))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m models.backbones.weights",
        description="Convert backbone weights by hand.",
        allow_abbrev=False,
    )
    verbs = parser.add_subparsers(required=True)
    verb = verbs.add_parser("convert", help="any accepted file → float16 safetensors, checked")
    verb.add_argument("source", type=Path, metavar="IN", help=ACCEPTED)
    verb.add_argument("target", type=Path, metavar="OUT", help="the .safetensors file to write")
    verb.add_argument("--backbone", default="resnet18", choices=BACKBONES, help="its network")
    options = parser.parse_args()
    weights = load(options.source, options.backbone, "converted")
    save_half(weights.state, options.target, weights.variant)
    print(f"{options.target}: {len(weights.state)} tensors, SHA-256 {sha256(options.target)}")


if __name__ == "__main__":
    run(main)
