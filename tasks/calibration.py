"""The good pictures of --calibration_dir."""

from pathlib import Path

from common.errors import UsageError, WorkError
from datasets.samples import Sample, pictures_in, require_folder


def held_out_samples(folder: Path, category: str, several: bool) -> list[Sample]:
    """The pictures of `category` in --calibration_dir: in a folder of its name, or else, for one
    category, in `folder` itself. UsageError if there are fewer than two."""
    require_folder(folder, "calibration_dir")
    own = folder / category
    if several or own.is_dir():
        folder = own
        require_folder(folder, "calibration_dir")
    found = pictures_in(folder, recursive=True)
    if len(found) < 2:
        raise UsageError(
            f"{folder}: {len(found)} good pictures; calibration needs at least 2, better 100",
            "calibration_dir",
        )
    return [Sample(path) for path in found]


def require_readable(read: int, samples: list[Sample]) -> None:
    """WorkError if too few of the `samples` could be read."""
    if read < 2:
        raise WorkError(
            f"only {read} of the {len(samples)} pictures in --calibration_dir can be read; "
            "calibration needs at least 2, better 100"
        )
