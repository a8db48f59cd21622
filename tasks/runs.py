"""What all runs share: the loader, warnings, and the log of phases."""

import logging
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path

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


def warn_of_crop(preprocessing: Preprocessing, path: Path, max_pixels: int) -> None:
    """Warn if a large part of the pictures is outside the crop: defects there are not found."""
    try:
        size = picture_size(path, max_pixels)
    except BadPictureError:
        return  # the loader reports it, or skips it
    if (seen := preprocessing.seen(size)) < 0.7:
        logger.warning(
            "the crop covers only %.0f %% of a %d×%d picture; defects outside it are not found. "
            "To use the whole picture, set --resize and --img_size to a HEIGHTxWIDTH with the "
            "same aspect ratio",
            *(100 * seen, *size),
        )


def log_phases() -> dict[str, float]:
    """Write the seconds of every phase since the last call to the log file; returns them."""
    seconds = phase.take()
    text = ", ".join(f"{name} {value:.2f}" for name, value in seconds.items())
    logger.info("seconds: %s", text, extra={"file_only": True})
    return seconds
