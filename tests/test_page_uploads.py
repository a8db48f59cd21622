"""Uploads of the page: limits, archives from strangers, labels, and that they stay in a folder."""

import io
import struct
import zipfile
from pathlib import Path

import pytest

from common.errors import UsageError
from page import archives, uploads
from page.uploads import UNKNOWN, Upload, category_of

pytestmark = pytest.mark.once
ZIP64 = b"PK\x06\x07"


def packed(files: dict[str, bytes], **settings) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", **settings) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def names(data: bytes) -> list[str]:
    return ["/".join(parts) for parts, _ in archives.pictures_of(data, "a.zip")]


def placed(root: Path) -> list[str]:
    return sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file())


def test_only_pictures_come_out_of_an_archive():
    files = ["a.png", "b/c.JPG", "notes.txt", ".hidden.png", "__MACOSX/._a.png", "x.png/y.py"]
    assert names(packed(dict.fromkeys(files, b"x"))) == ["a.png", "b/c.JPG"]


def test_names_never_leave_the_folder(tmp_path):
    evil = ["../../up.png", "/etc/passwd.png", "a\\..\\..\\b.png", "C:\\x.png", "n\nl\x00.png"]
    data = packed(dict.fromkeys(evil, b"x"))
    category_of([Upload("../x.zip", data), Upload("../../y.png", b"y")], [], tmp_path / "in")
    found = placed(tmp_path)
    assert len(found) >= len(evil) and all(name.startswith("in/train/good/") for name in found)
    assert all(Path(name).name.isprintable() for name in found)


def test_bombs_are_refused_before_they_are_unpacked(monkeypatch):
    monkeypatch.setattr(archives, "MOST_PICTURE", 10**6)
    bomb = packed({"a.png": bytes(10**7)}, compression=zipfile.ZIP_DEFLATED)
    assert len(bomb) < 20_000
    with pytest.raises(UsageError, match=r"a\.zip: too large"):
        names(bomb)
    monkeypatch.setattr(archives, "MOST_TOTAL", 2 * 10**6)
    many = packed({f"{i}.png": bytes(9 * 10**5) for i in range(3)})
    with pytest.raises(UsageError, match="too large"):
        names(many)


def test_a_declared_size_is_not_trusted(monkeypatch):
    monkeypatch.setattr(archives, "MOST_PICTURE", 1000)
    data = packed({"a.png": bytes(5000)}, compression=zipfile.ZIP_DEFLATED)
    lying = data.replace(struct.pack("<I", 5000), struct.pack("<I", 10))
    with pytest.raises(UsageError):
        names(lying)


@pytest.mark.parametrize("data", [b"", b"no archive", b"PK\x05\x06", b"PK\x01" * 50])
def test_what_is_no_archive_is_refused(data):
    with pytest.raises(UsageError, match=r"a\.zip"):
        names(data)


def test_every_cut_of_an_archive_is_refused_or_read():
    data = packed({f"{i}.png": b"content" * 9 for i in range(3)})
    for end in range(len(data)):
        with pytest.raises(UsageError):
            names(data[:end])


def test_large_directories_and_the_wide_format_are_refused_unread(monkeypatch):
    monkeypatch.setattr(zipfile, "ZipFile", None)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 9, 9, 10**8, 0, 0)
    with pytest.raises(UsageError, match="too many files"):
        names(end)
    with pytest.raises(UsageError, match="too many files"):
        names(ZIP64 + bytes(16) + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, 60, 0, 0))


def test_encrypted_and_unusual_archives_are_refused():
    data = bytearray(packed({"a.png": b"x"}))
    place = data.index(b"PK\x01\x02") + 8
    data[place] |= 1
    with pytest.raises(UsageError, match="encrypted"):
        names(bytes(data))
    with pytest.raises(UsageError, match="unusual"):
        names(packed({"a.png": b"x"}, compression=zipfile.ZIP_BZIP2))


def test_the_layout_of_mvtec_fills_both_sets(tmp_path):
    files = ["train/good/0.png", "test/good/1.png", "test/bent/2.png", "ground_truth/bent/2.png"]
    data = packed({f"parts/screw/{name}": name.encode() for name in [*files, "readme.png"]})
    found = category_of([Upload("a.zip", data)], [], tmp_path / "in")
    assert found.name == "screw" and len(found.train) == 1
    assert [(s.kind, s.path.name, s.mask is not None) for s in found.test] == [
        ("bent", "2.png", True),
        ("good", "1.png", False),
    ]


def test_folders_are_labels_only_where_one_is_good(tmp_path):
    labelled = packed({"x/good/0.png": b"0", "x/bent/1.png": b"1"})
    plain = packed({"a/0.png": b"0", "b/1.png": b"1"})
    for data, kinds in ((labelled, ["bent", "good"]), (plain, [UNKNOWN, UNKNOWN])):
        found = category_of([], [Upload("t.zip", data)], tmp_path / "in")
        assert [sample.kind for sample in found.test] == kinds
    good_only = packed({"good/0.png": b"0"})
    (sample,) = category_of([], [Upload("t.zip", good_only)], tmp_path / "in").test
    assert sample.kind == "good"


def test_equal_names_are_both_kept_and_old_uploads_are_not(tmp_path):
    folder = tmp_path / "in"
    twice = [Upload("a.png", b"1"), Upload("a.png", b"2")]
    found = category_of(twice, [Upload("a.png", b"3")], folder)
    assert [s.path.read_bytes() for s in found.train] == [b"1", b"2"]
    assert [(s.path.read_bytes(), s.kind) for s in found.test] == [(b"3", UNKNOWN)]
    category_of([], [Upload("b.png", b"")], folder)
    assert placed(folder) == [f"{UNKNOWN}/b.png"]


def test_too_many_bytes_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(uploads, "MOST_PICTURE", 10)
    with pytest.raises(UsageError, match=r"a\.png: more than"):
        category_of([Upload("a.png", bytes(11))], [], tmp_path / "in")
    monkeypatch.setattr(uploads, "MOST_TOTAL", 15)
    with pytest.raises(UsageError, match="MB of pictures"):
        category_of([Upload("a.png", bytes(9))], [Upload("b.png", bytes(9))], tmp_path / "in")
