"""What all runs share: the loader, warnings, and the log of phases."""

import logging
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path

from common.errors import UsageError
from common.preprocessing import Preprocessing
from common.timing import phase
from datasets.loader import Loader
from datasets.samples import Sample
from datasets.transforms import BadPictureError, Transform, picture_size
from tasks.settings import Loading

logger = logging.getLogger(__name__)


def loader_for(
    samples: Sequence[Sample], preprocessing: Preprocessing, loading: Loading, masks: bool = False
) -> Loader:
    """Batches of `samples`."""
    transform = Transform(preprocessing, loading.max_pixels)
    return Loader(
        samples, transform, loading.batch_size, loading.workers, loading.skip_bad, masks=masks
    )


@contextmanager
def unskipped():
    """Adds the scripts' remedy to the error of a picture that cannot be read."""
    try:
        yield
    except BadPictureError as error:
        raise BadPictureError(f"{error} (--skip_bad skips it)", error.setting) from error


def tell_crop(preprocessing: Preprocessing, path: Path, max_pixels: int) -> None:
    """Say how much of the picture `path` is looked at; warn if a large part of it is not."""
    try:
        size = picture_size(path, max_pixels)
    except BadPictureError:
        return  # the loader reports it, or skips it
    share = 100 * preprocessing.seen(size)
    if share >= 70:
        rest = "" if share > 99.5 else "; defects outside the crop are not found"
        logger.info("%.0f %% of a %d×%d picture is looked at%s", share, *size, rest)
        return
    logger.warning(
        "only %.0f %% of a %d×%d picture is looked at; defects outside the crop are not found. "
        "`train.py --whole` makes a model that looks at all of it",
        share,
        *size,
    )


def whole_of(preprocessing: Preprocessing, path: Path, max_pixels: int) -> Preprocessing:
    """`preprocessing` without a crop of pictures like `path`; UsageError if that cannot be."""
    try:
        return preprocessing.whole(picture_size(path, max_pixels))
    except BadPictureError as error:
        raise UsageError(error, "whole") from error
    except ValueError as error:
        raise UsageError(f"{path}: {error}", "whole") from error


def log_phases() -> dict[str, float]:
    """Write the seconds of every phase since the last call to the log file; returns them."""
    seconds = phase.take()
    text = ", ".join(f"{name} {value:.2f}" for name, value in seconds.items())
    logger.info("seconds: %s", text, extra={"file_only": True})
    return seconds
