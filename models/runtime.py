"""What has to be set in the process before Paddle is imported."""

import os
import tempfile
import warnings
from functools import cache


@cache
def prepare() -> None:
    """Set up the environment for Paddle; call it before the first import of Paddle.

    Paddle's C++ side logs warnings about its own internals on stderr, and its Python side warns
    of a missing ccache, which only custom operators need. Errors still come through.
    """
    os.environ.setdefault("GLOG_minloglevel", "2")
    warnings.filterwarnings("ignore", message="No ccache found")
    substitute_home()


def substitute_home() -> str | None:
    """The temporary folder that replaces a home folder that cannot be written, else None.

    Paddle writes below the home folder when it is imported and when it converts a network; in a
    container there may be none.
    """
    folder = _substitute()
    return None if folder is None else folder.name


@cache
def _substitute() -> tempfile.TemporaryDirectory | None:
    home = os.path.expanduser("~")  # noqa: PTH111 - Path.home() raises where there is none
    if os.access(home, os.W_OK | os.X_OK) and os.path.isdir(home):  # noqa: PTH112
        return None
    folder = tempfile.TemporaryDirectory(prefix="padim-home-")
    os.environ["HOME"] = folder.name
    return folder
