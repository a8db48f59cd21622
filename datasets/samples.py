"""What a data set is made of: pictures, their labels, their masks."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from common.errors import UsageError, WorkError
from datasets.transforms import (
    SUFFIXES,
    BadPictureError,
    picture_size,
    read_mask,
    read_picture,
)

GOOD = "good"


@dataclass(frozen=True)
class Sample:
    """One picture. `kind` is `good` or the name of a defect; `mask` only where there is one."""

    path: Path
    kind: str = GOOD
    mask: Path | None = None

    @property
    def defective(self) -> bool:
        return self.kind != GOOD


@dataclass(frozen=True)
class Category:
    """Pictures of one product: good ones to learn from, others to test with."""

    name: str
    train: list[Sample]
    test: list[Sample]


def pictures_in(folder: Path, recursive: bool = False) -> list[Path]:
    """The picture files in `folder`, by their endings, sorted; hidden ones are not pictures."""
    return sorted(
        path
        for path in (_below(folder) if recursive else folder.iterdir())
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


def _below(folder: Path) -> Iterator[Path]:
    """All files below `folder`, through links too; OSError where a folder may not be read."""

    def refuse(error: OSError):
        raise error

    seen = set()
    for root, folders, files in os.walk(folder, followlinks=True, onerror=refuse):
        real = Path(root).resolve()
        folders[:] = (
            [name for name in folders if not name.startswith(".")] if real not in seen else []
        )
        yield from (Path(root) / name for name in files if real not in seen)
        seen.add(real)  # a link may lead back up


def masks_in(folder: Path | None) -> dict[str, Path]:
    """The mask files in `folder`, if it is there, by their names without ending."""
    if folder is None or not folder.is_dir():
        return {}
    return {path.stem: path for path in reversed(pictures_in(folder))}


def find_mask(picture: Path, masks: dict[str, Path]) -> Path | None:
    """`<name>_mask` or `<name>` of `masks_in`, whichever comes first."""
    return masks.get(f"{picture.stem}_mask") or masks.get(picture.stem)


def require_training(category: Category, where: Path) -> None:
    """Two good pictures at least, or UsageError."""
    if len(category.train) < 2:
        raise UsageError(
            f"{where}: {len(category.train)} pictures to train with; at least 2 good ones are "
            f"needed ({', '.join(sorted(SUFFIXES))})"
        )


def require_test(category: Category, where: Path) -> None:
    """A test picture at least, or UsageError."""
    if not category.test:
        raise UsageError(
            f"{where}: no test pictures to validate with (test/good and test/<defect>, or "
            "--test_normal_dir and --abnormal_dir)"
        )


def check_masks(samples: list[Sample], skip_bad: bool = False) -> None:
    """Every mask must have its picture's size; headers alone are read. Raises WorkError."""
    for sample in samples:
        if sample.mask is None:
            continue
        try:
            if picture_size(sample.path) == picture_size(sample.mask):
                continue
            # Orientation may stand behind the pixels, where only decoding finds it.
            picture, mask = read_picture(sample.path).size, read_mask(sample.mask).shape[::-1]
        except BadPictureError:
            if skip_bad:
                continue
            raise
        if picture != mask:
            raise WorkError(
                f"{sample.mask}: is {mask[0]}×{mask[1]}, but its picture {sample.path.name} is "
                f"{picture[0]}×{picture[1]}; a mask must have its picture's size"
            )
