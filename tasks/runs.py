"""What every run has in common: pictures loaded, warnings, time accounted for."""

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
    """Adds the remedy of the scripts to the error of a picture that does not decode."""
    try:
        yield
    except BadPictureError as error:
        raise BadPictureError(f"{error} (--skip_bad)", error.setting) from error


def warn_of_crop(preprocessing: Preprocessing, path: Path, max_pixels: int) -> None:
    """Say so where the crop leaves out much of the pictures: defects there are not found."""
    try:
        size = picture_size(path, max_pixels)
    except BadPictureError:
        return  # the loader reports it, or skips it
    if (seen := preprocessing.seen(size)) < 0.7:
        logger.warning(
            "the crop sees %.0f %% of a %d×%d picture; to see all of it, give --resize and "
            "--img_size a HEIGHTxWIDTH of the pictures' shape",
            *(100 * seen, *size),
        )


def log_phases() -> dict[str, float]:
    """One line with the seconds of every phase since the last such line, and the seconds."""
    seconds = phase.take()
    text = ", ".join(f"{name} {value:.2f}" for name, value in seconds.items())
    logger.info("seconds: %s", text)
    return seconds
