"""The MVTec AD layout: train/good, test/good, test/<defect>, ground_truth/<defect>."""

from pathlib import Path

from common.errors import UsageError
from datasets.samples import (
    GOOD,
    Category,
    Sample,
    find_mask,
    masks_in,
    pictures_in,
    require_folder,
)

LAYOUT = "category folders in MVTec AD's layout (<category>/train/good, <category>/test/...)"


def find_categories(data_path: Path) -> list[str]:
    """Names of the category folders in `data_path`: those with `train/good` or `test`."""
    require_folder(data_path, "data_path", f"a folder of {LAYOUT}")
    found = [name for name in _folders(data_path) if _is_category(data_path / name)]
    if not found:
        hint = (
            f"it is a category itself; name its parent folder {data_path.parent}, and the "
            f"category {data_path.name}"
            if _is_category(data_path)
            else f"expected {LAYOUT}"
        )
        raise UsageError(f"{data_path}: holds no category folder; {hint}", "data_path")
    return found


def choose_categories(data_path: Path, category: str) -> list[str]:
    """`category` alone, or for `all` every category in `data_path`."""
    found = find_categories(data_path)
    if category == "all":
        return found
    if category not in found:
        raise UsageError(
            f"{category}: not in {data_path}; found: {', '.join(found)} (or `all`)", "category"
        )
    return [category]


def open_category(data_path: Path, name: str) -> Category:
    """The pictures of category `name`; folders that do not exist count as empty."""
    root = data_path / name
    train = [Sample(path) for path in _pictures(root / "train" / GOOD)]
    test = []
    for kind in _folders(root / "test"):
        masks = masks_in(root / "ground_truth" / kind if kind != GOOD else None)
        test += [Sample(p, kind, find_mask(p, masks)) for p in _pictures(root / "test" / kind)]
    return Category(name, train, test)


def _folders(folder: Path) -> list[str]:
    """Names of the folders in `folder`, if it exists; hidden ones (.git) hold no pictures."""
    if not folder.is_dir():
        return []
    return sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _is_category(folder: Path) -> bool:
    return (folder / "train" / GOOD).is_dir() or (folder / "test").is_dir()


def _pictures(folder: Path) -> list[Path]:
    return pictures_in(folder) if folder.is_dir() else []
