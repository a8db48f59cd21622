"""Keeps what a visitor uploaded in a folder of the session, and makes a category of it."""

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from common.errors import UsageError, printable
from common.options import folder_name
from datasets.mvtec import open_category
from datasets.samples import GOOD, Category, Sample
from datasets.transforms import SUFFIXES
from page.archives import pictures_of
from page.limits import MOST_FILE, MOST_PICTURE, MOST_TOTAL

UNKNOWN = "unlabelled"  # the kind of a picture without a label
DEFAULT = "custom"  # name of a category
TRAIN, TEST, MASKS = "train", "test", "ground_truth"
NAME_LENGTH = 80


@dataclass(frozen=True)
class Upload:
    """An uploaded file."""

    name: str
    content: bytes


def category_of(train: Iterable[Upload], test: Iterable[Upload], folder: Path) -> Category:
    """A category of uploaded pictures and archives, which are written into `folder`, emptied first.

    An archive in the layout of MVTec AD (train/good, test/<kind>, ground_truth/<kind>) fills both
    sets. In another archive of test pictures, folders are kinds if one of them is `good`; otherwise
    and for pictures outside of archives, the kind is UNKNOWN. UsageError beyond the limits.
    """
    shutil.rmtree(folder, ignore_errors=True)
    name, left = DEFAULT, MOST_TOTAL
    for role, uploads in ((TRAIN, train), (TEST, test)):
        for upload in uploads:
            for parts, content, found in _placed(upload, role):
                name, left = found or name, left - len(content)
                if left < 0:
                    raise UsageError(f"more than {MOST_TOTAL // 2**20} MB of pictures")
                _write(folder.joinpath(*parts), content)
    folder.mkdir(parents=True, exist_ok=True)
    known = open_category(folder.parent, folder.name)
    unknown = [Sample(path) for path in _pictures(folder / UNKNOWN)]
    return Category(name, known.train, known.test + [Sample(s.path, UNKNOWN) for s in unknown])


def _placed(upload: Upload, role: str) -> Iterator[tuple[tuple[str, ...], bytes, str | None]]:
    """Folders and name within the layout, content, and the category's name, of each picture."""
    name = printable(upload.name)
    if not upload.name.lower().endswith(".zip"):
        yield (*_folders(role, ()), _safe(upload.name)), _checked(upload, name), None
        return
    if len(upload.content) > MOST_FILE:
        raise UsageError(f"{name}: more than {MOST_FILE // 2**20} MB")
    packed = list(pictures_of(upload.content, name))
    shared, layout = _shared([parts for parts, _ in packed])
    kinds = {parts[shared] for parts, _ in packed if len(parts) == shared + 2}
    for parts, content in packed:
        inner = tuple(_safe(part) for part in parts[shared:])
        if layout:
            if len(inner) == 3 and inner[0] in (TRAIN, TEST, MASKS):
                yield inner, content, _category_name(parts[:shared])
            continue
        labelled = GOOD in kinds and len(inner) == 2
        yield (*_folders(role, inner[:1] if labelled else ()), inner[-1]), content, None


def _folders(role: str, kind: tuple[str, ...]) -> tuple[str, ...]:
    if role == TRAIN:
        return TRAIN, GOOD
    return (TEST, *kind) if kind else (UNKNOWN,)


def _shared(names: list[tuple[str, ...]]) -> tuple[int, bool]:
    """How many leading folders do not count, and whether the layout of MVTec AD follows them."""
    for parts in names:
        for depth in range(len(parts) - 2):
            if parts[depth : depth + 2] == (TRAIN, GOOD):
                return depth, True
    depth = 0
    while names and all(len(p) > depth + 1 for p in names) and len({p[depth] for p in names}) == 1:
        if names[0][depth] == GOOD:
            break
        depth += 1
    return depth, False


def _category_name(parts: tuple[str, ...]) -> str | None:
    try:
        return folder_name(parts[-1]) if parts else None
    except ValueError:
        return None


def _checked(upload: Upload, name: str) -> bytes:
    if len(upload.content) > MOST_PICTURE:
        raise UsageError(f"{name}: more than {MOST_PICTURE // 2**20} MB")
    return upload.content


def _safe(name: str) -> str:
    """One part of a path: no slashes, no control characters, not hidden, not too long."""
    name = "".join(c if c.isprintable() and c not in '/\\:*?"<>|' else "_" for c in name)
    stem, dot, suffix = name.rpartition(".")
    if dot and f".{suffix.lower()}" in SUFFIXES:
        return f"{stem.lstrip('. ')[:NAME_LENGTH] or '_'}.{suffix}"
    return name.strip(". ")[:NAME_LENGTH] or "_"


def _write(path: Path, content: bytes) -> None:
    """Write a file; a name that is taken gets a number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    target, number = path, 1
    while target.exists():
        number += 1
        target = path.with_stem(f"{path.stem}_{number}")
    target.write_bytes(content)


def _pictures(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []
