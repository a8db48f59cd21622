"""Detectors: what turns pictures into scores. Paddle is imported on first use only.

A detector has two verbs, whatever the method behind it: `fit(batches)` learns from good
pictures, `score(images)` answers with one score a picture and one anomaly map a picture.
"""

import os
import tempfile
import warnings

# Paddle's C++ side prints warnings about its own internals on stderr and its Python side
# misses ccache, which only compiling custom operators needs. Both are noise to our users;
# errors still come through.
os.environ.setdefault("GLOG_minloglevel", "2")
warnings.filterwarnings("ignore", message="No ccache found")

# Paddle writes below the home folder when it is imported and when it converts a network; in a
# container there may be none. A folder for this process alone serves as well.
SUBSTITUTE_HOME = None
_home = os.path.expanduser("~")  # noqa: PTH111 - Path.home() raises where there is none
if not os.access(_home, os.W_OK | os.X_OK) or not os.path.isdir(_home):  # noqa: PTH112
    SUBSTITUTE_HOME = tempfile.TemporaryDirectory(prefix="padim-home-")
    os.environ["HOME"] = SUBSTITUTE_HOME.name

METHODS = ("padim",)


def build_detector(method: str = "padim", **settings):
    """A detector that has learned nothing yet; `settings` are those of its class's `build`."""
    return _detector_class(method).build(**settings)


def load_detector(path, **engine):
    """The detector in the checkpoint `path`, ready to score; `engine`: fields of `Engine`.

    Raises WorkError where the file is truncated, not ours, or of another format version.
    """
    from models import checkpoint

    tensors, record = checkpoint.load(path)
    with checkpoint.reading(path):
        return _detector_class(record["method"]).from_state(tensors, record, **engine)


def _detector_class(method: str):
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; there are {', '.join(METHODS)}")
    from models.padim import PaDiM

    return {"padim": PaDiM}[method]
