"""Messages go to stderr and, in training, also to a file; results go to stdout."""

import ctypes
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Callable
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

from common.errors import UsageError, message, printable
from common.files import writable_folder
from common.signals import at_end

logger = logging.getLogger(__name__)

OURS = (
    "__main__",
    "benchmarks",
    "common",
    "datasets",
    "demo_set",
    "evaluation",
    "inspection",
    "models",
    "page",
    "service",
    "tasks",
)


def start_logging() -> None:
    """Show our messages of level INFO and above on stderr, and warnings and above of libraries.

    Python warnings (of Pillow, NumPy, Paddle) are for developers: `python -W default` shows them.
    """
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Console())
    handler.addFilter(_for_the_console)
    root = logging.getLogger()
    root.handlers = [handler]
    for name in OURS:  # not the root: Paddle 2.6 resets its level while it converts a network
        logging.getLogger(name).setLevel(logging.INFO)


@contextmanager
def log_file(folder: Path, name: str):
    """Append all messages to `<folder>/<name>.log`, too."""
    path = writable_folder(folder, "log_dir") / f"{name}.log"
    if path.exists() and not path.is_file():  # opening a pipe would wait for its reader
        raise UsageError(
            f"{path} is not a regular file; remove it, or choose another folder", "log_dir"
        )
    try:
        handler = _LogFile(path, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror})", "log_dir") from error
    handler.setFormatter(_Printable("%(asctime)s %(levelname)s %(message)s"))
    logging.getLogger().addHandler(handler)

    def failed(text: str) -> None:
        failure = {"name": __name__, "levelno": logging.ERROR, "levelname": "ERROR", "msg": text}
        handler.handle(logging.makeLogRecord(failure))  # `errors.run` writes it to stderr

    try:
        with at_end(failed):
            yield
    except BaseException as error:
        failed(message(error) or {KeyboardInterrupt: "interrupted"}.get(type(error), "terminated"))
        raise
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()


@contextmanager
def stdout_to_stderr():
    """Send what a library prints on stdout, in C++ and Python, to stderr: it is not a result."""
    with _redirected(1, 2), redirect_stdout(sys.stderr):
        yield


@contextmanager
def silent_stderr():
    """Hide what a library writes to stderr; show it if the library fails."""
    with _silent(2, redirect_stderr):
        yield


@contextmanager
def silent_stdout():
    """As `silent_stderr`, but for stdout, where only results belong."""
    with _silent(1, redirect_stdout):
        yield


@contextmanager
def _silent(descriptor: int, redirect: Callable):
    with tempfile.TemporaryFile("w+", errors="backslashreplace") as kept:
        try:
            with _redirected(descriptor, kept.fileno()), redirect(kept):
                yield
        except BaseException:
            kept.seek(0)
            sys.stderr.write(kept.read())
            raise


@contextmanager
def _redirected(descriptor: int, target: int):
    _flush()
    kept = os.dup(descriptor)
    try:
        os.dup2(target, descriptor)
        yield
    finally:
        _flush()
        os.dup2(kept, descriptor)
        os.close(kept)


def _flush() -> None:
    """Write what Python and C keep of both streams, which is for the present descriptors."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    if os.name == "posix":
        ctypes.CDLL(None).fflush(None)


class _LogFile(logging.FileHandler):
    """A disk that is full costs messages, not the work: that is said once."""

    full = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - its name
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self.full:
            self.full = True
            logger.warning("%s: messages are lost: %s", self.baseFilename, error.strerror or error)

    def close(self) -> None:
        try:
            super().close()
        except OSError:
            if not self.full:
                raise


class _Printable(logging.Formatter):
    """Writes control characters, for example in file names, as escapes.

    Line breaks stay in a message that was logged with `extra={"lines": True}`, and in tracebacks.
    """

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if getattr(record, "lines", False) or record.exc_info:
            return "\n".join(map(printable, text.split("\n")))
        return printable(text)


class _Console(_Printable):
    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return text if record.levelno <= logging.INFO else f"{record.levelname.lower()}: {text}"


def _for_the_console(record: logging.LogRecord) -> bool:
    """False for messages for the log file only, and for progress that a bar already shows."""
    if getattr(record, "file_only", False):
        return False
    return not (getattr(record, "progress", False) and sys.stderr.isatty())
