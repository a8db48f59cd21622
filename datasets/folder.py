"""Plain folders: one of good pictures to learn from, others to test with, masks if there are."""

from pathlib import Path

from common.errors import UsageError
from datasets.samples import Category, Sample, find_mask, masks_in, pictures_in

DEFECT = "defect"


def open_folders(
    name: str,
    normal: Path | None = None,
    test_normal: Path | None = None,
    abnormal: Path | None = None,
    masks: Path | None = None,
) -> Category:
    """A category from the folders given; masks are found by their pictures' names."""
    if masks is not None and not masks.is_dir():
        raise UsageError(f"--mask_dir {masks}: no such folder")
    if masks is not None and abnormal is not None and masks.resolve() == abnormal.resolve():
        raise UsageError(f"--mask_dir {masks}: masks must not lie among the pictures")
    known = masks_in(masks)
    test = [Sample(path) for path in _pictures(test_normal, "--test_normal_dir")]
    for path in _pictures(abnormal, "--abnormal_dir"):
        test.append(Sample(path, DEFECT, find_mask(path, known)))
    if known and not any(sample.mask for sample in test):
        raise UsageError(
            f"--mask_dir {masks}: none of its {len(known)} pictures is named after one of "
            f"--abnormal_dir; expected <name>_mask.png or <name>.png"
        )
    return Category(name, [Sample(path) for path in _pictures(normal, "--normal_dir")], test)


def _pictures(folder: Path | None, option: str) -> list[Path]:
    if folder is None:
        return []
    if not folder.is_dir():
        raise UsageError(f"{option} {folder}: no such folder")
    found = pictures_in(folder)
    if not found:
        raise UsageError(f"{option} {folder}: holds no pictures")
    return found
