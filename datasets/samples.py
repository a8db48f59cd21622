"""What a data set is made of: pictures, their labels, their masks."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from common.errors import UsageError, WorkError
from datasets.transforms import (
    MAX_PIXELS,
    SUFFIXES,
    BadPictureError,
    Source,
    name_of,
    picture_size,
    read_mask,
    read_picture,
)

GOOD = "good"


@dataclass(frozen=True)
class Sample:
    """One picture. `kind` is `good` or the name of a defect; `mask` only where there is one.

    `path` is a path in a data set; other sources (bytes, arrays) can be decoded, but Samples of
    arrays cannot be compared.
    """

    path: Source
    kind: str = GOOD
    mask: Source | None = None

    @property
    def defective(self) -> bool:
        return self.kind != GOOD


@dataclass(frozen=True)
class Category:
    """Pictures of one product: good ones to learn from, others to test with."""

    name: str
    train: list[Sample]
    test: list[Sample]


def pictures_in(folder: str | Path, recursive: bool = False) -> list[Path]:
    """The picture files in `folder`, by their endings, sorted; hidden files are left out.

    So is what is not a regular file (folders, pipes, devices) and a link that leads nowhere. Raises
    OSError where a folder cannot be read.
    """
    folder = Path(folder)
    return sorted(
        path
        for path in (_below(folder) if recursive else folder.iterdir())
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


def require_folder(folder: Path, setting: str, expected: str = "") -> None:
    """UsageError that names `setting` where `folder` is not a folder that can be reached."""
    try:
        is_folder = stat.S_ISDIR(folder.stat().st_mode)
    except FileNotFoundError:
        is_folder = False
    except (OSError, ValueError) as error:  # a loop of links, a name too long, a null character
        raise UsageError(f"{folder}: {getattr(error, 'strerror', error)}", setting) from error
    if not is_folder:
        raise UsageError(
            f"{folder}: no such folder{expected and f'; expected {expected}'}", setting
        )


def _below(folder: Path) -> Iterator[Path]:
    """All files below `folder`, also through links."""

    def refuse(error: OSError):
        raise error

    seen = set()
    for root, folders, files in os.walk(folder, followlinks=True, onerror=refuse):
        status = Path(root).stat()
        identity = status.st_dev, status.st_ino
        if identity in seen:  # a link may lead back to a folder above
            folders.clear()
            continue
        seen.add(identity)
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(root) / name for name in files)


def masks_in(folder: str | Path | None) -> dict[str, Path]:
    """The mask files in `folder`, if it exists, by their names without ending."""
    if folder is None or not Path(folder).is_dir():
        return {}
    return {path.stem: path for path in reversed(pictures_in(folder))}


def find_mask(picture: Path, masks: dict[str, Path]) -> Path | None:
    """`<name>_mask` or `<name>` of `masks_in`, whichever comes first."""
    return masks.get(f"{picture.stem}_mask") or masks.get(picture.stem)


def require_training(category: Category, where: Path) -> None:
    """UsageError where there are fewer than two good pictures to train with."""
    if len(category.train) < 2:
        raise UsageError(
            f"{where}: {len(category.train)} pictures to train with; at least 2 good ones are "
            f"needed ({', '.join(sorted(SUFFIXES))})"
        )


def require_test(category: Category, where: Path) -> None:
    """UsageError where there is no test picture."""
    if not category.test:
        raise UsageError(
            f"{where}: no test pictures to validate with; expected folders test/good and "
            "test/<defect>, or plain folders of good and defective test pictures"
        )


def check_masks(
    samples: list[Sample], skip_bad: bool = False, max_pixels: int = MAX_PIXELS
) -> None:
    """WorkError where a mask has not its picture's size. Reads headers, pixels only in doubt."""
    for sample in samples:
        if sample.mask is None:
            continue
        try:
            if picture_size(sample.path, max_pixels) == picture_size(sample.mask, max_pixels):
                continue
            # The orientation may come after the pixels in the file, where only decoding finds it.
            picture = read_picture(sample.path, max_pixels).size
            mask = read_mask(sample.mask, max_pixels).shape[::-1]
        except BadPictureError:
            if skip_bad:
                continue
            raise
        if picture != mask:
            raise WorkError(
                f"{name_of(sample.mask)}: {mask[0]}×{mask[1]} pixels, but its picture "
                f"{name_of(sample.path)} has {picture[0]}×{picture[1]}; "
                "a mask must have the size of its picture"
            )
