"""Pictures that are there already: the demo set, and category folders below allowed roots."""

import functools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from common.errors import UsageError
from datasets.mvtec import find_categories, open_category
from datasets.samples import Category
from demo_set.generate import CATEGORIES, DEFAULTS, USUAL, Picture, draw, generate

DEMO = tuple(CATEGORIES)


def demo_category(name: str, folder: Path) -> Category:
    """A category of the demo set, drawn below `folder` the first time.

    The folders are those of `make demo`, so that its pictures are used.
    """
    root = folder / ("data" if name in USUAL else "loose")
    generate(root, categories=[name])
    return open_category(root, name)


@functools.cache
def demo_picture(name: str) -> np.ndarray:
    """The first training picture of a demo category, uint8 [H,W,3], before the set is drawn."""
    return np.asarray(draw(name, Picture("train", None, 0), DEFAULTS)[0])


def folders_below(roots: Sequence[Path]) -> dict[str, tuple[Path, str]]:
    """Category folders in the layout of MVTec AD: shown name → (parent folder, name).

    They are in a root or one level below it; nothing else is read.
    """
    found = {}
    for root in roots:
        for parent in (root, *_subfolders(root)):
            try:
                names = find_categories(parent)
            except UsageError:
                continue  # a folder without categories
            for name in names:
                found[(parent / name).relative_to(root.parent).as_posix()] = parent, name
    return found


def folder_category(place: tuple[Path, str], most_train: int, most_test: int) -> Category:
    """The category, without the pictures beyond these numbers: evenly chosen of each set."""
    found = open_category(*place)
    return replace(found, train=_some(found.train, most_train), test=_some(found.test, most_test))


def _some(samples: list, most: int) -> list:
    if len(samples) <= most:
        return samples
    return [samples[i * len(samples) // most] for i in range(most)]


def _subfolders(root: Path) -> list[Path]:
    if not root.is_dir():
        return []
    return sorted(path for path in root.iterdir() if path.is_dir() and path.name[0] != ".")
