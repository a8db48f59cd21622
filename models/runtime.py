"""The environment that Paddle is imported in."""

import os
import tempfile
import warnings

_substitute: tempfile.TemporaryDirectory | None = None


def prepare() -> None:
    """Set the environment for Paddle, before its first import; again it changes nothing.

    Paddle's C++ side prints warnings about its own internals on stderr and its Python side
    misses ccache, which only compiling custom operators needs. Users cannot act on either;
    errors are still printed.

    Paddle writes below the home folder when it is imported and when it converts a network. A
    container may have none: then a temporary folder of this process takes its place.
    """
    global _substitute
    os.environ.setdefault("GLOG_minloglevel", "2")
    warnings.filterwarnings("ignore", message="No ccache found")
    home = os.path.expanduser("~")  # noqa: PTH111 - Path.home() raises where there is none
    if not os.access(home, os.W_OK | os.X_OK) or not os.path.isdir(home):  # noqa: PTH112
        _substitute = tempfile.TemporaryDirectory(prefix="padim-home-")
        os.environ["HOME"] = _substitute.name


def substitute_home() -> str | None:
    """The folder that stands in for a missing home folder, None where there is a home."""
    return None if _substitute is None else _substitute.name
