"""Batches: order and content, with and without threads, and with bad pictures."""

import logging
import threading

import numpy as np
import pytest
from PIL import Image

from common.preprocessing import Preprocessing
from datasets.loader import Loader
from datasets.samples import Sample
from datasets.transforms import BadPictureError, Transform

TRANSFORM = Transform(Preprocessing(resize=32, crop=(32, 32)))
WORKERS = pytest.mark.parametrize("workers", [0, 1, 3])


def grey(path, value):
    """A picture of one grey value: the value tells pictures apart."""
    Image.new("L", (8, 8), value).save(path)
    return path


@pytest.fixture
def seven(tmp_path):
    return [Sample(grey(tmp_path / f"{i}.png", 30 * i)) for i in range(7)]


@pytest.fixture
def with_a_bad_one(seven):
    seven[3].path.write_text("no picture")
    return seven


def values(loader):
    """The grey value of every picture, batch by batch."""
    return [TRANSFORM.denormalize(batch.images)[:, 0, 0, 0].tolist() for batch in loader]


@WORKERS
def test_batches_keep_the_order_and_the_last_one_may_be_short(seven, workers):
    batches = list(Loader(seven, TRANSFORM, batch_size=3, workers=workers))
    assert [len(batch.samples) for batch in batches] == [3, 3, 1]
    assert [batch.images.shape for batch in batches] == [(n, 3, 32, 32) for n in (3, 3, 1)]
    assert [sample for batch in batches for sample in batch.samples] == seven
    assert values(batches) == [[0, 30, 60], [90, 120, 150], [180]]


def test_one_batch_may_hold_everything(seven):
    assert values(Loader(seven, TRANSFORM, batch_size=7)) == [[0, 30, 60, 90, 120, 150, 180]]
    assert len(values(Loader(seven, TRANSFORM, batch_size=100))) == 1


@WORKERS
def test_no_samples_give_no_batches(workers):
    assert list(Loader([], TRANSFORM, workers=workers)) == []


def test_length_is_the_number_of_pictures(seven):
    assert len(Loader(seven, TRANSFORM, batch_size=3)) == 7


def test_threads_do_not_change_the_arrays(tmp_path):
    random = np.random.default_rng(0)
    samples = []
    for index in range(9):
        noise = random.integers(0, 256, (11, 17, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{index}.png")
        samples.append(Sample(tmp_path / f"{index}.png"))
    alone, threaded = (
        [batch.images for batch in Loader(samples, TRANSFORM, batch_size=4, workers=workers)]
        for workers in (0, 3)
    )
    assert len(alone) == len(threaded) == 3
    assert all(np.array_equal(a, b) for a, b in zip(alone, threaded, strict=True))
    assert alone[0].dtype == np.float32


@pytest.fixture
def masked(tmp_path):
    """A good picture, a defective one without a mask, one whose left half is defective."""
    half = np.zeros((8, 8), np.uint8)
    half[:, :4] = 255
    Image.fromarray(half).save(tmp_path / "mask.png")
    path = grey(tmp_path / "0.png", 9)
    return [Sample(path), Sample(path, "dent"), Sample(path, "dent", tmp_path / "mask.png")]


@WORKERS
def test_masks_are_zeros_none_or_the_file(masked, workers):
    (batch,) = Loader(masked, TRANSFORM, workers=workers, masks=True)
    good, unknown, known = batch.masks
    assert good.shape == (32, 32) and good.dtype == bool and not good.any()
    assert unknown is None
    assert known[:, :16].all() and not known[:, 16:].any()


def test_masks_are_not_read_unless_asked_for(masked, tmp_path):
    (tmp_path / "mask.png").write_text("broken")
    (batch,) = Loader(masked, TRANSFORM)
    assert batch.masks == [None, None, None]


@WORKERS
def test_a_bad_mask_is_named(masked, tmp_path, workers):
    (tmp_path / "mask.png").write_text("broken")
    with pytest.raises(BadPictureError, match=r"mask\.png"):
        list(Loader(masked, TRANSFORM, workers=workers, masks=True))


@WORKERS
def test_a_bad_picture_stops_the_loader_and_is_named(with_a_bad_one, workers):
    with pytest.raises(BadPictureError) as error:
        list(Loader(with_a_bad_one, TRANSFORM, batch_size=2, workers=workers))
    text = str(error.value)
    assert str(with_a_bad_one[3].path) in text and "--" not in text


@WORKERS
def test_batches_before_the_bad_picture_still_come(with_a_bad_one, workers):
    batches = iter(Loader(with_a_bad_one, TRANSFORM, batch_size=3, workers=workers))
    assert next(batches).samples == with_a_bad_one[:3]
    with pytest.raises(BadPictureError):
        next(batches)


@WORKERS
def test_skip_bad_leaves_it_out_counts_it_and_says_so(with_a_bad_one, workers, caplog):
    loader = Loader(with_a_bad_one, TRANSFORM, batch_size=3, workers=workers, skip_bad=True)
    with caplog.at_level(logging.WARNING):
        assert values(loader) == [[0, 30, 60], [120, 150, 180]]
    assert len(loader.skipped) == 1
    assert str(with_a_bad_one[3].path) in str(loader.skipped[0])
    assert str(with_a_bad_one[3].path) in caplog.text


@WORKERS
def test_skip_bad_with_nothing_else_gives_no_batch(with_a_bad_one, workers):
    loader = Loader([with_a_bad_one[3]] * 4, TRANSFORM, workers=workers, skip_bad=True)
    assert list(loader) == [] and len(loader.skipped) == 4


@WORKERS
def test_skip_bad_does_not_hide_defects_of_the_program(seven, monkeypatch, workers):
    def broken(self, path):
        raise ZeroDivisionError

    monkeypatch.setattr(Transform, "sized_picture", broken)
    with pytest.raises(ZeroDivisionError):
        list(Loader(seven, TRANSFORM, workers=workers, skip_bad=True))


class Drawn(list):
    """A list that counts how many of its items were drawn."""

    drawn = 0

    def __iter__(self):
        for item in super().__iter__():
            self.drawn += 1
            yield item

    def __getitem__(self, index):
        self.drawn += 1
        return super().__getitem__(index)


@pytest.fixture
def decoded(monkeypatch):
    """Paths that were decoded so far, by a decoder that opens no file."""
    paths = []

    def picture(self, path):
        paths.append(path)
        return np.zeros((32, 32, 3), np.uint8), (32, 32)

    monkeypatch.setattr(Transform, "sized_picture", picture)
    return paths


@pytest.mark.parametrize("workers", [1, 3])
def test_no_more_than_three_batches_are_decoded_ahead(decoded, workers):
    samples = Drawn(Sample(number) for number in range(60))
    consumed = 0
    for batch in Loader(samples, TRANSFORM, batch_size=4, workers=workers):
        consumed += len(batch.samples)
        assert len(decoded) <= samples.drawn <= consumed + 3 * 4 + workers + 1
    assert sorted(decoded) == list(range(60))


def test_threads_do_decode_ahead(decoded):
    samples = Drawn(Sample(number) for number in range(60))
    batches = iter(Loader(samples, TRANSFORM, batch_size=4, workers=1))
    next(batches)
    assert samples.drawn > 4


def test_a_started_loader_decodes_before_it_is_asked(decoded):
    samples = Drawn(Sample(number) for number in range(60))
    with Loader(samples, TRANSFORM, batch_size=4, workers=1) as loader:
        assert samples.drawn == 3 * 4 + 1
        assert [len(batch.samples) for batch in loader] == [4] * 15
    assert sorted(decoded) == list(range(60))


def test_without_threads_nothing_is_decoded_ahead(decoded):
    batches = iter(Loader([Sample(n) for n in range(60)], TRANSFORM, batch_size=4, workers=0))
    next(batches)
    assert decoded == [0, 1, 2, 3]


@pytest.mark.parametrize(("workers", "own"), [(0, True), (1, False), (3, False)])
def test_threads_decode_unless_there_are_none(seven, monkeypatch, workers, own):
    threads = set()

    def picture(self, path):
        threads.add(threading.get_ident())
        return np.zeros((32, 32, 3), np.uint8), (32, 32)

    monkeypatch.setattr(Transform, "sized_picture", picture)
    list(Loader(seven, TRANSFORM, workers=workers))
    assert (threading.get_ident() in threads) is own


@WORKERS
def test_leaving_early_ends_at_once(decoded, workers):
    def leave():
        batches = iter(Loader([Sample(n) for n in range(500)], TRANSFORM, 4, workers))
        next(batches)
        batches.close()

    before = threading.active_count()
    thread = threading.Thread(target=leave, daemon=True)
    thread.start()
    thread.join(timeout=10)
    assert not thread.is_alive()
    assert len(decoded) <= 4 * 4 + workers
    assert threading.active_count() <= before


@WORKERS
def test_a_bad_picture_leaves_no_threads_behind(with_a_bad_one, workers):
    before = threading.active_count()
    with pytest.raises(BadPictureError):
        list(Loader(with_a_bad_one, TRANSFORM, batch_size=1, workers=workers))
    assert threading.active_count() <= before
