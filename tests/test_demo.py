"""The demo set: layout, determinism and exact masks; other files stay unchanged."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.errors import UsageError, WorkError
from demo_set import generate as demo
from demo_set.draw import LIGHT, REFERENCE, VISIBLE
from demo_set.flange import RIM
from demo_set.loose_flange import PLAY, SCALE, view

TINY = {"size": 96, "train": 3, "good": 2, "defective": 2}
KINDS = [(category, kind) for category in demo.CATEGORIES for kind in range(4)]


def pixels(folder: Path) -> dict[str, str]:
    """A digest of the decoded pixels of every picture below a folder, by relative path."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(
            np.asarray(Image.open(path)).tobytes()
        ).hexdigest()
        for path in sorted(folder.rglob("*.png"))
    }


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    root = tmp_path_factory.mktemp("demo") / "made" / "here"
    return demo.generate(root, seed=3, **TINY)


def test_layout_and_counts(tiny):
    assert [folder.name for folder in tiny] == ["weave", "flange"]
    for folder in tiny:
        kinds = demo.CATEGORIES[folder.name]
        wanted = {f"train/good/{index:03d}.png" for index in range(3)}
        wanted |= {f"test/good/{index:03d}.png" for index in range(2)}
        for kind in kinds:
            wanted |= {f"test/{kind}/00{index}.png" for index in range(2)}
            wanted |= {f"ground_truth/{kind}/00{index}_mask.png" for index in range(2)}
        assert set(pixels(folder)) == wanted
    left = sorted(path.name for path in tiny[0].parent.iterdir())
    assert left == ["demo.json", "flange", "weave"]


def test_pictures_are_rgb_and_masks_grey_of_two_values(tiny):
    for folder in tiny:
        for path in folder.rglob("*.png"):
            image = Image.open(path)
            assert image.size == (96, 96)
            if path.parts[-3] == "ground_truth":
                assert image.mode == "L"
                assert set(np.unique(np.asarray(image))) == {0, 255}
            else:
                assert image.mode == "RGB"
                assert np.asarray(image).std() > 10


def test_same_seed_same_pixels_and_counts_do_not_matter(tiny, tmp_path):
    more = demo.generate(tmp_path, seed=3, size=96, train=4, good=1, defective=3)
    for before, after in zip(tiny, more, strict=True):
        first, second = pixels(before), pixels(after)
        common = first.keys() & second.keys()
        assert len(common) == 3 + 1 + 4 * 2 * 2
        assert all(first[name] == second[name] for name in common)


def test_other_seed_other_pixels(tiny, tmp_path):
    (other,) = demo.generate(tmp_path, seed=4, categories=["weave"], **TINY)
    first, second = pixels(tiny[0]), pixels(other)
    assert first.keys() == second.keys()
    assert all(first[name] != second[name] for name in first)


def test_no_two_pictures_are_alike(tiny):
    for folder in tiny:
        digests = list(pixels(folder).values())
        assert len(set(digests)) == len(digests)


@pytest.mark.parametrize(("category", "kind"), KINDS)
def test_mask_is_where_the_defect_is(category, kind):
    shot = demo.take(category, demo.Picture("test", kind, 0), demo.Settings(seed=1))
    change = np.abs(shot.seen - shot.sound).max(axis=-1)
    inside = shot.mask > 0
    assert inside.sum() >= 40
    # Only specks may be left out: the loudest changes are all inside.
    assert (change[~inside] > VISIBLE).sum() <= 0.02 * inside.sum() + 12
    assert change[~inside].max() < change[inside].max() / 2
    # Closing pinholes may add a little, not more.
    assert (change[inside] > VISIBLE).mean() > 0.6


@pytest.mark.parametrize(("category", "kind"), KINDS)
@pytest.mark.parametrize("size", [96, 320])
def test_defect_is_in_the_part_that_is_looked_at(category, kind, size):
    settings = demo.Settings(seed=2, size=size)
    for index in range(3):
        mask = demo.take(category, demo.Picture("test", kind, index), settings).mask
        edge = round(size / 16)
        assert mask[edge:-edge, edge:-edge].sum() == mask.sum() > 0


def test_good_pictures_differ_within_the_play_of_the_fixture():
    shots = [
        demo.take("flange", demo.Picture("train", None, index), demo.Settings()).seen
        for index in range(4)
    ]
    # The middle of the bore stays mat, the web beside it stays steel, in every picture.
    for shot in shots:
        blue = shot[156:164, 156:164].mean(axis=(0, 1))
        grey = shot[156:164, 218:226].mean(axis=(0, 1))
        assert blue[2] > 1.3 * blue[0]
        assert abs(grey[2] - grey[0]) < 0.12 * grey[0]
    assert np.abs(shots[0] - shots[1]).mean() > 0.01


# The mean of each channel of the second picture of each folder.
MEANS = {
    ("weave", None): (145.772, 143.289, 134.709),
    ("weave", 0): (150.001, 147.950, 138.596),
    ("weave", 1): (140.824, 139.175, 131.109),
    ("weave", 2): (143.151, 139.114, 132.455),
    ("weave", 3): (154.332, 149.875, 142.533),
    ("flange", None): (99.223, 114.592, 128.592),
    ("flange", 0): (99.447, 115.125, 132.502),
    ("flange", 1): (100.639, 116.470, 129.784),
    ("flange", 2): (97.267, 112.757, 127.937),
    ("flange", 3): (97.768, 111.740, 127.295),
}


@pytest.mark.parametrize(("category", "kind"), MEANS)
def test_the_first_categories_keep_their_pixels(category, kind):
    (picture, *_) = demo.draw(category, demo.Picture("test", kind, 1), demo.Settings(size=96))
    means = np.asarray(picture).mean(axis=(0, 1))
    assert means == pytest.approx(MEANS[category, kind], abs=0.005)


def loose(index: int, kind: int | None = None) -> demo.Shot:
    return demo.take("loose_flange", demo.Picture("test", kind, index), demo.Settings())


def place(index: int):
    """The view of a picture of `loose`, and the middle of its flange in pixels (x,y)."""
    rng = np.random.default_rng(np.random.SeedSequence([0, 2, 1, index]).spawn(3)[0])
    seen = view(rng, 320)
    row, column = np.unravel_index(np.hypot(seen.x, seen.y).argmin(), seen.x.shape)
    return seen, np.array((column, row)) + 0.5


def test_a_loose_flange_lies_at_any_angle_and_place():
    views = [view(np.random.default_rng(seed), 64) for seed in range(40)]
    turns = np.array([v.turn for v in views])
    assert turns.min() < -2.5 and turns.max() > 2.5 and np.abs(turns).min() < 0.5
    middles = np.array([np.unravel_index(np.hypot(v.x, v.y).argmin(), v.x.shape) for v in views])
    assert (np.ptp(middles, axis=0) > 0.7 * 2 * PLAY * 64 / REFERENCE).all()


def test_a_loose_flange_is_steel_on_a_mat_and_all_of_it_is_seen():
    for index in range(6):
        shot, (seen, middle) = loose(index).seen, place(index)
        assert np.abs(middle - 160).max() + RIM * SCALE < 140
        radius = np.hypot(seen.x, seen.y)
        web = shot[(radius > 55) & (radius < 62)].mean(axis=0)
        mat = shot[radius > 1.25 * RIM].mean(axis=0)
        assert mat[2] > 1.3 * mat[0] and abs(web[2] - web[0]) < 0.12 * web[0]


def test_light_comes_from_the_same_side_however_a_flange_is_turned():
    rows, columns = np.mgrid[:320, :320] + 0.5
    for index in range(8):
        shot, (seen, middle) = loose(index).seen.mean(axis=2), place(index)
        radius = np.hypot(seen.x, seen.y)
        lit = (columns - middle[0]) * LIGHT[0] + (rows - middle[1]) * LIGHT[1] > 0
        rim = (radius > RIM - 5) & (radius < RIM - 1)
        assert shot[rim & lit].mean() > 1.05 * shot[rim & ~lit].mean()
        beside = (radius > RIM + 2) & (radius < RIM + 7)  # the shadow is on the other side
        assert shot[beside & lit].mean() > 1.1 * shot[beside & ~lit].mean()


@pytest.mark.parametrize("kind", range(4))
def test_a_defect_of_a_loose_flange_is_on_it(kind):
    for index in range(4):
        shot = loose(index, kind)
        rng = np.random.default_rng(np.random.SeedSequence([0, 2, 2 + kind, index]).spawn(3)[0])
        seen = view(rng, 320)
        assert np.hypot(seen.x, seen.y)[shot.mask > 0].max() < RIM + 6


def test_second_call_does_nothing(tiny, monkeypatch):
    before = {path: path.stat().st_mtime_ns for path in tiny[0].parent.rglob("*")}
    monkeypatch.setattr(demo, "draw", lambda *_: pytest.fail("drawn again"))
    assert demo.generate(tiny[0].parent, seed=3, **TINY) == tiny
    assert {path: path.stat().st_mtime_ns for path in tiny[0].parent.rglob("*")} == before


def test_other_settings_are_refused_and_nothing_is_lost(tiny):
    before = pixels(tiny[0])
    with pytest.raises(UsageError, match=r"weave is a demo set with other settings \(seed 3"):
        demo.generate(tiny[0].parent, seed=5, **TINY)
    assert pixels(tiny[0]) == before


def test_foreign_folder_is_refused_before_anything_is_made(tmp_path):
    (tmp_path / "flange").mkdir()
    (tmp_path / "flange" / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="flange exists and is not recorded"):
        demo.generate(tmp_path, **TINY)
    assert [path.name for path in tmp_path.rglob("*")] == ["flange", "mine.txt"]


def test_missing_picture_is_named(tmp_path):
    (folder,) = demo.generate(tmp_path, categories=["flange"], **TINY)
    (folder / "test" / "good" / "001.png").unlink()
    with pytest.raises(UsageError, match="flange lacks 1 of its 21 files"):
        demo.generate(tmp_path, categories=["flange"], **TINY)


def test_interrupted_run_leaves_nothing_behind(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(demo, "draw", fail)
    with pytest.raises(WorkError, match="No space left on device"):
        demo.generate(tmp_path, **TINY)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": 8}, "expected a whole number from 64 to 2048, got 8"),
        ({"seed": -1}, "got -1"),
        ({"train": 0}, "got 0"),
        ({"categories": ["bottle"]}, "expected some of weave, flange, loose_flange, got 'bottle'"),
        ({"categories": ["weave", "weave"]}, "weave,weave repeats a name"),
        ({"categories": []}, "expected some of weave, flange"),
    ],
)
def test_wrong_settings(tmp_path, wrong, message):
    with pytest.raises(UsageError, match=message) as caught:
        demo.generate(tmp_path, **wrong)
    assert [caught.value.setting] == list(wrong)


def command(*arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "demo_set", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
    )


@pytest.mark.process
def test_command_line(tmp_path):
    counts = [f"--{name}={value}" for name, value in TINY.items()]
    options = ["--save_path", tmp_path, "--categories", "weave", "--seed", 3, *counts]
    first = command(*options)
    assert (first.returncode, first.stdout) == (0, f"{tmp_path / 'weave'}\n")
    again = command(*options)
    assert (again.returncode, again.stdout) == (0, first.stdout)
    assert "already complete" in again.stderr


@pytest.mark.process
@pytest.mark.once
@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--save_path", "x", "--size", "nine"], 2),
        (["--save_path", "x", "--categories", "bottle"], 2),
        (["--save", "x"], 2),
        (["--save_path", str(Path(__file__))], 2),
        (["--save_path", str(Path(__file__, "below"))], 1),
    ],
)
def test_command_line_errors_are_one_line(options, code):
    result = command(*options)
    assert result.returncode == code
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
