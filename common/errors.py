"""The two ways a command may fail, and how each leaves the process.

Any other exception is a defect of the program and keeps its traceback.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable


class UsageError(Exception):
    """Wrong use: an option, path or folder layout that cannot work. Exit code 2."""


class WorkError(Exception):
    """Right use, failed work: a broken file, a full disk, a bad picture. Exit code 1."""


class Terminated(BaseException):
    """SIGTERM arrived. Not an Exception, so that only clean-up catches it. Exit code 143."""


def run(main: Callable[[], int | None]) -> None:
    """Call `main` and end the process with its exit code, or with that of its error."""
    raise_on_termination()
    if sys.stdout is not None and hasattr(sys.stdout, "reconfigure"):
        # A file name that the terminal's encoding lacks must not cost the other results.
        sys.stdout.reconfigure(errors="backslashreplace")
    code, text = _called(main)
    if text is not None:
        print(f"error: {text}", file=sys.stderr)
    sys.exit(code)


def raise_on_termination() -> None:
    """Have SIGTERM raise Terminated, so that temporary files go; in the main thread only."""

    def terminate(number, frame):
        raise Terminated

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, terminate)


def printable(text: object) -> str:
    """`text` on one line: control characters and what is no Unicode as escapes."""
    return "".join(c if c.isprintable() else _escaped(c) for c in str(text))


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _called(main: Callable[[], int | None]) -> tuple[int, str | None]:
    """The exit code of `main`, and the error's text if it is one that users can cause."""
    try:
        code = main() or 0
        if sys.stdout is not None:
            sys.stdout.flush()
        return code, None
    except UsageError as error:
        return 2, printable(error)
    except WorkError as error:
        return 1, printable(error)
    except ModuleNotFoundError as error:
        onnx = (error.name or "").partition(".")[0] in ("onnx", "onnxruntime", "paddle2onnx")
        needed = "requirements-onnx.txt" if onnx else "requirements.txt"
        hint = f"pip install -r {needed}, in the environment that runs this"
        return 1, f"the package {error.name} is not installed: {hint}"
    except KeyboardInterrupt:
        return 130, "interrupted"
    except Terminated:
        return 143, "terminated"
    except BrokenPipeError:
        _drop_stdout()  # the reader of our results (`| head`) is gone, and knows
        return 141, None
    except OSError as error:
        _drop_stdout()
        where = error.filename if error.filename is not None else "reading or writing"
        return 1, printable(f"{where}: {error.strerror or error}")


def _drop_stdout() -> None:
    """What Python still holds for stdout must not raise a second time at exit."""
    if sys.stdout is not None and sys.stdout is sys.__stdout__:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
