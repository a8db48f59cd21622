"""Make one model of several that learned from different pictures, without a picture.

All of them must have the same network, layers, channels, picture size, settings and region of
interest.
"""

import dataclasses
import functools
import logging
import operator
from collections.abc import Sequence
from pathlib import Path

from common.calibration import Calibration
from common.errors import UsageError, printable, run
from common.files import writable_folder
from common.logs import start_logging
from common.options import Parser, checked, folder_name
from common.progress import progress

logger = logging.getLogger(__name__)


def parse_options():
    parser = Parser(__doc__)
    parser.add_argument("models", type=Path, nargs="+", help="checkpoint files or their folders")
    parser.add_argument(
        *("-o", "--output"),
        type=Path,
        required=True,
        help="FILE.pdparams, or a folder for best.pdparams",
    )
    parser.add_argument(
        "--category",
        type=checked(folder_name),
        help="of the new model (default: that of the models)",
    )
    return parser.parse_args()


def merge(paths: Sequence[str | Path], output: str | Path, category: str | None = None) -> None:
    """Write the checkpoint `output`, of all that the checkpoints `paths` learned.

    It has no scores of good pictures: those of `paths` are of other models. UsageError if the
    models do not fit each other, WorkError if one is damaged or memory is short.
    """
    from models import checkpoint
    from models.detector import head_arrays
    from models.heads import HEAD

    paths = [Path(path) for path in paths]
    records = [checkpoint.load_record(path) for path in paths]
    category = category or _category(paths, records)
    for path, record in zip(paths[1:], records[1:], strict=True):
        _require_same(paths[0], records[0], path, record)
    _require_different(paths, records)
    total = sum(record.pictures for record in records)
    _require_memory(records[0], total)
    head, fixed = None, {}
    models = zip(paths, records, strict=True)
    for path, record in progress(models, total, "merge", size=lambda pair: pair[1].pictures):
        other, arrays = _opened(path, record)
        if head is None:
            head = other
            fixed = {name: array for name, array in arrays.items() if not name.startswith(HEAD)}
        else:
            _require_equal(paths[0], fixed, path, arrays)
            head.merge(other)
    head.finish()
    known = {"pictures": head.n, "settings": head.settings, "unit": head.unit}
    looks = [record.looks for record in records]
    known["looks"] = None if None in looks else functools.reduce(operator.or_, looks)
    record = dataclasses.replace(records[0], **known, category=category, calibration=Calibration())
    checkpoint.save(output, fixed | head_arrays(head), record)


def _require_same(first: Path, known, path: Path, record) -> None:
    """UsageError if the models of two records cannot become one; it names what differs."""
    from models.same import difference

    if found := difference(record, known):
        name, theirs, ours = found
        raise UsageError(
            f"{path}: {name} {theirs}, but {first} has {ours}; models that become one must be "
            "trained with the same options and weights"
        )


def _opened(path: Path, record):
    """The head of a checkpoint before `finish`, and all arrays of the file."""
    from models import checkpoint
    from models.detector import reopened
    from models.loading import load_arrays, load_head

    arrays, now = load_arrays(path)
    if now != record:
        raise UsageError(f"{path}: was written again meanwhile; start again")
    with checkpoint.reading(path):
        head = load_head(arrays, record)
    return reopened(head, record.method), arrays


def _category(paths: list[Path], records: list) -> str:
    for path, record in zip(paths, records, strict=True):
        if record.category != records[0].category:
            raise UsageError(
                f"{path} is of category {record.category}, {paths[0]} of {records[0].category}; "
                "name that of the new model",
                "category",
            )
    return records[0].category


def _require_different(paths: list[Path], records: list) -> None:
    """UsageError if a model is there twice, a warning if its pictures may be."""
    if len(paths) < 2:
        raise UsageError("expected two models or more")
    seen, named = {}, {}
    for path, record in zip(paths, records, strict=True):
        if (first := seen.setdefault(record.arrays_sha256, path)) is not path:
            raise UsageError(f"{path}: the same model as {first}; its pictures would count twice")
        normal = record.calibration.normal
        names = normal and (normal.source, normal.pictures_sha256)
        if names and (first := named.setdefault(names, path)) is not path:
            logger.warning(
                "%s: its pictures have the same names as those of %s. If they are the same "
                "pictures, they count twice",
                *(path, first),
            )


def _require_equal(first: Path, fixed: dict, path: Path, arrays: dict) -> None:
    """UsageError if network, channels or region of interest are not the same numbers."""
    import numpy as np  # not at the top: its threads must come after `run` has taken the signals

    for name, array in fixed.items():
        if name not in arrays or not np.array_equal(array, arrays[name]):
            raise UsageError(
                f"{path}: {name} is not that of {first}; models that become one need the same "
                "weights, channels and region of interest"
            )


def _require_memory(record, pictures: int) -> None:
    from models.memory import require_memory

    features, size = record.features, record.size
    network = features.backbone, features.layers, features.stages
    require_memory(record.method, record.settings, *network, size, 1, pictures)


def main() -> int:
    options = parse_options()
    start_logging()
    paths = [path / "best.pdparams" if path.is_dir() else path for path in options.models]
    output = options.output
    if output.suffix != ".pdparams" or output.is_dir():
        output = output / "best.pdparams"
    writable_folder(output.parent, "output")
    merge(paths, output, options.category)
    logger.info(
        "the new model has no scores of good pictures, because those of the others do not hold "
        "for it; train.py --update %s --calibration_dir DIR gives it some",
        output,
    )
    print(printable(output))
    return 0


if __name__ == "__main__":
    run(main)
