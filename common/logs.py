"""Messages go to stderr and, for a run worth keeping, to a file; results go to stdout."""

import logging
import sys
from contextlib import contextmanager
from pathlib import Path

from common.errors import UsageError
from common.files import writable_folder


def start_logging() -> None:
    """Messages of level INFO and above on stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Console())
    handler.addFilter(_for_the_console)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)


@contextmanager
def log_file(folder: Path, name: str):
    """All messages also into `<folder>/<name>.log`, behind those of earlier runs."""
    path = writable_folder(folder, "--log_dir") / f"{name}.log"
    try:
        handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise UsageError(f"--log_dir: {path}: {error.strerror}") from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.getLogger().addHandler(handler)
    try:
        yield
    except BaseException as error:
        text = str(error) or {KeyboardInterrupt: "interrupted"}.get(type(error), "terminated")
        failure = {"name": __name__, "levelno": logging.ERROR, "levelname": "ERROR", "msg": text}
        handler.handle(logging.makeLogRecord(failure))  # stderr gets it from `errors.run`
        raise
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()


class _Console(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return text if record.levelno <= logging.INFO else f"{record.levelname.lower()}: {text}"


def _for_the_console(record: logging.LogRecord) -> bool:
    """Not what is for the log file alone, nor what a bar on a terminal shows already."""
    if getattr(record, "file_only", False):
        return False
    return not (getattr(record, "progress", False) and sys.stderr.isatty())
