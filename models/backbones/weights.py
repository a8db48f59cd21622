"""Reads, checks and converts the weights of a backbone.

Files are told apart by their content, not by their ending: safetensors, PyTorch's `.pth` (both
of its formats) and what `paddle.save` writes (`.pdparams`, `.pdiparams`).
"""

import hashlib
import json
import logging
import math
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import UsageError, WorkError, listed, run, shortened
from common.files import is_file, save_arrays, sha256
from common.logs import start_logging
from common.options import Parser, add_boolean
from models.backbones import catalogue, names, pickles, safetensors_file, sanity
from models.backbones.catalogue import BACKBONES
from models.backbones.contents import Tensor
from models.backbones.opcodes import UnsafePickleError

logger = logging.getLogger(__name__)

MODELS = Path(__file__).resolve().parent.parent
ENDINGS = (".pth", ".pt", ".bin", ".pdparams", ".pdiparams", ".safetensors")
DTYPES = ("float32", "float16")
ACCEPTED = "PyTorch's .pth, Paddle's .pdparams or .pdiparams from paddle.save, .safetensors"
LARGEST_FILE = 2**32  # bytes: the largest backbone in float32 and an optimizer's state have 1.5 GB
MESSAGE = 400  # characters of a message about tensors


@dataclass(frozen=True)
class Weights:
    """Arrays under our names, the file they come from, and the `variant` of the network."""

    state: dict
    name: str
    sha256: str
    origin: str
    variant: dict


def load(
    path: Path,
    backbone: str,
    origin: str,
    tensorflow: bool | None = None,
    digest: str | None = None,
) -> Weights:
    """Read `path` and check it against `backbone`, tensor by tensor.

    `tensorflow`: whether a file with timm's names holds weights that were trained in TensorFlow;
    None to decide by the file name. `digest`: the SHA-256 of the file, if it is known already.

    Raises UsageError where there is no such file, WorkError where it is no weight file, asks
    for code to be executed, or has missing, extra or misshapen tensors (the first are listed).
    Only the numbers of tensors that have the right name and shape are read.
    """
    if not is_file(path):
        raise UsageError(f"{str(path)!r}: no such weight file; give {ACCEPTED}")
    with opened(path) as tensors:
        variant = _variant(path, backbone, tensors, tensorflow)
        state = convert(tensors, backbone, path)
    return Weights(state, path.name, digest or sha256(path), origin, variant)


def _variant(path: Path, backbone: str, arrays: dict, tensorflow: bool | None) -> dict:
    """From the metadata of the file, else from the names in it, else from its own name."""
    scheme = names.scheme_of(backbone, names.unwrapped(arrays).values())
    if tensorflow is not None and scheme != "timm":
        raise UsageError(f"{path}: only files with timm's names need this; omit it", "tensorflow")
    if (written := _written_variant(path)) is not None:
        return written
    variant = names.variant_of(backbone, arrays, path.name, tensorflow)
    if scheme == "timm" and tensorflow is None:
        logger.warning(
            "%s has timm's names and is read as %s weights (files from TensorFlow are named tf_…); "
            "if this is wrong, convert the file with python -m models.backbones.weights",
            path,
            "TensorFlow" if variant["padding"] == "same" else "PyTorch",
        )
    return variant


def _check_variant(padding: str, epsilon: float) -> None:
    if padding not in catalogue.PADDINGS:
        raise ValueError(f"padding {padding!r}")
    if not (isinstance(epsilon, float) and math.isfinite(epsilon) and epsilon > 0):
        raise ValueError(f"epsilon {epsilon!r}")


def metadata(path: Path) -> dict[str, str]:
    """The texts beside the arrays of a safetensors file; other formats have none."""
    with _reading(path):
        if _opener(path) is not safetensors_file.open_safetensors:
            return {}
        return safetensors_file.metadata(path)


def normalization(path: Path, backbone: str) -> tuple:
    """Mean and deviation of the pixels that the weights in a file were trained on.

    From the metadata that `save` wrote, else by the name of the file.
    """
    written = metadata(path).get("source_name")
    return names.normalization_of(backbone, path.name if written is None else written)


def _written_variant(path: Path) -> dict | None:
    """The variant that `save` wrote; None for other files."""
    written = metadata(path).get("variant")
    if written is None:
        return None
    try:
        variant = json.loads(written)
        if variant != {}:
            _check_variant(**variant)
    except (ValueError, TypeError, RecursionError) as error:
        raise WorkError(f"{path}: damaged metadata ({shortened(str(error), 200)})") from error
    return variant


def read(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a weight file under the names that the file has."""
    with opened(path) as tensors:
        return {name: _numbers(tensor, path) for name, tensor in tensors.items()}


@contextmanager
def opened(path: Path) -> Iterator[dict[str, Tensor]]:
    """The tensors of a weight file under the names that the file has; their numbers are not read.

    They can be read inside the block, by `Tensor.array`.
    """
    with ExitStack() as stack:
        with _reading(path):
            size = path.stat().st_size
            if size > LARGEST_FILE:
                raise ValueError(f"{size} bytes; weights have less than {LARGEST_FILE >> 30} GiB")
            tensors = stack.enter_context(_opener(path)(path))
        yield tensors


def _numbers(value: Tensor | np.ndarray, path: Path) -> np.ndarray:
    with _reading(path):
        return value.array() if isinstance(value, Tensor) else value


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Any exception of a reader as WorkError about the file `path`."""
    try:
        yield
    except UnsafePickleError as error:
        raise WorkError(
            f"{path}: refused: asks for {error}, which tensors do not need; nothing was executed. "
            "Save the state dict alone"
        ) from error
    except Exception as error:  # a broken file can raise anything in its reader
        reason = shortened(str(error) or type(error).__name__, 160)
        raise WorkError(
            f"{path}: cannot be read as weights ({reason}); expected {ACCEPTED}"
        ) from error


def _opener(path: Path):
    """The function that opens the format of the file."""
    with path.open("rb") as file:
        head = file.read(9)
    # A safetensors header's length comes first, whose low bytes may look like anything.
    if head[4:] == bytes(4) + b"{":
        return safetensors_file.open_safetensors
    if head[:2] == b"PK":
        return pickles.open_torch_zip
    if head[:1] == b"\x80":
        return pickles.open_pickle
    if head[:4] == bytes(4):
        raise ValueError("a parameter stream of a static graph, which holds no names")
    raise ValueError("no known format")


def convert(state: dict[str, Tensor | np.ndarray], backbone: str, path: Path) -> dict:
    """The arrays of `state` that `backbone` needs, under our names and without classifier.

    WorkError where tensors are missing, extra or misshapen, or their numbers cannot be weights.
    """
    from models.backbones.network import full_shapes

    expected = full_shapes(backbone)
    named = names.renamed(backbone, state)
    ours = {name: state[key] for key, name in named.items()}
    there = [key for key in expected if key in ours]
    # Other tensors are not read: they may be larger than memory.
    fitting = [key for key in there if tuple(ours[key].shape) == expected[key]]
    right = {key: _numbers(ours[key], path) for key in fitting}
    wrong = {
        "missing": [key for key in expected if key not in ours],
        "extra": [key for key in ours if key not in expected],
        "twice": [key for key, times in Counter(named.values()).items() if times > 1],
        "misshapen": [
            f"{key} is {tuple(ours[key].shape)}, not {expected[key]}"
            for key in there
            if key not in right
        ],
    }
    found = sanity.summary(wrong) + sanity.problems(right)
    if not found:
        return right
    if not there:
        found = [f"the file holds {listed(state, sanity.SHOWN) or 'no tensors'}"]
    if wrong["missing"] or wrong["extra"] or wrong["misshapen"]:
        other, likeness = nearest_backbone(state)
        if likeness == 1:
            found = [f"these are weights of {other}: set the backbone to {other}"]
    matching = f"{len(right)} of {len(expected)} tensors do"
    text = f"{path}: does not match {backbone} ({matching}); " + "; ".join(found)
    raise WorkError(shortened(text, MESSAGE))


def nearest_backbone(state: dict) -> tuple[str, float]:
    """The backbone whose tensors are most like those of `state`, and how like they are: 0 to 1."""
    return max(((name, _likeness(state, name)) for name in BACKBONES), key=lambda pair: pair[1])


def _likeness(state: dict, backbone: str) -> float:
    """The share of tensors, by name and shape, that `state` and `backbone` have in common."""
    from models.backbones.network import full_shapes

    named = names.renamed(backbone, state)
    found = {(name, tuple(state[key].shape)) for key, name in named.items()}
    expected = full_shapes(backbone).items()
    return len(found & expected) / len(found | expected)


def digest(state: dict) -> str:
    """SHA-256 of the numbers of `state`."""
    found = hashlib.sha256()
    for array in state.values():
        found.update(array.tobytes())
    return found.hexdigest()


def save(found: Weights, path: Path, dtype: str = "float32") -> None:
    """Write `found` as safetensors of `dtype`, with its variant and the SHA-256 it came with."""
    with np.errstate(over="ignore"):
        arrays = {key: array.astype(dtype) for key, array in found.state.items()}
    overflow = [key for key, array in arrays.items() if not np.isfinite(array).all()]
    if overflow:
        raise WorkError(f"{path}: values too large for {dtype}: {listed(overflow)}")
    beside = {
        "format": "names of this project, no classifier",
        "variant": json.dumps(found.variant),
        "source_name": found.name,
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
    parser.add_argument(
        "--backbone", default="resnet18", choices=BACKBONES, help="the network of the weights"
    )
    parser.add_argument(
        "--dtype", default="float32", choices=DTYPES, help="type of the numbers written"
    )
    add_boolean(
        parser,
        "--tensorflow",
        None,
        "whether an EfficientNet with timm's names was trained in TensorFlow (default: yes for B6, "
        "B7 and files named tf_…)",
    )
    options = parser.parse_args()
    start_logging()
    if options.target.suffix != ".safetensors":
        raise UsageError(f"{options.target}: the output file name must end with .safetensors")
    found = load(options.source, options.backbone, "converted", options.tensorflow)
    save(found, options.target, options.dtype)
    print(f"{options.target}: {len(found.state)} tensors, SHA-256 {sha256(options.target)}")


if __name__ == "__main__":
    run(main)
