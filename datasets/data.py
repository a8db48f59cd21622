"""The categories of a run: category folders in MVTec AD's layout, or plain folders of one."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Data:
    """Category folders below `root`, or plain folders where `root` is None.

    names : of the categories
    """

    names: list[str]
    root: Path | None = None
    normal: Path | None = None
    test_normal: Path | None = None
    abnormal: Path | None = None
    masks: Path | None = None

    def open(self, name: str):
        """The samples.Category `name`; UsageError where a folder is missing or empty."""
        from datasets import folder, mvtec  # they import NumPy and Pillow: not for `--help`

        if self.root is not None:
            return mvtec.open_category(self.root, name)
        return folder.open_folders(name, self.normal, self.test_normal, self.abnormal, self.masks)

    def where(self, name: str) -> Path:
        """The folder of the pictures of category `name`, for messages."""
        if self.root is not None:
            return self.root / name
        return self.normal or self.abnormal or self.test_normal
