"""Plain folders: one of good pictures to train with, others to test with, and their masks."""

from pathlib import Path

from common.errors import UsageError
from datasets.samples import (
    Category,
    Sample,
    find_mask,
    masks_in,
    pictures_in,
    require_folder,
)
from datasets.transforms import SUFFIXES

DEFECT = "defect"


def open_folders(
    name: str,
    normal: Path | None = None,
    test_normal: Path | None = None,
    abnormal: Path | None = None,
    masks: Path | None = None,
) -> Category:
    """A category from the folders given; masks are found by the names of their pictures.

    Errors name the settings normal_dir, test_normal_dir, abnormal_dir and mask_dir.
    """
    known = _masks(masks, abnormal)
    test = [Sample(path) for path in _pictures(test_normal, "test_normal_dir")]
    for path in _pictures(abnormal, "abnormal_dir"):
        test.append(Sample(path, DEFECT, find_mask(path, known)))
    if known and not any(sample.mask for sample in test):
        raise UsageError(
            f"{masks}: none of its {len(known)} pictures has the name of a defective picture; "
            "expected <name>_mask.png or <name>.png",
            "mask_dir",
        )
    return Category(name, [Sample(path) for path in _pictures(normal, "normal_dir")], test)


def _masks(folder: Path | None, pictures: Path | None) -> dict[str, Path]:
    if folder is None:
        return {}
    require_folder(folder, "mask_dir")
    if pictures is not None:
        require_folder(pictures, "abnormal_dir")
        if folder.samefile(pictures):
            text = f"{folder}: masks must not be in the same folder as their pictures"
            raise UsageError(text, "mask_dir")
    return masks_in(folder)


def _pictures(folder: Path | None, setting: str) -> list[Path]:
    if folder is None:
        return []
    require_folder(folder, setting)
    found = pictures_in(folder)
    if not found:
        raise UsageError(f"{folder}: holds no pictures ({', '.join(sorted(SUFFIXES))})", setting)
    return found
