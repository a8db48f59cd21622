"""Counts what decoders handle piece by piece, before they do.

A few megabytes of empty chunks, segments or scans would keep a decoder busy for a minute.
"""

import io
import re
from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO

from datasets.headers import PNG
from datasets.sources import RefusedError

MOST_PIECES = 2**16  # and one more for each KiB; writers put at least 4 KiB into a piece
MOST_SCANS = 100  # of a JPEG; writers make about 10, and libvips refuses more than this, too
LARGE = 2**25  # bytes; a smaller JPEG that is not progressive cannot have many whole scans
IDAT, IEND = b"IDAT", b"IEND"
SCAN, END, PROGRESSIVE = 0xDA, 0xD9, {0xC2, 0xCA}
ALONE = {0x01, *range(0xD0, 0xD9)}  # markers of a JPEG without a length
MARKER = re.compile(rb"\xff[^\0\xff\xd0-\xd7]")


def require_few(file: BinaryIO, kind: str, pixels: bool) -> None:
    """RefusedError where a PNG or JPEG has more pieces than a decoder handles in a second.

    pixels : whether they will be decoded; otherwise only what is before them counts

    `file` begins at its start, and ends there.
    """
    length = file.seek(0, io.SEEK_END)
    most = MOST_PIECES + length // 1024
    if kind == "PNG":
        found = _chunks(file, length, pixels)
        if next(islice(found, most, None), None) is not None:
            raise RefusedError(f"more than {most} chunks; save it again")
    elif kind == "JPEG":
        found = list(islice(_segments(file), most + 1))
        if len(found) > most:
            raise RefusedError(f"more than {most} segments; save it again")
        several = length > LARGE or not PROGRESSIVE.isdisjoint(found)
        if pixels and several and _has_many_scans(file):
            raise RefusedError(f"more than {MOST_SCANS} scans; save it again")
    file.seek(0)


def _chunks(file: BinaryIO, length: int, pixels: bool) -> Iterator[bytes]:
    """The names of the chunks; without `pixels`, of those before the first IDAT."""
    at = len(PNG)
    while at < length:
        file.seek(at)
        head = file.read(8)
        if head[4:] == IEND or (head[4:] == IDAT and not pixels):
            return
        yield head[4:]
        at += 12 + int.from_bytes(head[:4], "big")


def _segments(file: BinaryIO) -> Iterator[int]:
    """The markers up to the first scan, and each byte between two segments.

    Afterwards `file` is behind the marker of the scan.
    """
    file.seek(2)
    before = b""
    while byte := file.read(1):
        yield byte[0]
        if before != b"\xff" or byte[0] in (0, 0xFF):
            before = byte
            continue
        before = b""
        if byte[0] == SCAN:
            return
        if byte[0] not in ALONE:
            file.seek(max(0, int.from_bytes(file.read(2), "big") - 2), io.SEEK_CUR)


def _has_many_scans(file: BinaryIO) -> bool:
    """Of a JPEG, from behind its first scan's marker."""
    rest = file.read()
    if rest.count(b"\xff\xda") < MOST_SCANS:  # nearly always
        return False
    at, pieces, scans = _length(rest, 0), 0, 1
    while pieces < MOST_PIECES and (found := MARKER.search(rest, at)):
        pieces, marker = pieces + 1, found[0][1]
        if marker == END:
            return False
        scans += marker == SCAN
        if scans > MOST_SCANS:
            return True
        at = found.end() + (0 if marker in ALONE else _length(rest, found.end()))
    return pieces == MOST_PIECES


def _length(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "big")
