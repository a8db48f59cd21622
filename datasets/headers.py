"""What the first bytes of a picture file tell, and PNG's chunks."""

LENGTH = 30  # bytes that `kind_of` and `size_in` look at
PNG = b"\x89PNG\r\n\x1a\n"
STARTS = {
    "PNG": (PNG,),
    "JPEG": (b"\xff\xd8\xff",),
    "BMP": (b"BM",),
    "TIFF": (b"II*\0", b"MM\0*", b"II\0*", b"MM*\0", b"II+\0", b"MM\0+"),
}


def kind_of(head: bytes) -> str | None:
    """The format of a file that begins with `head`: PNG, JPEG, BMP, TIFF, WebP, or None."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    return next((kind for kind, starts in STARTS.items() if head.startswith(starts)), None)


def size_in(head: bytes, kind: str) -> tuple[int, int] | None:
    """(width, height) of a PNG or WebP whose header is complete and in its usual place.

    These two are the formats that are read as a whole.
    """
    if len(head) < LENGTH:
        return None
    if kind == "PNG" and head[12:16] == b"IHDR":
        return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")
    if kind != "WebP":
        return None
    if head[12:16] == b"VP8X":
        return 1 + _little(head[24:27]), 1 + _little(head[27:30])
    if head[12:16] == b"VP8L":
        sides = _little(head[21:25])  # 14 bits each
        return 1 + (sides & 0x3FFF), 1 + (sides >> 14 & 0x3FFF)
    if head[12:16] == b"VP8 ":
        return _little(head[26:28]) & 0x3FFF, _little(head[28:30]) & 0x3FFF
    return None


def in_one_piece(png: bytes) -> bytes:
    """The same PNG with consecutive IDAT chunks joined.

    Pillow takes the interpreter once for each chunk of, often, 8 kB and lets go of it while it
    inflates: 60 times per picture, each time waiting for the thread that holds it then.
    """
    view = memoryview(png)  # whose slices are no copies
    pieces, start, data = [view[: len(PNG)]], len(PNG), []
    while start < len(png):
        size, name = int.from_bytes(view[start : start + 4], "big"), view[start + 4 : start + 8]
        if name == b"IDAT":
            data.append(view[start + 8 : start + 8 + size])
        elif name == b"IEND":
            break
        else:
            pieces += _chunk(data)
            pieces.append(view[start : start + 12 + size])
            data = []
        start += 12 + size
    return b"".join([*pieces, *_chunk(data), view[start:]])


def _chunk(data: list[memoryview]) -> list[bytes | memoryview]:
    """One IDAT chunk of all `data`; Pillow skips its checksum, zlib has one of its own."""
    length = sum(map(len, data)).to_bytes(4, "big")
    return [length, b"IDAT", *data, bytes(4)] if data else []


def _little(data: bytes) -> int:
    return int.from_bytes(data, "little")
