"""Pictures that declare, or expand to, far more than they hold."""

import io
import struct
import zlib

import numpy as np
from PIL import Image


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, data: bytes = bytes(1000), depth=1, colour=0, before=b"") -> bytes:
    """A PNG that declares this size and holds the compressed `data` as its lines."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    lines = chunk(b"IDAT", zlib.compress(data))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + lines + chunk(b"IEND", b"")


def jpeg(width: int, height: int) -> bytes:
    """A JPEG whose frame header was changed to this size."""
    content = bytearray(saved("JPEG"))
    at = content.index(b"\xff\xc0") + 5
    content[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(content)


def bmp(width: int, height: int) -> bytes:
    content = bytearray(saved("BMP"))
    content[18:26] = struct.pack("<ii", width, height)
    return bytes(content)


def tiff(width: int, height: int, **entries: tuple[int, int]) -> bytes:
    """A TIFF of one strip that declares this size. `entries`: t<tag> = (type, value)."""
    found = {256: (4, width), 257: (4, height), 258: (3, 8), 259: (3, 8), 262: (3, 1)}
    found |= {273: (4, 8), 277: (3, 1), 278: (4, height), 279: (4, 64)}
    found |= {int(name[1:]): entry for name, entry in entries.items()}
    strip = zlib.compress(bytes(1000)).ljust(64, b"\0")
    content = b"II*\0" + struct.pack("<I", 8 + len(strip)) + strip
    content += struct.pack("<H", len(found))
    for tag, (kind, value) in sorted(found.items()):
        content += struct.pack("<HHII", tag, kind, 1, value)
    return content + bytes(4)


def webp_lossless(width: int, height: int) -> bytes:
    bits = (width - 1) | (height - 1) << 14
    data = b"\x2f" + struct.pack("<I", bits) + bytes(20)
    return _riff(b"VP8L" + struct.pack("<I", len(data)) + data + bytes(len(data) % 2))


def webp_extended(width: int, height: int) -> bytes:
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return _riff(b"VP8X" + struct.pack("<I", 10) + bytes(4) + sides + saved("WEBP")[12:])


def webp_lossy(width: int, height: int) -> bytes:
    content = bytearray(saved("WEBP", quality=80))
    at = content.index(b"\x9d\x01\x2a") + 3
    content[at : at + 4] = struct.pack("<HH", width, height)
    return bytes(content)


def _riff(chunks: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


def saved(kind: str, array: np.ndarray | None = None, **settings) -> bytes:
    """A picture file as Pillow writes it; without `array`, 96×80 smooth colours with noise."""
    file = io.BytesIO()
    image = Image.fromarray(photo() if array is None else array)
    image.save(file, kind, **settings)
    return file.getvalue()


def photo(height: int = 80, width: int = 96) -> np.ndarray:
    """uint8 [height,width,3]."""
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(0).integers(0, 30, (height, width, 3))
    return (np.stack([x, y, x + y], 2) % 200 + noise).astype(np.uint8)


def many_chunks(count: int, name: bytes = b"teXt") -> bytes:
    """A PNG with `count` empty chunks before its lines."""
    content = saved("PNG")
    return content[:33] + chunk(name, b"") * count + content[33:]


def many_pieces(count: int) -> bytes:
    """A PNG whose lines are preceded by `count` empty IDAT chunks."""
    return many_chunks(count, b"IDAT")


def text_bomb(kind: bytes = b"zTXt", size: int = 2**28) -> bytes:
    """A PNG with a text, or colour profile, that expands."""
    content = saved("PNG")
    packed = zlib.compress(bytes(size), 9)
    head = b"key\0\0" if kind != b"iTXt" else b"key\0\1\0\0\0"
    return content[:33] + chunk(kind, head + packed) + content[33:]


def many_segments(count: int, marker: int = 0xFE) -> bytes:
    """A JPEG with `count` empty segments: comments, or of another marker."""
    content = saved("JPEG")
    return content[:2] + bytes([0xFF, marker, 0, 2]) * count + content[2:]


def many_scans(side: int, count: int) -> bytes:
    """A progressive grey JPEG of side × side pixels whose `count` scans hold no coefficient."""
    blocks = (-(-side // 8)) ** 2
    frame = struct.pack(">BHHBBBB", 8, side, side, 1, 1, 0x11, 0)
    tables = b"\0" + bytes([1] * 64)
    # One code of one bit: category 0 for DC; a run of 2^14 blocks without coefficients for AC.
    one = bytes([1] + [0] * 15)
    content = b"\xff\xd8" + _segment(0xDB, tables) + _segment(0xC2, frame)
    content += _segment(0xC4, b"\0" + one + b"\0") + _segment(0xC4, b"\x10" + one + b"\xe0")
    first = _segment(0xDA, bytes([1, 1, 0, 0, 0, 0])) + bytes(-(-blocks // 8))
    runs = -(-blocks // 2**14)
    bits = "".join("0" + "0" * 14 for _ in range(runs))
    bits += "1" * (-len(bits) % 8)
    empty = int(bits, 2).to_bytes(len(bits) // 8, "big")
    again = _segment(0xDA, bytes([1, 1, 0, 1, 63, 0])) + empty
    return content + first + again * count + b"\xff\xd9"


def _segment(marker: int, data: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data
