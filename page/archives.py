"""Reads pictures out of ZIP archives from strangers, within limits of count and bytes."""

import io
import posixpath
import zipfile
import zlib
from collections.abc import Iterator

from common.errors import UsageError
from datasets.transforms import SUFFIXES
from page.limits import MOST_ENTRIES, MOST_PICTURE, MOST_TOTAL

# An entry of the directory has 46 bytes and its name; longer names are not those of pictures.
MOST_DIRECTORY = MOST_ENTRIES * 300
END, END_LENGTH, MOST_COMMENT = b"PK\x05\x06", 22, 2**16
LOCATOR, LOCATOR_LENGTH = b"PK\x06\x07", 20  # of the 64-bit format
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
ENCRYPTED = 1  # bit of an entry's flags


def pictures_of(data: bytes, name: str) -> Iterator[tuple[tuple[str, ...], bytes]]:
    """The folders and file name, and the bytes, of each picture in the archive `data`.

    Hidden files and those without the ending of a picture are left out; a name never leaves the
    archive's root. Raises UsageError, which calls the archive `name`, for a damaged or encrypted
    archive and one beyond the limits. What an archive declares of its sizes is not trusted.
    """
    _require_small_directory(data, name)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = [(parts, entry) for entry in archive.infolist() if (parts := _parts(entry))]
            if len(archive.infolist()) > MOST_ENTRIES:
                raise UsageError(f"{name}: more than {MOST_ENTRIES} files in this archive")
            left = MOST_TOTAL
            for parts, entry in entries:
                content = _content(archive, entry, min(left, MOST_PICTURE), name)
                left -= len(content)
                yield parts, content
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError):
        raise UsageError(f"{name}: this archive is damaged; pack it again") from None


def _require_small_directory(data: bytes, name: str) -> None:
    """UsageError if the directory is large: `zipfile` reads all of it before it can be asked."""
    at = len(data) - END_LENGTH
    if data[at:].startswith(END) and data.endswith(b"\0\0"):
        place = at
    else:
        place = data.rfind(END, max(0, len(data) - END_LENGTH - MOST_COMMENT))
    end = data[place : place + END_LENGTH] if place >= 0 else b""
    if len(end) < END_LENGTH:
        raise UsageError(f"{name}: not a ZIP archive, or a damaged one; pack it again")
    wide = data[: max(place, 0)][-LOCATOR_LENGTH:].startswith(LOCATOR)
    if wide or int.from_bytes(end[12:16], "little") > MOST_DIRECTORY:
        raise UsageError(f"{name}: too many files in this archive; at most {MOST_ENTRIES}")


def _parts(entry: zipfile.ZipInfo) -> tuple[str, ...]:
    """Folders and file name of a picture, without empty parts, `.` and `..`; () for other files."""
    parts = tuple(
        p for p in entry.filename.replace("\\", "/").split("/") if p not in ("", ".", "..")
    )
    hidden = any(part.startswith((".", "__MACOSX")) for part in parts)
    if entry.is_dir() or hidden or not parts:
        return ()
    return parts if posixpath.splitext(parts[-1])[1].lower() in SUFFIXES else ()


def _content(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, most: int, name: str) -> bytes:
    if entry.flag_bits & ENCRYPTED:
        raise UsageError(f"{name}: this archive is encrypted; pack it without a password")
    if entry.compress_type not in METHODS:
        raise UsageError(f"{name}: packed by an unusual method; pack it as a plain ZIP archive")
    with archive.open(entry) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise UsageError(
            f"{name}: too large; a picture file may have {MOST_PICTURE // 2**20} MB, all together "
            f"{MOST_TOTAL // 2**20} MB"
        )
    return content
