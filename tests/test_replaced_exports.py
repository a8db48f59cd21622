"""An export that another one replaces: the old or the new one is read, never parts of both."""

import json
import shutil
from pathlib import Path

import pytest

from common.files import sha256_of
from common.temporary import LOCK
from common.transaction import COMMIT, whole_files
from inspection import Inspector
from models import checkpoint, open_export
from models.checkpoint import DISTRIBUTION
from models.export import OURS
from models.open_export import ExportedFiles, OpenExport

pytestmark = pytest.mark.process


@pytest.fixture
def chips(demo):
    return demo / "flange/test/chip"


@pytest.fixture
def places(exported, other_export, tmp_path) -> tuple[Path, Path]:
    """Copies of two exports in one folder each."""
    for name, folder in (("a", exported), ("b", other_export.parent)):
        (tmp_path / name).mkdir()
        for path in folder.iterdir():
            if path.name in ("distribution", *OURS):
                shutil.copy(path, tmp_path / name)
    return tmp_path / "a", tmp_path / "b"


def replace_export(place: Path, new: Path) -> None:
    with whole_files(place, OURS) as temporary:
        for path in new.iterdir():
            shutil.copy(path, temporary)


def interrupted(place: Path, new: Path, moved: int) -> None:
    """As after a kill, when `moved` files of an export `new` were at their places."""
    left = shutil.copytree(new, place / COMMIT)
    names = {path.name for path in new.iterdir()}
    (left / LOCK).write_text(json.dumps(sorted({*OURS} - names)))
    for name in sorted(names)[:moved]:
        (left / name).replace(place / name)


def score_of(folder: Path, chips: Path) -> float:
    return next(Inspector.open(folder).inspect([chips / "000.png"])).score


def test_an_export_that_is_replaced_after_it_was_opened_is_still_read(places, chips):
    place, new = places
    old, expected = score_of(place, chips), score_of(new, chips)
    assert old != pytest.approx(expected, rel=1e-3)
    inspector = Inspector.open(place)
    replace_export(place, new)
    assert next(inspector.inspect([chips / "000.png"])).score == pytest.approx(old, rel=1e-5)
    assert score_of(place, chips) == pytest.approx(expected, rel=1e-5)
    assert {path.name for path in place.iterdir()} == {path.name for path in new.iterdir()}


@pytest.mark.parametrize("moved", [0, 2])
@pytest.mark.parametrize("writable", [True, False])
def test_an_interrupted_export_is_completed_or_read_where_it_is(
    places, chips, moved, writable, monkeypatch
):
    place, new = places
    expected = score_of(new, chips)
    interrupted(place, new, moved)
    if not writable:
        for module in ("models.open_export", "inspection.inspector"):
            monkeypatch.setattr(f"{module}.settle", lambda folder: None)
    assert score_of(place, chips) == pytest.approx(expected, rel=1e-5)
    assert (place / COMMIT).exists() != writable
    if writable:
        assert {path.name for path in place.iterdir()} == {path.name for path in new.iterdir()}


def test_an_export_that_is_replaced_while_it_is_opened_is_opened_again(places, monkeypatch):
    """Between the distribution and the graph, the files become those of another export."""
    place, new = places
    real, opened = open_export._readable, []

    def readable(path):
        opened.append(path)
        if len(opened) == 1:
            replace_export(place, new)
        return real(path)

    monkeypatch.setattr(open_export, "_readable", readable)
    with OpenExport(ExportedFiles.within(place)) as found:
        theirs = checkpoint.load_record(new / "distribution", DISTRIBUTION)
        assert found.record == theirs
        assert sha256_of(found.model) == theirs.exported.graphs[0].model
    assert len(opened) == 4
