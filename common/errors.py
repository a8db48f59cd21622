"""The two ways a command may fail, and how each leaves the process.

Any other exception is a defect of the program and keeps its traceback.
"""

import os
import sys
from collections.abc import Callable


class UsageError(Exception):
    """Wrong use: an option, path or folder layout that cannot work. Exit code 2."""


class WorkError(Exception):
    """Right use, failed work: a broken file, a full disk, a bad picture. Exit code 1."""


def run(main: Callable[[], int | None]) -> None:
    """Call `main` and end the process with its exit code, or with that of its error."""
    try:
        code = main() or 0
        sys.stdout.flush()
    except (UsageError, WorkError) as error:
        print(f"error: {error}", file=sys.stderr)
        code = 2 if isinstance(error, UsageError) else 1
    except ModuleNotFoundError as error:
        hint = "pip install -r requirements.txt, in the environment that runs this"
        print(f"error: the package {error.name} is not installed: {hint}", file=sys.stderr)
        code = 1
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        code = 130
    except BrokenPipeError:
        # The reader of our results (`| head`) is gone; what Python still holds for it
        # must not raise a second time at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    sys.exit(code)
