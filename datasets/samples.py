"""What a data set is made of: pictures, their labels, their masks."""

from dataclasses import dataclass
from pathlib import Path

from common.errors import UsageError, WorkError
from datasets.transforms import SUFFIXES, BadPictureError, picture_size

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
    """The picture files in `folder`, by their endings, sorted; hidden files are not pictures."""
    found = folder.rglob("*") if recursive else folder.iterdir()
    return sorted(
        p
        for p in found
        if p.suffix.lower() in SUFFIXES and not p.name.startswith(".") and p.is_file()
    )


def find_mask(picture: Path, folder: Path | None) -> Path | None:
    """`<name>_mask.<ending>` or `<name>.<ending>` in `folder`, whichever comes first."""
    if folder is None:
        return None
    for stem in (f"{picture.stem}_mask", picture.stem):
        for suffix in sorted(SUFFIXES):
            if (path := folder / f"{stem}{suffix}").is_file():
                return path
    return None


def require_training(category: Category, where: Path) -> None:
    """Two good pictures at least, or UsageError."""
    if len(category.train) < 2:
        raise UsageError(
            f"{where}: {len(category.train)} pictures to train with; at least 2 good ones are "
            f"needed ({', '.join(sorted(SUFFIXES))})"
        )


def check_masks(samples: list[Sample], skip_bad: bool = False) -> None:
    """Every mask must have its picture's size; headers alone are read. Raises WorkError."""
    for sample in samples:
        if sample.mask is None:
            continue
        try:
            picture, mask = picture_size(sample.path), picture_size(sample.mask)
        except BadPictureError:
            if skip_bad:
                continue
            raise
        if picture != mask:
            raise WorkError(
                f"{sample.mask}: is {mask[0]}×{mask[1]}, but its picture {sample.path.name} is "
                f"{picture[0]}×{picture[1]}; a mask must have its picture's size"
            )
