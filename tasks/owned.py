"""Folders of results name the model that they are of, so that those of another are not lost."""

import json
import logging
from collections.abc import Sequence
from itertools import count
from pathlib import Path

from common.errors import UsageError, printable
from common.files import whole_file, writable_folder

logger = logging.getLogger(__name__)

MARK = ".model.json"  # the file that names the model


def owned_folder(
    folder: Path, setting: str, model: Path | str, digests: Sequence[str], usual: bool = False
) -> Path:
    """`folder`, made writable and marked as that of `model`, whose arrays have `digests`.

    A folder is another model's if its mark has another path and other digests: a model that was
    trained again, or moved, keeps its folder. In place of such a folder, a `usual` one, which
    nobody chose, gets a number; otherwise UsageError.
    """
    path = str(Path(model).resolve()) if isinstance(model, Path) else str(model)
    mark = {"model": path, "arrays_sha256": list(digests)}
    for number in count(2):
        candidate = folder if number == 2 else folder.with_name(f"{folder.name}_{number - 1}")
        writable_folder(candidate, setting)
        other = owner(candidate)
        if other is None or any(other.get(key) == mark[key] for key in mark):
            break
        if not usual:
            raise UsageError(
                f"{candidate}: has results of another model, {printable(other.get('model'))}; "
                f"choose another folder, or delete {candidate / MARK} to overwrite them",
                setting,
            )
    with whole_file(candidate / MARK) as temporary:
        temporary.write_text(json.dumps(mark) + "\n", encoding="utf-8")
    return candidate


def warn_of_results(folder: Path, model: Path | str) -> None:
    """Warn if the results of a validation in `folder` are of another model than `model`."""
    try:
        found = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        other = found["model"]["path"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return  # none, or none that can be read
    if isinstance(other, str) and Path(other).resolve() != Path(model).resolve():
        logger.warning(
            "%s: its results, of the model %s, are replaced; another --save_path keeps them",
            *(folder, printable(other)),
        )


def owner(folder: Path) -> dict | None:
    """The mark of a folder; None if it has none that can be read."""
    try:
        found = json.loads((folder / MARK).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
