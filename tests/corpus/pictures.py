"""Pictures, read by both decoders."""

import io
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from tests.corpus import bombs
from tests.corpus.bombs import chunk, photo, saved
from tests.corpus.rows import Row, written
from tests.corpus.special import occupy

KINDS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
DECODERS = ("pillow", "vips")
ANY = "does not decode|not a PNG|differ in size|more than|cannot be read"
POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"
NAMES = ("a b", "it's", 'say "x"', "😀", "a\nb", "-rf", "--help", "%s{}$HOME", "a\\b", "x" * 251)
NAMES += (os.fsdecode(b"caf\xe9"), "\x1b[31m", ".hidden", "日本語", "e\u0301", "a\u202eb", "*?[0]")


def both(name: str, make, error: str | None = None, **known) -> Iterator[Row]:
    for reader in DECODERS:
        yield Row("pictures", name, reader, make, error, **known)


def every(name: str, make, error: str | None = None, **known) -> Iterator[Row]:
    """The row for both decoders, for the mask, and for the size."""
    yield from both(name, make, error, **known)
    for reader in ("mask", "size"):
        yield Row("pictures", name, reader, make, error, **known)


def cut(kind: str, sixteenths: int) -> bytes:
    content = saved(kind)
    return content[: len(content) * sixteenths // 16]


def flipped(kind: str, place: int, header: bool) -> bytes:
    """One byte changed: of the first 96, or anywhere."""
    content = bytearray(saved(kind))
    content[(place * 6 if header else place * (len(content) - 1) // 16)] ^= 0xA5
    return bytes(content)


def damaged() -> Iterator[Row]:
    for kind in KINDS:
        for k in range(16):
            make = written(lambda kind=kind, k=k: cut(kind, k))
            yield from both(f"{kind} cut at {k}/16", make, ANY)
        for k in range(0, 16, 2):
            for header in (True, False):
                where = "its header" if header else "its content"
                make = written(lambda kind=kind, k=k, header=header: flipped(kind, k, header))
                yield from both(f"{kind} changed in {where} at {k}/16", make, ANY, either=True)
        make = written(lambda kind=kind: saved(kind) + bytes(5000))
        yield from both(f"{kind} with bytes behind it", make)
        twice = written(lambda kind=kind: saved(kind) * 2)
        error = ANY if kind == "WEBP" else None
        yield from both(f"{kind} twice in one file", twice, error, either=True)


def other_files() -> Iterator[Row]:
    refused = "not a PNG, JPEG, BMP, TIFF or WebP file"
    contents = {
        "no byte": b"",
        "one byte": b"\x89",
        "a text": b"hello, this is no picture\n" * 50,
        "zeros": bytes(10**5),
        "HTML": b"<!DOCTYPE html><html></html>",
        "SVG": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        "PostScript": POSTSCRIPT,
        "HEIF": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200),
        "a pickle": b"cos\nsystem\n(S'true'\ntR.",
        "a zip archive": b"PK\x05\x06" + bytes(18),
    }
    for name, content in contents.items():
        yield from every(name, written(content, "x.png"), refused)
    for kind in ("GIF", "PPM", "TGA", "ICO", "JPEG2000", "PDF", "SGI", "PCX"):
        yield from both(kind, written(lambda kind=kind: saved(kind), "x.png"), refused)
    starts = {"PNG": b"\x89PNG\r\n\x1a\n", "JPEG": b"\xff\xd8\xff", "BMP": b"BM"}
    starts |= {"TIFF": b"II*\0", "WebP": b"RIFF\0\0\0\0WEBP", "big TIFF": b"II+\0"}
    for name, start in starts.items():
        yield from every(f"the first bytes of {name} alone", written(start), ANY)
        noise = np.random.default_rng(0).bytes(5000)
        yield from both(f"{name} of noise", written(start + noise), ANY, either=name == "JPEG")


def modes() -> Iterator[Row]:
    grey = np.arange(80 * 96, dtype=np.uint16).reshape(80, 96) * 8

    def image(mode: str, kind: str, **settings):
        def content() -> bytes:
            file = io.BytesIO()
            Image.fromarray(photo()).convert(mode).save(file, kind, **settings)
            return file.getvalue()

        return content

    for mode, kinds in {
        "1": ("PNG", "TIFF", "BMP"),
        "L": KINDS,
        "LA": ("PNG", "TIFF"),
        "P": ("PNG", "TIFF", "BMP"),
        "RGBA": ("PNG", "TIFF", "WEBP"),
        "CMYK": ("JPEG", "TIFF"),
        "YCbCr": ("JPEG", "TIFF"),
        "LAB": ("TIFF",),
    }.items():
        for kind in kinds:
            yield from both(f"{kind} of mode {mode}", written(image(mode, kind)))
    for name, kind, settings in (
        ("progressive", "JPEG", {"progressive": True}),
        ("of quality 1", "JPEG", {"quality": 1}),
        ("with 4:4:4", "JPEG", {"subsampling": 0}),
        ("with restarts", "JPEG", {"restart_marker_blocks": 1}),
        ("lossless", "WEBP", {"lossless": True}),
        ("LZW", "TIFF", {"compression": "tiff_lzw"}),
        ("JPEG inside", "TIFF", {"compression": "jpeg"}),
        ("deflated", "TIFF", {"compression": "tiff_adobe_deflate"}),
        ("packed bits", "TIFF", {"compression": "packbits"}),
        ("with a profile of noise", "PNG", {"icc_profile": b"noise" * 99}),
        ("with EXIF of noise", "JPEG", {"exif": b"Exif\0\0" + b"II*\0" + b"\xff" * 99}),
    ):
        yield from both(f"{kind} {name}", written(image("RGB", kind, **settings)))
    for kind in ("PNG", "TIFF"):
        yield from both(f"{kind} of 16 bits", written(lambda kind=kind: saved(kind, grey)))
    colours = struct.pack(">96H", *range(0, 96 * 600, 600)) * 3
    lines = (b"\0" + colours) * 80
    yield from both("PNG of 16 bits and colours", written(bombs.png(96, 80, lines, 16, 2)))
    yield from both(
        "PNG of 16 bits, colours and alpha",
        written(bombs.png(72, 80, lines, 16, 6)),
    )
    for kind, error in {"f4": "floating-point", "i4": "0 to 65535"}.items():
        array = np.full((80, 96), -1, kind)
        yield from both(f"TIFF of {kind}", written(lambda a=array: saved("TIFF", a)), error)
    for value in (np.nan, np.inf):
        array = np.full((80, 96), value, "f4")
        yield from both(f"TIFF of {value}", written(lambda a=array: saved("TIFF", a)), "floating")


def animated() -> Iterator[Row]:
    frames = [Image.fromarray(np.full((80, 96, 3), v, np.uint8)) for v in (10, 200, 90)]
    for kind in ("PNG", "WEBP", "TIFF", "MPO"):

        def content(kind=kind) -> bytes:
            file = io.BytesIO()
            frames[0].save(file, kind, save_all=True, append_images=frames[1:])
            return file.getvalue()

        yield from every(f"{kind} of three frames", written(content))
    claim = chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0))
    content = saved("PNG")
    yield from both("PNG that claims 2^31 frames", written(content[:33] + claim + content[33:]))


def sizes() -> Iterator[Row]:
    for width, height in ((1, 1), (1, 500), (500, 1), (20000, 20), (20, 20000), (2, 2), (63, 65)):
        for kind in KINDS:
            if kind == "WEBP" and max(width, height) > 16383:
                continue
            array = np.full((height, width, 3), 90, np.uint8)
            make = written(lambda kind=kind, a=array: saved(kind, a, **FAST.get(kind, {})))
            yield from both(f"{kind} of {width}×{height}", make)
    for name, content in {
        "PNG": bombs.png(0, 0),
        "PNG of negative size": bombs.png(2**31, 1),
        "BMP": bombs.bmp(0, 0),
        "JPEG": bombs.jpeg(0, 0),
        "TIFF": bombs.tiff(0, 0),
    }.items():
        yield from every(f"{name} of no pixel", written(content), f"{ANY}|pixels")


FAST = {"WEBP": {"method": 0, "quality": 30}}


def all_bombs() -> Iterator[Row]:
    large = "more than the 100 megapixels allowed"
    for name, content in {
        "PNG": bombs.png(20000, 20000),
        "PNG of 2^31": bombs.png(2**31 - 1, 2**31 - 1),
        "JPEG": bombs.jpeg(65500, 65500),
        "BMP": bombs.bmp(60000, 60000),
        "BMP upside down": bombs.bmp(60000, -60000),
        "TIFF": bombs.tiff(60000, 60000),
        "TIFF of 2^31": bombs.tiff(2**31, 2**31),
        "WebP, lossless": bombs.webp_lossless(16384, 16384),
        "WebP, extended": bombs.webp_extended(2**14, 2**14),
        "WebP, lossy": bombs.webp_lossy(16383, 16383),
    }.items():
        yield from every(f"{name} that claims too many pixels", written(content), large)
    for name, content in {
        "PNG": bombs.png(9000, 9000),
        "JPEG": bombs.jpeg(9000, 9000),
        "BMP": bombs.bmp(9000, 9000),
        "TIFF": bombs.tiff(9000, 9000),
        "TIFF with a strip of 4 GB": bombs.tiff(96, 80, t279=(4, 2**32 - 1)),
        "TIFF with a strip at 4 GB": bombs.tiff(96, 80, t273=(4, 2**32 - 9)),
        "TIFF with tiles of 2^31": bombs.tiff(96, 80, t322=(4, 2**31), t323=(4, 2**31)),
        "TIFF with 65535 samples": bombs.tiff(96, 80, t277=(3, 65535)),
        "TIFF of unknown compression": bombs.tiff(96, 80, t259=(3, 4711)),
        "WebP, lossless": bombs.webp_lossless(9000, 9000),
        "WebP, lossy": bombs.webp_lossy(9000, 9000),
    }.items():
        lenient = "JPEG" in name  # libjpeg fills up what is missing
        slow = name in ("JPEG", "WebP, lossless", "WebP, lossy")
        known = {"either": lenient, "slow": slow}
        yield from both(f"{name} with few pixels", written(content), ANY, **known)
    for kind in (b"zTXt", b"iTXt", b"iCCP"):
        content = written(lambda kind=kind: bombs.text_bomb(kind, 2**26))
        slow = kind != b"zTXt"
        yield from both(f"PNG with {kind.decode()} that expands", content, "too large", slow=slow)
    content = written(lambda: bombs.png(9000, 9000, bytes(1126 * 9000)))
    yield from both("PNG of 81 megapixels in 10 kB", content, slow=True)
    pieces = {
        "PNG of a million chunks": (lambda: bombs.many_chunks(1_390_000), "chunks"),
        "PNG of a million pieces": (lambda: bombs.many_pieces(1_390_000), "chunks"),
        "JPEG of millions of comments": (lambda: bombs.many_segments(4_000_000), "segments"),
        "JPEG of millions of tables": (lambda: bombs.many_segments(4_000_000, 0xDB), "segments"),
        "JPEG of padding": (lambda: b"\xff\xd8" + b"\xff" * 16_000_000, "segments"),
        "JPEG of junk": (lambda: b"\xff\xd8\xff\xe0\0\2" + b"\1" * 16_000_000, "segments"),
        "JPEG of thousands of scans": (lambda: bombs.many_scans(8000, 5000), "scans"),
    }
    for name, (content, words) in pieces.items():
        yield from both(name, written(content), f"more than \\d+ {words}; save it again")
    few = written(lambda: bombs.many_segments(5000))
    yield from both("JPEG of 5000 comments", few)
    yield from both("JPEG of 40 scans", written(lambda: bombs.many_scans(800, 40)))
    sparse = "MB, more than the"
    for kind in KINDS:
        yield Row("pictures", f"{kind} of 3 GB", "pillow", sparse_file(kind), sparse)


def sparse_file(kind: str):
    def make(folder: Path) -> Path:
        path = written(lambda: saved(kind))(folder)
        os.truncate(path, 3 * 2**30)
        return path

    return make


def special(kind: str):
    def make(folder: Path) -> Path:
        path = folder / "x.png"
        if kind == "a socket":
            before = Path.cwd()
            os.chdir(folder)  # a socket's path has to be short
            with socket.socket(socket.AF_UNIX) as listening:
                listening.bind("x.png")
            os.chdir(before)
        elif kind == "a file without permission":
            path.write_bytes(saved("PNG"))
            path.chmod(0)
        else:
            occupy(path, kind)
        return path

    return make


def paths() -> Iterator[Row]:
    for kind in ("a folder", "a pipe", "a socket", "a device"):
        yield from every(f"{kind} named x.png", special(kind), "not a regular file")
    for kind, error in {
        "a dangling link": "No such file",
        "a link to itself": "symbolic links",
    }.items():
        yield from every(kind, special(kind), error)
    secret = "a file without permission"
    yield from every(secret, special(secret), "Permission denied", unprivileged=True)
    for name, error in {
        "x" * 300: "name too long",
        "a\0b": "null",
        "x/" * 3000: "too long",
    }.items():
        yield from every(f"a path {name[:3]!r}…", lambda folder, n=name: folder / n, error)
    for name in NAMES:
        make = written(lambda: saved("PNG"), f"{name}.png")
        yield from both(f"a file named {name[:20]!r}", make)


def rows() -> Iterator[Row]:
    for part in (damaged, other_files, modes, animated, sizes, all_bombs, paths):
        yield from part()
