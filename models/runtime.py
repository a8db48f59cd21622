"""Prepares the process before Paddle is imported."""

import atexit
import importlib
import os
import warnings
from contextlib import ExitStack
from functools import cache

from common.signals import kept_handlers
from common.temporary import temporary_folder


@cache
def prepare() -> None:
    """Set up the environment for Paddle; call it before the first import of Paddle.

    Paddle's C++ code writes warnings about its internals to stderr, and its Python code warns about
    a missing ccache, which only custom operators need. Both are hidden; errors are still shown.
    """
    os.environ.setdefault("GLOG_minloglevel", "2")
    warnings.filterwarnings("ignore", message="No ccache found")
    substitute_home()
    # Paddle's handler of SIGTERM writes a C++ stack trace to stdout, and may wait for ever.
    with kept_handlers():
        importlib.import_module("paddle")


@cache
def substitute_home() -> str | None:
    """The temporary folder that replaces the home folder if it cannot be written; otherwise None.

    Paddle writes to the home folder when it is imported and when it converts a network. A container
    may not have one.
    """
    home = os.path.expanduser("~")  # noqa: PTH111 - Path.home() raises an error if there is none
    if os.access(home, os.W_OK | os.X_OK) and os.path.isdir(home):  # noqa: PTH112
        return None
    stack = ExitStack()
    folder = str(stack.enter_context(temporary_folder()))
    atexit.register(stack.close)
    os.environ["HOME"] = folder
    return folder
