"""Detectors: what turns pictures into scores. Paddle is imported on first use only.

A detector has two verbs, whatever the method behind it: `fit(batches)` learns from good
pictures, `score(images)` answers with one score a picture and one anomaly map a picture.
"""

from models.runtime import prepare

prepare()

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
