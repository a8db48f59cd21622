"""Stage maps kept on the disk between two passes."""

import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from models import kept
from models.kept import KeptMaps

STAGES = [(3, (4, 5)), (2, (2, 2))]
PICTURE = 4 * (3 * 4 * 5 + 2 * 2 * 2)  # bytes


def batches(*sizes):
    rng = np.random.default_rng(0)
    return [[rng.standard_normal((b, c, *g), np.float32) for c, g in STAGES] for b in sizes]


def same(found, expected):
    found = list(found)
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one, other)
            assert one.dtype == np.float32


def test_batches_come_back_in_their_order_as_often_as_asked(tmp_path):
    given = batches(3, 1, 4)
    with KeptMaps(tmp_path) as maps:
        for batch in given:
            maps.add(batch)
        assert (maps.pictures, maps.full) == (8, False)
        assert not list(tmp_path.iterdir())  # the file has no name
        same(maps, given)
        same(maps, given)
    assert maps.file.closed


def test_views_and_other_types_are_kept_by_value(tmp_path):
    array = np.random.default_rng(0).random((2, 4, 3))
    with KeptMaps(tmp_path) as maps:
        maps.add([array.transpose(0, 2, 1)[:, :, ::2]])
        same(maps, [[array.transpose(0, 2, 1)[:, :, ::2].astype(np.float32)]])


def test_once_a_batch_does_not_fit_no_later_one_is_kept(tmp_path):
    given = batches(2, 4, 1)
    with KeptMaps(tmp_path, most=5 * PICTURE) as maps:
        for batch in given:
            maps.add(batch)
        assert (maps.pictures, maps.full) == (2, True)
        same(maps, given[:1])


def test_without_room_nothing_is_kept(tmp_path):
    with KeptMaps(tmp_path, most=PICTURE - 1) as maps:
        maps.add(batches(1)[0])
        assert (maps.pictures, maps.full, list(maps)) == (0, True, [])


@pytest.mark.parametrize(("free", "room"), [(10**6, 5 * 10**5), (10**15, kept.MOST)])
def test_at_most_half_of_the_free_space_is_used(free, room, tmp_path, monkeypatch):
    monkeypatch.setattr(kept.shutil, "disk_usage", lambda folder: SimpleNamespace(free=free))
    assert KeptMaps(tmp_path).room == room


def test_a_disk_that_is_full_keeps_what_came_before(tmp_path, caplog):
    """/dev/full takes nothing; a part of the batch is in the file already."""
    caplog.set_level("INFO")
    given = batches(2, 3)
    with KeptMaps(tmp_path) as maps, Path("/dev/full").open("wb", buffering=0) as full:
        maps.add(given[0])
        given[1][0].tofile(maps.file)
        own, maps.file = maps.file, full
        maps.add(given[1])
        maps.file = own
        maps.add(given[1])
        assert (maps.pictures, maps.full) == (2, True)
        assert "features of 2 pictures are kept, no more" in caplog.text
        same(maps, given[:1])


def test_memory_does_not_grow_with_the_number_of_pictures(tmp_path):
    batch = [np.zeros((8, 64, 16, 16), np.float32)]  # 0.5 MB
    with KeptMaps(tmp_path) as maps:
        maps.add(batch)
        tracemalloc.start()
        for _ in range(40):
            maps.add(batch)
        for found in maps:
            assert found[0].shape == batch[0].shape
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert maps.pictures == 328
    assert peak < 3 * batch[0].nbytes
