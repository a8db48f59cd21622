"""The pictures and masks that are found in a data set, in both layouts."""

import numpy as np
import pytest
from PIL import Image

from common.errors import UsageError, WorkError
from datasets import folder, mvtec
from datasets.samples import (
    Category,
    Sample,
    check_masks,
    find_mask,
    masks_in,
    pictures_in,
    require_training,
)
from datasets.transforms import BadPictureError


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def picture(path, width=6, height=4):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((height, width), np.uint8)).save(path)
    return path


def names(samples):
    return [sample.path.name for sample in samples]


@pytest.fixture
def data(tmp_path):
    """Two categories of which MVTec AD knows none, with every kind of mask there may be."""
    root = tmp_path / "data"
    screw, felt = root / "My Screw #2", root / "felt"
    touch(screw / "train/good/b.png", screw / "train/good/a.JPG", screw / "train/good/c.TIFF")
    touch(screw / "test/good/0.png")
    touch(*(screw / f"test/scratch/{i}.png" for i in range(3)))
    touch(screw / "test/dent/0.png")
    touch(screw / "ground_truth/scratch/0_mask.png", screw / "ground_truth/scratch/0.png")
    touch(screw / "ground_truth/scratch/1.png", screw / "ground_truth/good/0_mask.png")
    touch(felt / "train/good/0.png")
    touch(root / "readme.txt", root / "notes/readme.txt")
    return root


def test_pictures_are_found_by_ending_in_any_case_and_sorted(tmp_path):
    kept = ["A.PNG", "b.jpg", "c.Jpeg", "d.bmp", "e.tif", "f.tiff", "g.webp"]
    touch(*(tmp_path / name for name in reversed(kept)))
    touch(tmp_path / "x.txt", tmp_path / ".hidden.png", tmp_path / "x.png.bak", tmp_path / "png")
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in pictures_in(tmp_path)] == kept


def test_pictures_in_subfolders_only_when_asked(tmp_path):
    touch(tmp_path / "b.png", tmp_path / "a/c.png")
    assert pictures_in(tmp_path) == [tmp_path / "b.png"]
    assert pictures_in(tmp_path, recursive=True) == [tmp_path / "a/c.png", tmp_path / "b.png"]


def test_mask_with_the_masks_ending_comes_first(tmp_path):
    touch(tmp_path / "7_mask.tif", tmp_path / "7.png")
    assert find_mask(tmp_path / "x/7.jpg", masks_in(tmp_path)) == tmp_path / "7_mask.tif"


def test_mask_may_have_its_pictures_name_with_another_ending(tmp_path):
    touch(tmp_path / "7.bmp")
    assert find_mask(tmp_path / "x/7.jpg", masks_in(tmp_path)) == tmp_path / "7.bmp"


@pytest.mark.parametrize("there", ["8.png", "7.txt", "17_mask.png"])
def test_missing_mask_is_none(tmp_path, there):
    touch(tmp_path / there)
    assert find_mask(tmp_path / "x/7.png", masks_in(tmp_path)) is None


def test_no_mask_folder_is_no_mask(tmp_path):
    assert find_mask(tmp_path / "7.png", masks_in(None)) is None
    assert find_mask(tmp_path / "7.png", masks_in(tmp_path / "missing")) is None


def test_categories_are_folders_of_the_layout_whatever_their_names(data):
    assert mvtec.find_categories(data) == ["My Screw #2", "felt"]


def test_all_means_every_category(data):
    assert mvtec.choose_categories(data, "all") == ["My Screw #2", "felt"]
    assert mvtec.choose_categories(data, "felt") == ["felt"]


@pytest.mark.parametrize("name", ["bottle", "notes", "Felt", ""])
def test_unknown_category_lists_those_there_are(data, name):
    with pytest.raises(UsageError, match="My Screw #2, felt") as error:
        mvtec.choose_categories(data, name)
    assert error.value.setting == "category"


def test_missing_data_path_is_named(tmp_path):
    with pytest.raises(UsageError, match="nowhere: no such folder") as error:
        mvtec.find_categories(tmp_path / "nowhere")
    assert error.value.setting == "data_path"


def test_data_path_may_not_be_a_file(tmp_path):
    touch(tmp_path / "data")
    with pytest.raises(UsageError, match="no such folder"):
        mvtec.find_categories(tmp_path / "data")


def test_empty_data_path_says_what_it_should_hold(tmp_path):
    with pytest.raises(UsageError, match="holds no category folder.*train/good"):
        mvtec.find_categories(tmp_path)


def test_data_path_that_is_a_category_says_how_to_name_it(data):
    with pytest.raises(UsageError) as error:
        mvtec.find_categories(data / "felt")
    assert error.value.setting == "data_path"
    assert f"name its parent folder {data}, and the category felt" in str(error.value)


def test_training_pictures_are_the_good_ones_in_order(data):
    train = mvtec.open_category(data, "My Screw #2").train
    assert names(train) == ["a.JPG", "b.png", "c.TIFF"]
    assert not any(sample.defective or sample.mask for sample in train)


def test_test_pictures_know_their_kinds_and_masks(data):
    masks = data / "My Screw #2/ground_truth/scratch"
    found = [
        (sample.kind, sample.path.name, sample.defective, sample.mask)
        for sample in mvtec.open_category(data, "My Screw #2").test
    ]
    assert found == [
        ("dent", "0.png", True, None),
        ("good", "0.png", False, None),
        ("scratch", "0.png", True, masks / "0_mask.png"),
        ("scratch", "1.png", True, masks / "1.png"),
        ("scratch", "2.png", True, None),
    ]


def test_folders_that_are_not_there_count_as_empty(data):
    assert mvtec.open_category(data, "felt").test == []
    touch(data / "only/test/good/0.png")
    assert mvtec.open_category(data, "only").train == []


def test_files_beside_the_folders_are_no_kinds(data):
    touch(data / "felt/test/readme.txt", data / "felt/test/good/0.png")
    assert [sample.kind for sample in mvtec.open_category(data, "felt").test] == ["good"]


def test_plain_folders_make_a_category(tmp_path):
    touch(*(tmp_path / f"{part}/{i}.png" for part in ("ok", "new", "bad") for i in (2, 1)))
    touch(tmp_path / "masks/2_mask.png")
    found = folder.open_folders(
        "mine", *(tmp_path / part for part in ("ok", "new", "bad", "masks"))
    )
    assert found.name == "mine"
    assert names(found.train) == ["1.png", "2.png"]
    assert [(s.path.parent.name, s.path.name, s.defective) for s in found.test] == [
        ("new", "1.png", False),
        ("new", "2.png", False),
        ("bad", "1.png", True),
        ("bad", "2.png", True),
    ]
    assert [s.mask for s in found.test] == [None, None, None, tmp_path / "masks/2_mask.png"]


def test_plain_folders_not_given_are_empty(tmp_path):
    touch(tmp_path / "ok/1.png")
    found = folder.open_folders("mine", normal=tmp_path / "ok")
    assert names(found.train) == ["1.png"] and found.test == []
    assert folder.open_folders("mine", test_normal=tmp_path / "ok").train == []


@pytest.mark.parametrize(
    ("part", "setting"),
    [
        ("normal", "normal_dir"),
        ("test_normal", "test_normal_dir"),
        ("abnormal", "abnormal_dir"),
    ],
)
def test_missing_and_empty_plain_folders_name_their_setting(tmp_path, part, setting):
    touch(tmp_path / "empty/notes.txt")
    with pytest.raises(UsageError, match="gone: no such folder") as error:
        folder.open_folders("mine", **{part: tmp_path / "gone"})
    assert error.value.setting == setting
    with pytest.raises(UsageError, match="empty: holds no pictures") as error:
        folder.open_folders("mine", **{part: tmp_path / "empty"})
    assert error.value.setting == setting


def test_missing_mask_folder_is_an_error_and_an_empty_one_is_not(tmp_path):
    touch(tmp_path / "bad/1.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="gone: no such folder") as error:
        folder.open_folders("mine", abnormal=tmp_path / "bad", masks=tmp_path / "gone")
    assert error.value.setting == "mask_dir"
    found = folder.open_folders("mine", abnormal=tmp_path / "bad", masks=tmp_path / "empty")
    assert [sample.mask for sample in found.test] == [None]


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_training_pictures_are_wrong_use(tmp_path, count):
    category = Category("c", [Sample(tmp_path / "0.png")] * count, [])
    with pytest.raises(UsageError, match=f"{count} pictures to train with"):
        require_training(category, tmp_path)


def test_two_training_pictures_are_enough(tmp_path):
    category = Category("c", [Sample(tmp_path / "0.png"), Sample(tmp_path / "1.png")], [])
    assert require_training(category, tmp_path) is None


def test_masks_of_their_pictures_sizes_pass(tmp_path):
    sample = Sample(picture(tmp_path / "0.png"), "dent", picture(tmp_path / "m/0.bmp"))
    unmasked = Sample(tmp_path / "not opened.png", "dent")
    assert check_masks([sample, unmasked]) is None


@pytest.mark.parametrize("size", [(4, 6), (6, 5), (5, 4), (12, 8)])
@pytest.mark.parametrize("skip_bad", [False, True])
def test_mask_of_another_size_is_named_with_both_sizes(tmp_path, skip_bad, size):
    right = Sample(picture(tmp_path / "0.png"), "dent", picture(tmp_path / "m/0.png"))
    wrong = Sample(picture(tmp_path / "1.png"), "dent", picture(tmp_path / "m/1_mask.png", *size))
    with pytest.raises(WorkError, match=rf"1_mask\.png.*{size[0]}×{size[1]}.*1\.png.*6×4"):
        check_masks([right, wrong], skip_bad)


@pytest.mark.parametrize("broken", ["0.png", "m/0.png"])
def test_a_broken_file_stops_the_check_unless_bad_pictures_are_skipped(tmp_path, broken):
    sample = Sample(picture(tmp_path / "0.png"), "dent", picture(tmp_path / "m/0.png"))
    (tmp_path / broken).write_text("broken")
    with pytest.raises(BadPictureError) as error:
        check_masks([sample])
    assert str(tmp_path / broken) in str(error.value)
    assert check_masks([sample], skip_bad=True) is None


def test_hidden_folders_are_neither_categories_nor_kinds(tmp_path):
    picture(tmp_path / "nut/train/good/0.png")
    picture(tmp_path / "nut/test/.ipynb_checkpoints/0.png")
    picture(tmp_path / ".trash/test/good/0.png")
    assert mvtec.find_categories(tmp_path) == ["nut"]
    assert mvtec.open_category(tmp_path, "nut").test == []
    picture(tmp_path / "seen.png")
    assert names(map(Sample, pictures_in(tmp_path, recursive=True))) == ["0.png", "seen.png"]


def test_a_mask_may_have_an_uppercase_ending(tmp_path):
    touch(tmp_path / "7_mask.PNG")
    assert find_mask(tmp_path / "x/7.png", masks_in(tmp_path)) == tmp_path / "7_mask.PNG"


def test_masks_that_are_named_after_no_picture_are_wrong_use(tmp_path):
    picture(tmp_path / "bad/7.png")
    picture(tmp_path / "masks/x_7.png")
    with pytest.raises(
        UsageError, match="none of its 1 pictures has the name of a defective picture"
    ):
        folder.open_folders("x", abnormal=tmp_path / "bad", masks=tmp_path / "masks")


def test_masks_among_the_pictures_are_wrong_use(tmp_path):
    picture(tmp_path / "7.png")
    with pytest.raises(UsageError, match="masks must not be in the same folder"):
        folder.open_folders("x", abnormal=tmp_path, masks=tmp_path)
