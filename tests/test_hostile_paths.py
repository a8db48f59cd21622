"""Harmful paths and folders: pipes, devices, circular links, names that are too long."""

import os
import socket
import threading
from pathlib import Path

import pytest

from common.errors import UsageError
from datasets import folder, mvtec
from datasets.samples import pictures_in
from datasets.transforms import (
    BadPictureError,
)
from tests.pictures import READERS, saved


def refused(function, *arguments):
    """The text of the BadPictureError, within five seconds."""
    found = []

    def call():
        with pytest.raises(BadPictureError) as error:
            function(*arguments)
        found.append(error.value)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(5)
    assert found, "no error, or none in time"
    return str(found[0])


@pytest.fixture
def special(tmp_path):
    """Things that may lie in a folder of pictures beside pictures."""
    os.mkfifo(tmp_path / "fifo.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    (tmp_path / "gone.png").symlink_to("nowhere.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "null.png").symlink_to("/dev/null")
    with socket.socket(socket.AF_UNIX) as listening:
        before = Path.cwd()
        os.chdir(tmp_path)  # a socket's path has to be short
        listening.bind("socket.png")
        os.chdir(before)
    saved(tmp_path / "0.png")
    return tmp_path


@READERS
@pytest.mark.parametrize("name", ["fifo", "folder", "null", "socket"])
def test_what_is_not_a_regular_file_is_refused_at_once(special, reader, name):
    path = special / f"{name}.png"
    assert refused(reader, path) == f"{path}: not a regular file"


@pytest.mark.parametrize("recursive", [False, True])
def test_what_is_not_a_regular_file_is_no_picture_of_a_folder(special, recursive):
    assert pictures_in(special, recursive) == [special / "0.png"]


@READERS
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("loop.png", "Too many levels of symbolic links"),
        ("gone.png", "No such file"),
        ("x" * 300, "File name too long"),
        ("a\0b", "null"),
    ],
)
def test_paths_that_lead_nowhere_are_named_once(special, reader, name, reason):
    text = refused(reader, special / name)
    assert reason in text and text.count(str(special)) == 1


def test_links_that_lead_in_a_circle_end(tmp_path):
    (tmp_path / "a/b").mkdir(parents=True)
    saved(tmp_path / "a/b/0.png")
    (tmp_path / "a/b/up").symlink_to(tmp_path)
    (tmp_path / "a/self").symlink_to("self")
    (tmp_path / "a/here").symlink_to(".")
    assert pictures_in(tmp_path, recursive=True) == [tmp_path / "a/b/0.png"]


@pytest.mark.parametrize("name", ["loop", "x" * 300, "a\0b"], ids=["loop", "long", "null"])
@pytest.mark.parametrize("part", ["normal", "test_normal", "abnormal", "masks"])
def test_folders_that_cannot_be_reached_name_their_setting(tmp_path, name, part):
    (tmp_path / "loop").symlink_to("loop")
    bad = tmp_path / name
    for others in ({}, {"masks": tmp_path}):
        with pytest.raises(UsageError) as error:
            folder.open_folders("x", **{**others, part: bad})
        assert error.value.setting in (f"{part}_dir", "mask_dir") and str(bad) in str(error.value)
    with pytest.raises(UsageError) as error:
        mvtec.find_categories(bad)
    assert error.value.setting == "data_path" and str(bad) in str(error.value)
