"""Errors that users can cause, and the exit code of each.

Any other exception is a defect of the program and keeps its traceback.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable

from common.signals import watch

OPTIONAL = {
    "requirements-onnx.txt": ("onnx", "onnxruntime", "paddle2onnx"),
    "requirements-serve.txt": ("fastapi", "fastapi_swagger", "uvicorn", "prometheus_client"),
}
MESSAGE_LENGTH = 600  # characters of a message on stderr; a longer one is cut in the middle


class UsageError(Exception):
    """Wrong use: a setting, path or folder layout that cannot work. Exit code 2.

    `setting` names the parameter at fault. The scripts show it as the option of that name, so that
    library code does not have to know command lines.
    """

    def __init__(self, text: object = "", setting: str | None = None):
        super().__init__(text)
        self.setting = setting


class WorkError(Exception):
    """Correct use, but the work failed: a damaged file, a full disk, a bad picture. Exit code 1."""


class Terminated(BaseException):
    """SIGTERM arrived. Not an Exception, so that only clean-up code catches it. Exit code 143."""


def message(error: BaseException) -> str:
    """The text of `error` for a user of the scripts, with the option at fault at its beginning."""
    setting = getattr(error, "setting", None)
    return str(error) if setting is None else f"--{setting}: {error}"


def run(main: Callable[[], int | None]) -> None:
    """Call `main` and end the process with the exit code of `main` or of its error."""
    if not watch():
        raise_on_termination()
    _open_closed_streams()
    if sys.stdout is not None and hasattr(sys.stdout, "reconfigure"):
        # A file name that the terminal cannot encode must not stop the other results.
        sys.stdout.reconfigure(errors="backslashreplace")
    code, text = _called(main)
    if text is not None:
        print(f"error: {text}", file=sys.stderr)
    sys.exit(code)


def raise_on_termination() -> None:
    """Make SIGTERM raise Terminated, where `watch` cannot be; main thread only."""

    def terminate(number, frame):
        raise Terminated

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, terminate)


def printable(text: object) -> str:
    """`text` on one line, with control characters and invalid Unicode as escapes."""
    return "".join(c if c.isprintable() else _escaped(c) for c in str(text))


def shortened(text: str, most: int = MESSAGE_LENGTH) -> str:
    """`text` with at most `most` characters: a longer one is cut in the middle."""
    if len(text) <= most:
        return text
    half = (most - 5) // 2
    return f"{text[:half]} ... {text[-half:]}"


def listed(names: Iterable[object], most: int = 5) -> str:
    """`a, b, c and 118 more`."""
    names = list(names)
    text = ", ".join(shortened(str(name), 80) for name in names[:most])
    return text if len(names) <= most else f"{text} and {len(names) - most} more"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _called(main: Callable[[], int | None]) -> tuple[int, str | None]:
    """The exit code of `main`, and the text of an error that users can cause."""
    try:
        code = main() or 0
        if sys.stdout is not None:
            sys.stdout.flush()
        return code, None
    except UsageError as error:
        return 2, _line(error)
    except WorkError as error:
        return 1, _line(error)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        needed = next(
            (file for file, names in OPTIONAL.items() if package in names), "requirements.txt"
        )
        hint = f"run pip install -r {needed} in the environment that runs this program"
        return 1, f"the package {error.name} is not installed: {hint}"
    except KeyboardInterrupt:
        return 130, "interrupted"
    except Terminated:
        return 143, "terminated"
    except BrokenPipeError:
        _drop_stdout()  # the reader of the results (for example `| head`) has ended
        return 141, None
    except OSError as error:
        _drop_stdout()
        where = error.filename if error.filename is not None else "reading or writing"
        return 1, shortened(printable(f"{where}: {error.strerror or error}"))


def _line(error: BaseException) -> str:
    return shortened(printable(message(error)))


def _open_closed_streams() -> None:
    """If stdout or stderr was closed at the start, open the null device in its place.

    Otherwise the next opened file gets this descriptor, and messages are written into that file.
    """
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_WRONLY)
            if null != descriptor:
                os.dup2(null, descriptor)
                os.close(null)
            setattr(sys, name, open(descriptor, "w", closefd=False))  # noqa: SIM115, PTH123


def _drop_stdout() -> None:
    """Discard buffered output, so that Python does not raise the error again at exit."""
    if sys.stdout is not None and sys.stdout is sys.__stdout__:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
