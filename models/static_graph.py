"""Writes Paddle layers as static graphs."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import paddle
from paddle import nn

from common.errors import WorkError
from common.files import is_utf8
from common.temporary import LOCK, temporary_folder
from models.grids import Grid

GRAPH_BYTES = 2**20  # largest size of a graph without its parameters
LEAST_FREE = 2**16  # free bytes of a disk that is not full


def save_graph(layer: nn.Layer, size: Grid, prefix: Path) -> tuple[Path, Path]:
    """Write `layer` for pictures of `size` as `prefix`.json (2.x: .pdmodel) and .pdiparams.

    WorkError if the files cannot be written.
    """
    size_needed = sum(4 * int(np.prod(t.shape)) for t in layer.state_dict().values()) + GRAPH_BYTES
    if shutil.disk_usage(prefix.parent).free < size_needed:
        raise _full(prefix.parent)
    spec = [paddle.static.InputSpec([None, 3, *size], "float32", "image")]
    # Without full_graph Paddle 3 ignores the specification.
    graph = paddle.jit.to_static(layer, full_graph=True, input_spec=spec)
    try:
        paddle.jit.save(graph, str(prefix))
    except (OSError, RuntimeError) as error:
        raise _full(prefix.parent) from error
    prefix.with_suffix(".pdiparams.info").unlink(missing_ok=True)  # Paddle 2 writes it; not needed
    model = next(p for s in (".json", ".pdmodel") if (p := prefix.with_suffix(s)).exists())
    params = prefix.with_suffix(".pdiparams")
    # Paddle does not report a full disk.
    empty = min(model.stat().st_size, params.stat().st_size) == 0
    if empty or shutil.disk_usage(prefix.parent).free < LEAST_FREE:
        raise _full(prefix.parent)
    return model, params


def _full(folder: Path) -> WorkError:
    free = shutil.disk_usage(folder).free
    return WorkError(
        f"{folder}: the graph cannot be written, only {free / 1e6:.1f} MB are free; free some "
        "space, or use another folder (the environment variable TMPDIR sets the temporary folder)"
    )


@contextmanager
def paddle_folder(folder: Path) -> Iterator[Path]:
    """`folder`, or a temporary folder whose files are moved to `folder` at the end.

    Paddle accepts only paths in UTF-8, but folder names may contain any bytes.
    """
    if is_utf8(folder):
        yield folder
        return
    with temporary_folder() as temporary:
        yield temporary
        for path in sorted(temporary.iterdir()):
            if path.name != LOCK:
                shutil.move(path, folder / path.name)
