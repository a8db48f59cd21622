"""The audit of training pictures: the unusual ones come first and are named."""

import csv
from pathlib import Path

import numpy as np
import pytest

from common.errors import UsageError
from datasets.exclusion import excluded
from datasets.samples import Sample
from inspection.audit import audit
from inspection.normal import SHOWN, NormalPictures, left_out
from models.detector import Scores
from models.kept import KeptMaps
from models.methods import METHODS
from tasks.audit import forget, write_audit
from tests.test_promise import Again, detector_of, pictures


def found_of(scores, names=None) -> NormalPictures:
    found = NormalPictures("left out one by one")
    names = names or [f"good/{i:03}.png" for i in range(len(scores))]
    for start in range(0, len(scores), 7):
        part = np.array(scores[start : start + 7], np.float32)
        maps = np.zeros((len(part), 2, 2), np.float32) + part[:, None, None]
        samples = [Sample(Path(name)) for name in names[start : start + 7]]
        found.add(samples, Scores(part, maps))
    return found


@pytest.mark.parametrize("method", METHODS)
def test_a_planted_defective_picture_is_first(method, tmp_path):
    """Among 60 good ones; a small part of it is brighter."""
    drawn = pictures(61, seed=5)
    drawn[0][17, :, 8:16, 16:24] += 4
    samples = [Sample(Path(f"{i:03}.png")) for i in range(61)]
    detector = detector_of(method)
    with KeptMaps(tmp_path) as kept:
        detector.fit(drawn, kept)
        found = left_out(detector, kept, samples, Again([], []))
    rows = audit(found)
    assert (rows[0].index, rows[0].source, rows[0].beyond) == (17, Path("017.png"), True)
    assert rows[0].p_value < 1e-3
    assert sum(row.beyond for row in rows) < 10


@pytest.mark.parametrize("n", [2, 3, 8, 20, 300])
def test_all_pictures_come_in_the_order_of_their_scores(n):
    rng = np.random.default_rng(n)
    scores = rng.gamma(9, 1, n).astype(np.float32).tolist()
    rows = audit(found_of(scores))
    assert [row.score for row in rows] == sorted(scores, reverse=True)
    assert sorted(row.index for row in rows) == list(range(n))
    p_values = [row.p_value for row in rows]
    assert p_values == sorted(p_values) and p_values[0] >= 0 and p_values[-1] == 1
    assert all(row.beyond == (row.p_value < 1 / n) for row in rows)


def test_several_defective_pictures_do_not_hide_each_other():
    scores = np.random.default_rng(0).gamma(30, 1, 100)
    scores[[4, 50, 51]] += 60
    assert {row.index for row in audit(found_of(scores)) if row.beyond} >= {4, 50, 51}


def test_equal_scores_are_not_beyond():
    rows = audit(found_of([3.0] * 30))
    assert not any(row.beyond for row in rows)
    assert [row.index for row in rows] == list(range(30))


def test_maps_are_kept_of_the_most_unusual_pictures_only():
    scores = np.random.default_rng(1).permutation(40).astype(float)
    found = found_of(scores)
    assert len(found.unusual) == SHOWN
    assert {index for _, index, _ in found.unusual} == set(np.argsort(scores)[-SHOWN:])
    assert all(pixels.max() == score for score, _, pixels in found.unusual)
    assert all(pixels.base is None for _, _, pixels in found.unusual)  # not the whole batch


def test_the_table_and_the_warning_name_them(tmp_path, caplog):
    scores = [*np.random.default_rng(0).gamma(50, 1, 60), 500, 400, 300, 350, 450, 600]
    names = [f"good/{i:03}.png" for i in range(len(scores))]
    names[-1] = "good/new\nline.png"
    rows = audit(found_of(scores, names))
    write_audit(rows, tmp_path)
    with (tmp_path / "training.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert list(table[0]) == ["path", "score", "p_value", "beyond"]
    assert len(table) == 66 and table[0]["path"] == "good/new\nline.png"
    assert [float(row["score"]) for row in table] == pytest.approx([r.score for r in rows], 1e-5)
    assert {row["beyond"] for row in table} == {"True", "False"}
    beyond = sum(row.beyond for row in rows)
    assert f"{beyond} of 66 training pictures are unlike the rest" in caplog.text
    assert r"new\nline.png, 060.png, " in caplog.text and f" and {beyond - 5} more." in caplog.text
    assert caplog.text.count("\n") == 1
    for name in ("audit.png", "folds.json", "folds.png"):
        (tmp_path / name).touch()
    forget(tmp_path)
    forget(tmp_path)
    assert not list(tmp_path.iterdir())


def test_scores_that_are_not_finite_promise_nothing(caplog):
    assert found_of([1.0, 2.0, np.inf]).normal() is None
    assert "without some of the 3 training pictures there is nothing" in caplog.text
    assert found_of([1.0, 2.0, 3.0]).normal().pictures == 3


def test_two_models_of_the_same_pictures_can_be_compared():
    same, other = ["a/1.png", "a/2.png"], ["a/2.png", "a/1.png"]
    digests = [found_of([1, 2], names).normal().pictures_sha256 for names in (same, same, other)]
    assert digests[0] == digests[1] != digests[2]


SAMPLES = [Sample(Path(f"data/{part}/{i}.png")) for part in "ab" for i in range(3)]


@pytest.mark.parametrize(
    ("lines", "gone"),
    [
        ("1.png\n", {1, 4}),
        ("b/1.png\n  a/2.png  \r\n\n", {4, 2}),
        ("data/a/0.png\ndata/a/0.png", {0}),
        ("\ufeff0.png", {0, 3}),
        ("", set()),
    ],
)
def test_a_line_is_a_name_or_the_end_of_a_path(lines, gone, tmp_path):
    file = tmp_path / "bad.txt"
    file.write_text(lines, encoding="utf-8")
    kept = [sample for i, sample in enumerate(SAMPLES) if i not in gone]
    assert excluded(SAMPLES, file, several=False) == kept


@pytest.mark.parametrize("line", ["3.png", "1", "ng", "/1.png", "x/1.png", "."])
def test_a_line_that_names_no_picture_is_refused(line, tmp_path):
    file = tmp_path / "bad.txt"
    file.write_text(f"1.png\n{line}\n")
    with pytest.raises(UsageError, match="no such training picture") as error:
        excluded(SAMPLES, file, several=False)
    assert error.value.setting == "exclude"
    assert len(excluded(SAMPLES, file, several=True)) == 4  # it may be of another category


def test_a_file_that_cannot_be_read_is_refused(tmp_path, monkeypatch):
    for path in (tmp_path, tmp_path / "none.txt"):
        with pytest.raises(UsageError, match=path.name):
            excluded(SAMPLES, path, several=False)
    monkeypatch.setattr("datasets.exclusion.MOST_BYTES", 3)
    (tmp_path / "long.txt").write_text("0.png")
    with pytest.raises(UsageError, match="more than"):
        excluded(SAMPLES, tmp_path / "long.txt", several=False)
