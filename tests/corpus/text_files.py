"""Files of scores and lists of pictures to leave out."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.corpus import samples
from tests.corpus.records import ABSURD, MISSING
from tests.corpus.rows import Row, written
from tests.corpus.special import occupy


def line_changed(number: int, change: Callable[[dict], None]) -> Callable[[Path], Path]:
    """A file of scores with one more line: that of `number`, changed."""

    def make(folder: Path) -> Path:
        path = samples.score_log(folder / "scores")
        found = json.loads(path.read_bytes().splitlines()[number])
        change(found)
        with path.open("ab") as file:
            file.write(json.dumps(found).encode() + b"\n")
        return path

    return make


FINE = {
    "model.model": ["x"],
    "model.category": ["x"],
    "model.source": ["x"],
    "model.arrays_sha256": [[]],
    "picture.path": [None, "x"],
    "picture.score": [-1, 0, 1e7, 1e300, 10**30],
    "picture.p_value": [-1, 0, 1e7, 1e300, 10**30],
    "picture.verdict": ["x"],
}


def fields() -> Iterator[Row]:
    names = {
        "model": ("line", "model", "category", "arrays_sha256", "source", "pictures", "scores"),
        "picture": ("line", "time", "model", "path", "score", "p_value", "verdict"),
    }
    for number, (kind, keys) in enumerate(names.items()):
        for key in keys:
            for value in (*ABSURD, MISSING):

                def change(found: dict, key=key, value=value) -> None:
                    if value is MISSING:
                        del found[key]
                    else:
                        found[key] = value

                shown = "missing" if value is MISSING else json.dumps(value)
                where = f"{kind}.{key}"
                fine = any(value == one and type(value) is type(one) for one in FINE.get(where, []))
                name = f"{where} is {shown[:20]} of {len(shown)}"
                error = None if fine else "scores, line 4: .*remove"
                either = isinstance(value, (str, list)) and len(value) > 3
                make = line_changed(number, change)
                yield Row("scores", name, "scores", make, error or ".", either=either or fine)


def scores() -> Iterator[Row]:
    yield Row("scores", "whole", "scores", lambda folder: samples.score_log(folder / "s"))
    for k in range(16):

        def cut(folder: Path, k=k) -> Path:
            path = samples.score_log(folder / "scores")
            content = path.read_bytes()
            path.write_bytes(content[: len(content) * k // 16])
            return path

        error = "not a file of scores|line \\d+: "
        yield Row("scores", f"cut at {k}/16", "scores", cut, error, either=True)
    for k in range(32):

        def flip(folder: Path, k=k) -> Path:
            path = samples.score_log(folder / "scores")
            content = bytearray(path.read_bytes())
            content[k * (len(content) - 1) // 31] ^= 1 << (k % 8)
            path.write_bytes(content)
            return path

        error = "not a file of scores|line \\d+: "
        yield Row("scores", f"bit {k % 8} flipped at {k}/31", "scores", flip, error, either=True)
    begin = b'{"line":"model",'
    for name, content, error in (
        ("no byte", b"", "not a file"),
        ("a text", b"path,kind\n", "not a file"),
        ("a picture", b"\x89PNG\r\n\x1a\n", "not a file"),
        ("its first bytes", begin, None),
        ("a deep line", begin + b'"x":' + b"[" * 10**5 + b"\n", "line 1"),
        ("a long line", begin + b" " * 2**21, "longer than"),
        ("lines of nothing", begin + b"}\n" + b"\n" * 10**5, "line 1"),
        ("bytes that are no text", begin + b'"model":"\xff\xfe"}\n', None),
        ("a lone surrogate", begin + b'"model":"\\ud800"}\n', None),
        ("a number of a megabyte", begin + b'"pictures":' + b"9" * 10**6 + b"}\n", "line 1"),
    ):
        yield Row("scores", name, "scores", written(content, "scores"), error or ".", either=True)
    for kind in ("no file", "a folder", "a pipe", "a device", "a link to itself", "a long name"):
        yield Row("scores", kind, "scores", special(kind), "no such file", 2)


def special(kind: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        if kind == "a long name":
            return folder / ("x" * 300)
        if kind != "no file":
            occupy(folder / "x", kind)
        return folder / "x"

    return make


def exclude() -> Iterator[Row]:
    for name, content, error in (
        ("a name", b"000.png\n", None),
        ("a path", b"good/000.png\n", None),
        ("a byte order mark", b"\xef\xbb\xbf000.png\n", None),
        ("other line ends", b"000.png\r\n\r000.png\r", None),
        ("no byte", b"", None),
        ("blank lines", b"\n \n\t\n" * 1000, None),
        ("zeros", bytes(1000), "no such training picture"),
        ("another name", b"999.png\n", "no such training picture"),
        ("no text", b"\xff\xfe\xfd\n", "no such training picture"),
        ("control characters", b"\x1b[31m\n", "no such training picture"),
        ("dots", b"..\n", "no such training picture"),
        ("the root", b"/\n", "no such training picture"),
        ("a long line", b"x" * 10**6, "no such training picture"),
        ("a deep path", b"a/" * 10**5, "no such training picture"),
        ("many lines", b"".join(b"%d\n" % i for i in range(10**5)), "no such training picture"),
        ("more than 16 MB", bytes(2**24 + 1), "more than 16 MB"),
    ):
        # However long the line is, the message is short.
        found = error and f"(?s)^(?=.*{error}).{{1,500}}$"
        yield Row("exclude lists", name, "exclude", written(content), found, 2)
    for kind, error in {
        "no file": "No such file",
        "a folder": "not a regular file",
        "a pipe": "not a regular file",
        "a device": "not a regular file",
        "a link to itself": "symbolic links",
        "a long name": "name too long",
    }.items():
        yield Row("exclude lists", kind, "exclude", special(kind), error, 2)


def rows() -> Iterator[Row]:
    yield from scores()
    yield from fields()
    yield from exclude()
