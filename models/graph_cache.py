"""Keeps the static graphs of networks between processes, in the user's cache folder.

To convert a network to a graph takes longer than to open the graph (docs/benchmarks.md). A graph is
found again by its parameters, so that it never stands for another network; the SHA-256 of its files
are checked, because Paddle ends the process if a graph is damaged.
"""

import hashlib
import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import numpy as np

from common.files import cache_folder, is_utf8, sha256
from common.temporary import temporary_folder

MOST_BYTES = 2**29  # of all graphs; the one that was used last stays in any case
DIGESTS = "sha256"  # the file with the digests of the others

logger = logging.getLogger(__name__)


def key(description: str, arrays: dict[str, np.ndarray]) -> str:
    """Identifies a graph: of the network in `description`, with these `arrays` (any shapes).

    It also depends on the version of Paddle and on the code that builds networks and graphs.
    """
    import paddle

    found = hashlib.sha256(f"{paddle.__version__} {_code()} {description}".encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        found.update(f"\0{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        found.update(array.data)
    return found.hexdigest()


@contextmanager
def graph_files(
    write: Callable[[Path], tuple[Path, Path]], key: str | None = None
) -> Iterator[tuple[Path, Path]]:
    """The files (graph, parameters) of the graph `key`, from the cache or made by `write(prefix)`.

    Without `key`, nothing is kept. A cache that cannot be read or written costs time, not the work.
    """
    place = None if key is None else cache_folder() / "graphs" / key
    if place is not None and not is_utf8(place):  # Paddle accepts no other paths
        place = None
    if place is not None and (found := _found(place)):
        yield found
        return
    with temporary_folder() as folder:
        pair = write(folder / "network")
        yield pair
        if place is not None:
            _keep(place, pair)


def _found(place: Path) -> tuple[Path, Path] | None:
    """The files in `place`, if they are whole."""
    if not place.is_dir():
        return None
    try:
        lines = (place / DIGESTS).read_text().splitlines()
        digests = dict(reversed(line.split("  ", 1)) for line in lines)
        files = [place / name for name in digests]
        if len(files) != 2 or any(sha256(file) != digests[file.name] for file in files):
            raise ValueError("its files changed after they were written")
        place.touch()  # `_sweep` removes the ones that were not used for longest
    except (OSError, ValueError) as error:
        logger.info("%s: the network is converted again (%s)", place, error)
        shutil.rmtree(place, ignore_errors=True)
        return None
    return files[0], files[1]


def _keep(place: Path, pair: tuple[Path, Path]) -> None:
    """Copy the files of a graph to `place`, which gets all of them at once or none."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with temporary_folder(place.parent) as folder:
            draft = folder / "graph"
            draft.mkdir()
            for file in pair:
                shutil.copyfile(file, draft / file.name)
            lines = [f"{sha256(file)}  {file.name}\n" for file in pair]
            (draft / DIGESTS).write_text("".join(lines))
            draft.rename(place)
        _sweep(place)
    except OSError as error:  # FileExistsError: another process was faster
        logger.debug("%s: the graph is not kept: %s", place, error)


def _sweep(newest: Path) -> None:
    """Remove the graphs that were not used for longest, if all take more than MOST_BYTES."""
    graphs, room = [], MOST_BYTES
    for folder in newest.parent.iterdir():
        with suppress(OSError):  # another process may remove it
            if not folder.name.startswith("."):
                graphs.append((folder == newest, folder.stat().st_mtime, folder))
    for is_newest, _, folder in sorted(graphs, reverse=True):
        with suppress(OSError):
            room -= sum(file.stat().st_size for file in folder.iterdir())
        if room < 0 and not is_newest:
            shutil.rmtree(folder, ignore_errors=True)


@cache
def _code() -> str:
    """SHA-256 of the modules that decide what a graph computes."""
    folder, found = Path(__file__).parent, hashlib.sha256()
    modules = sorted(folder.glob("backbones/*.py"))
    for path in (*modules, folder / "layers.py", folder / "static_graph.py"):
        found.update(path.read_bytes())
    return found.hexdigest()
