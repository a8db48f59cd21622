"""Writes Paddle layers as static graphs."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paddle
from paddle import nn

from common.errors import WorkError
from models.grids import Grid


def save_graph(layer: nn.Layer, size: Grid, prefix: Path) -> tuple[Path, Path]:
    """Write `layer` for pictures of `size` as `prefix`.json (2.x: .pdmodel) and .pdiparams.

    WorkError where the files cannot be written.
    """
    spec = [paddle.static.InputSpec([None, 3, *size], "float32", "image")]
    # Without full_graph Paddle 3 ignores the specification.
    graph = paddle.jit.to_static(layer, full_graph=True, input_spec=spec)
    try:
        paddle.jit.save(graph, str(prefix))
    except (OSError, RuntimeError) as error:
        free = shutil.disk_usage(prefix.parent).free
        raise WorkError(
            f"{prefix.parent}: the graph cannot be written ({_last_line(error)}); {free / 1e6:.0f} "
            "MB are free there. Free some space, or set TMPDIR to another folder"
        ) from error
    prefix.with_suffix(".pdiparams.info").unlink(missing_ok=True)  # 2.x; nothing reads it
    model = next(p for s in (".json", ".pdmodel") if (p := prefix.with_suffix(s)).exists())
    return model, prefix.with_suffix(".pdiparams")


@contextmanager
def paddle_folder(folder: Path) -> Iterator[Path]:
    """`folder`, or a temporary one whose files are moved to it at the end.

    Paddle takes paths as UTF-8 text only, but names of folders may hold any bytes.
    """
    if is_utf8(folder):
        yield folder
        return
    with tempfile.TemporaryDirectory() as temporary:
        yield Path(temporary)
        for path in sorted(Path(temporary).iterdir()):
            shutil.move(path, folder / path.name)


def is_utf8(path: Path) -> bool:
    try:
        str(path.resolve()).encode()
    except UnicodeEncodeError:
        return False
    return True


def _last_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__
