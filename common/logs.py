"""Messages go to stderr and, for a run worth keeping, to a file; results go to stdout."""

import logging
import os
import sys
import tempfile
import warnings
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

from common.errors import UsageError, message, printable
from common.files import writable_folder

OURS = (
    "__main__",
    "benchmarks",
    "common",
    "datasets",
    "demo_set",
    "evaluation",
    "inspection",
    "models",
    "tasks",
)


def start_logging() -> None:
    """Our messages of level INFO and above on stderr; warnings and above of others.

    Python's own warnings (of Pillow, NumPy, Paddle) are for developers: `python -W default` shows
    them.
    """
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Console())
    handler.addFilter(_for_the_console)
    root = logging.getLogger()
    root.handlers = [handler]
    for name in OURS:  # not the root: Paddle 2.6 sets that back while it converts a network
        logging.getLogger(name).setLevel(logging.INFO)


@contextmanager
def log_file(folder: Path, name: str):
    """All messages also into `<folder>/<name>.log`, behind those of earlier runs."""
    path = writable_folder(folder, "log_dir") / f"{name}.log"
    if path.exists() and not path.is_file():  # opening a pipe would wait for its reader
        raise UsageError(f"{path} is not a regular file; remove it", "log_dir")
    try:
        handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", "log_dir") from error
    handler.setFormatter(_Printable("%(asctime)s %(levelname)s %(message)s"))
    logging.getLogger().addHandler(handler)
    try:
        yield
    except BaseException as error:
        text = message(error) or {KeyboardInterrupt: "interrupted"}.get(type(error), "terminated")
        failure = {"name": __name__, "levelno": logging.ERROR, "levelname": "ERROR", "msg": text}
        handler.handle(logging.makeLogRecord(failure))  # stderr gets it from `errors.run`
        raise
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()


@contextmanager
def stdout_to_stderr():
    """What a library prints meanwhile, in C++ and in Python, is no result of ours."""
    with _redirected(1, 2), redirect_stdout(sys.stderr):
        yield


@contextmanager
def silent_stderr():
    """Keep back what a library says on stderr meanwhile, and let it be heard if it fails."""
    with tempfile.TemporaryFile("w+", errors="backslashreplace") as kept:
        try:
            with _redirected(2, kept.fileno()), redirect_stderr(kept):
                yield
        except BaseException:
            kept.seek(0)
            sys.stderr.write(kept.read())
            raise


@contextmanager
def _redirected(descriptor: int, target: int):
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    kept = os.dup(descriptor)
    try:
        os.dup2(target, descriptor)
        yield
    finally:
        os.dup2(kept, descriptor)
        os.close(kept)


class _Printable(logging.Formatter):
    """Control characters, of file names for example, as escapes; lines stay lines."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(map(printable, super().format(record).split("\n")))


class _Console(_Printable):
    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return text if record.levelno <= logging.INFO else f"{record.levelname.lower()}: {text}"


def _for_the_console(record: logging.LogRecord) -> bool:
    """Not what is for the log file alone, nor what a bar on a terminal shows already."""
    if getattr(record, "file_only", False):
        return False
    return not (getattr(record, "progress", False) and sys.stderr.isatty())
