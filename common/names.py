"""Names of files that are made from names of other files."""

import hashlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

LONGEST_NAME = 240  # bytes of a file name; most disks take 255
DIGITS = 12  # of the SHA-256 at the end of a name that was cut


def target_names(names: Iterable[Path], suffix: str) -> list[Path]:
    """A different name with `suffix` for each relative name, otherwise unchanged if possible.

    The names of long ones are cut, and end with a part of a SHA-256.
    """
    names = [_fitting(name, suffix) for name in names]
    wanted = Counter(name.with_suffix(suffix) for name in names)
    taken, targets = set(), []
    for name in names:
        target = name.with_suffix(suffix)
        if wanted[target] > 1:
            target = name.with_name(name.name + suffix)  # part.png and part.jpg in one folder
        while target in taken:
            target = target.with_name(f"_{target.name}")
        taken.add(target)
        targets.append(target)
    return targets


def _fitting(name: Path, suffix: str) -> Path:
    """`name`, or a shorter one with `suffix` if a disk might not take it."""
    # As the tables write names that are no valid Unicode, so that they are found by these names.
    whole = name.name.encode("utf-8", "backslashreplace")
    if len(whole) + len(suffix) <= LONGEST_NAME:
        return name
    cut = whole[: LONGEST_NAME - len(suffix) - DIGITS - 1].decode(errors="ignore")
    return name.with_name(f"{cut}~{hashlib.sha256(whole).hexdigest()[:DIGITS]}{suffix}")
