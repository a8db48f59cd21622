"""What may be where a file is expected."""

import os
from pathlib import Path


def occupy(path: Path, kind: str) -> None:
    """Put a `kind` of thing, which is no regular file, at `path`."""
    if kind == "a folder":
        path.mkdir()
    elif kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a device":
        path.symlink_to("/dev/zero")
    elif kind == "a dangling link":
        path.symlink_to("nowhere")
    elif kind == "a link to itself":
        path.symlink_to(path.name)
    else:
        raise ValueError(kind)
