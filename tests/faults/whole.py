"""Whether files are whole, and what killed runs left."""

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from common.transaction import COMMIT
from inspection import Inspector
from models import checkpoint
from models.states import STATE

LEFT = ".padim-*"


def leftovers(*folders: Path) -> list[Path]:
    """Temporary folders and commits in `folders`, and temporary files of others."""
    found = [path for folder in folders for path in folder.rglob(LEFT)]
    return found + [path for folder in folders for path in folder.rglob("*.tmp*")]


def problems(folder: Path) -> list[str]:
    """A line for each file in `folder` that is not whole. Temporary files are passed over."""
    return list(_problems(folder))


def _problems(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        inner = path.relative_to(folder).parts
        if any(part.startswith(".padim-") for part in inner) or not path.is_file():
            continue
        check = CHECKS.get(path.name) or CHECKS.get(path.suffix)
        if check is None:
            continue
        try:
            check(path)
        except Exception as error:  # whatever it is, it is what this script looks for
            yield f"{path}: {type(error).__name__}: {error}"


def exported(folder: Path) -> str | None:
    """What is wrong with the export in `folder`, after it is opened as infer.py does."""
    try:
        Inspector.open(folder).load()
    except Exception as error:  # as above
        return f"{folder}: {type(error).__name__}: {error}"
    return f"{folder}: {COMMIT} stayed" if (folder / COMMIT).exists() else None


def _text(ending: str) -> Callable[[Path], None]:
    def check(path: Path) -> None:
        if not path.read_text("utf-8").rstrip().endswith(ending):
            raise ValueError(f"does not end with {ending}")

    return check


def _table(path: Path) -> None:
    with path.open(encoding="utf-8", newline="") as file:
        lengths = {len(row) for row in csv.reader(file)}
    if len(lengths) != 1:
        raise ValueError(f"rows of {lengths} fields")


def _picture(path: Path) -> None:
    with Image.open(path) as picture:
        picture.load()


CHECKS: dict[str, Callable[[Path], object]] = {
    "best.pdparams": checkpoint.load,
    "training.state": lambda path: checkpoint.load(path, STATE),
    ".png": _picture,
    ".npy": np.load,
    ".csv": _table,
    ".html": _text("</html>"),
    ".json": lambda path: json.loads(path.read_text("utf-8")),
}
