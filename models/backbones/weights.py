"""Reads, checks and converts the weights of a backbone.

Files are told apart by their content, not by their ending: safetensors, PyTorch's `.pth` (both
of its formats) and what `paddle.save` writes (`.pdparams`, `.pdiparams`).
"""

import hashlib
import json
import logging
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import UsageError, WorkError, run
from common.files import save_arrays
from common.logs import start_logging
from common.options import Parser, add_boolean
from models.backbones import catalogue, names, pickles
from models.backbones.catalogue import BACKBONES

logger = logging.getLogger(__name__)

MODELS = Path(__file__).resolve().parent.parent
ENDINGS = (".pth", ".pt", ".bin", ".pdparams", ".pdiparams", ".safetensors")
DTYPES = ("float32", "float16")
ACCEPTED = "PyTorch's .pth, Paddle's .pdparams or .pdiparams from paddle.save, .safetensors"


@dataclass(frozen=True)
class Weights:
    """Arrays under our names, where they come from, and the `variant` of the network they need."""

    state: dict
    name: str
    sha256: str
    origin: str
    variant: dict


def load(path: Path, backbone: str, origin: str, tensorflow: bool | None = None) -> Weights:
    """Read `path` and check it against `backbone`, tensor by tensor.

    `tensorflow`: whether a file with timm's names holds weights that came from TensorFlow; None for
    what its name says.

    Raises UsageError where there is no such file, WorkError where it is no weight file, asks
    for code to be executed, or has missing, extra or misshapen tensors (all are listed).
    """
    if not path.is_file():
        raise UsageError(f"{str(path)!r}: no such weight file; give {ACCEPTED}")
    arrays = read(path)
    variant = _variant(path, backbone, arrays, tensorflow)
    return Weights(convert(arrays, backbone, path), path.name, sha256(path), origin, variant)


def _variant(path: Path, backbone: str, arrays: dict, tensorflow: bool | None) -> dict:
    """What the file itself says of its network, or the names in it, or its own name."""
    scheme = names.scheme_of(backbone, names.unwrapped(arrays).values())
    if tensorflow is not None and scheme != "timm":
        raise UsageError(f"{path}: --tensorflow is for files with timm's names; leave it out")
    if (written := _written_variant(path)) is not None:
        return written
    variant = names.variant_of(backbone, arrays, path.name, tensorflow)
    if scheme == "timm" and tensorflow is None:
        logger.warning(
            "%s has timm's names; taken for %s weights (TensorFlow's are called tf_…; to say it "
            "yourself: python -m models.backbones.weights convert --tensorflow True|False)",
            path,
            "TensorFlow's" if variant["padding"] == "same" else "PyTorch's",
        )
    return variant


def _check_variant(padding: str, epsilon: float) -> None:
    if padding not in catalogue.PADDINGS:
        raise ValueError(f"padding {padding!r}")
    if not (isinstance(epsilon, float) and math.isfinite(epsilon) and epsilon > 0):
        raise ValueError(f"epsilon {epsilon!r}")


def metadata(path: Path) -> dict[str, str]:
    """What stands beside the arrays of a safetensors file; other files have nothing."""
    if _reader(path) is not _read_safetensors:
        return {}
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        return file.metadata() or {}


def _written_variant(path: Path) -> dict | None:
    """The variant that `save` wrote, None in other files."""
    written = metadata(path).get("variant")
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
        reason = str(error) or type(error).__name__
        if "bfloat16" in reason:
            reason += "; save it as float32, or as .pth"
        raise WorkError(
            f"{path}: cannot be read as weights ({reason}); expected {ACCEPTED}"
        ) from error


def convert(state: dict, backbone: str, path: Path) -> dict:
    """Check `state` against the whole `backbone`; our names, floats, no classifier."""
    from models.backbones.network import full_shapes

    expected = full_shapes(backbone)
    named = names.renamed(backbone, state)
    ours = {name: state[key] for key, name in named.items()}
    there = [key for key in expected if key in ours]
    # Of others the numbers are not looked at: they may be larger than memory.
    right = {key: ours[key] for key in there if tuple(ours[key].shape) == expected[key]}
    problems = {
        "missing": [key for key in expected if key not in ours],
        "extra": [key for key in ours if key not in expected],
        "there twice": [key for key, times in Counter(named.values()).items() if times > 1],
        "misshapen": [
            f"{key} is {tuple(ours[key].shape)}, not {expected[key]}"
            for key in there
            if key not in right
        ],
        "no floats": [key for key, array in right.items() if array.dtype.kind != "f"],
        "not finite": [key for key, array in right.items() if not np.isfinite(array).all()],
        "negative": [
            key for key, array in right.items() if key.endswith("running_var") and (array < 0).any()
        ],
    }
    found = [f"{len(keys)} {what}: {', '.join(keys)}" for what, keys in problems.items() if keys]
    if not found:
        return right
    if not there:
        found = [f"holds none of its tensors, but {', '.join(list(state)[:3])} …"]
    others = problems["missing"] or problems["extra"] or problems["misshapen"]
    if other := next((b for b in BACKBONES if others and _fits(state, b)), None):
        found = [f"these are weights of {other}: give --backbone {other}"]
    raise WorkError(
        f"{path}: does not match {backbone} ({len(right)} of {len(expected)} tensors do); "
        + "; ".join(found)
    )


def _fits(state: dict, backbone: str) -> bool:
    """Whether `state` has the tensors of `backbone`, by their names and shapes."""
    from models.backbones.network import full_shapes

    named = names.renamed(backbone, state)
    return {name: tuple(state[key].shape) for key, name in named.items()} == full_shapes(backbone)


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
        inner = (state.get(key) for key in ("state_dict", "model_state_dict", "model"))
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


def digest(state: dict) -> str:
    """SHA-256 of the numbers of `state`."""
    found = hashlib.sha256()
    for array in state.values():
        found.update(array.tobytes())
    return found.hexdigest()


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def save(found: Weights, path: Path, dtype: str = "float32") -> None:
    """Write `found` as safetensors of `dtype`, with its variant and the SHA-256 it came with."""
    with np.errstate(over="ignore"):
        arrays = {key: array.astype(dtype) for key, array in found.state.items()}
    overflow = [key for key, array in arrays.items() if not np.isfinite(array).all()]
    if overflow:
        raise WorkError(f"{path}: beyond {dtype}'s range: {', '.join(overflow)}")
    beside = {
        "format": "names of this project, no classifier",
        "variant": json.dumps(found.variant),
        "source_sha256": found.sha256,
        "numbers_sha256": digest(arrays),
    }
    save_arrays(path, arrays, beside)


def main() -> None:
    parser = Parser("Convert backbone weights by hand: any accepted file → safetensors, checked.")
    parser.prog = "python -m models.backbones.weights"
    parser.add_argument("verb", choices=["convert"], help="what to do")
    parser.add_argument("source", type=Path, metavar="IN", help=ACCEPTED)
    parser.add_argument("target", type=Path, metavar="OUT", help="the .safetensors file to write")
    parser.add_argument("--backbone", default="resnet18", choices=BACKBONES, help="its network")
    parser.add_argument("--dtype", default="float32", choices=DTYPES, help="of the numbers")
    add_boolean(
        parser,
        "--tensorflow",
        None,
        "whether an EfficientNet with timm's names came from TensorFlow (default: B6, B7 and files "
        "called tf_… do)",
    )
    options = parser.parse_args()
    start_logging()
    if options.target.suffix != ".safetensors":
        raise UsageError(f"{options.target}: let the name of what is written end in .safetensors")
    found = load(options.source, options.backbone, "converted", options.tensorflow)
    save(found, options.target, options.dtype)
    print(f"{options.target}: {len(found.state)} tensors, SHA-256 {sha256(options.target)}")


if __name__ == "__main__":
    run(main)
