"""Options: all spellings of booleans, limits of numbers, and the settings made from them."""

import argparse
from argparse import Namespace

import pytest

from common.errors import UsageError
from common.options import Parser, add_boolean, checked, folder_name, positive, side_or_size, whole
from datasets import options as data_options
from models.options import add_model_options, backbone_from, find_model


def parser():
    made = Parser("A parser for tests.")
    add_boolean(made, "--val", False, "whether to")
    add_boolean(made, "--keep", True, "whether to")
    made.add_argument("--count", type=whole(1, 9), default=3, help="how many")
    made.add_argument("--near", type=checked(positive), help="a number")
    return made


def refused(made, arguments, capsys):
    """The message with which `arguments` end the process, after its exit code was checked."""
    with pytest.raises(SystemExit) as end:
        made.parse_args(arguments)
    assert end.value.code == 2
    streams = capsys.readouterr()
    assert streams.out == "" and streams.err.startswith("error: ")
    assert streams.err.count("\n") == 1
    return streams.err


@pytest.mark.parametrize(
    "words",
    ["--val", "--val True", "--val=true", "--val TRUE", "--val 1", "--val yes", "--val=on"],
)
def test_spellings_of_true(words):
    assert parser().parse_args(words.split()).val is True


@pytest.mark.parametrize(
    "words", ["", "--no-val", "--val False", "--val=false", "--val 0", "--val no", "--val off"]
)
def test_spellings_of_false(words):
    assert parser().parse_args(words.split()).val is False


@pytest.mark.parametrize(
    ("words", "kept"),
    [("", True), ("--keep", True), ("--no-keep", False), ("--keep=False", False)],
)
def test_a_boolean_may_be_true_by_default(words, kept):
    assert parser().parse_args(words.split()).keep is kept


def test_the_last_spelling_counts_and_others_are_untouched():
    found = parser().parse_args(["--val", "--no-val", "--keep", "False", "--val", "--count", "5"])
    assert (found.val, found.keep, found.count) == (True, False, 5)


@pytest.mark.parametrize("words", ["--val maybe", "--val=", "--val 2", "--val=None"])
def test_other_values_of_a_boolean_are_refused(words, capsys):
    assert "--val: expected True or False" in refused(parser(), words.split(), capsys)


@pytest.mark.parametrize("words", ["--no-val True", "--no-val=False", "--no-val 1"])
def test_the_negated_form_takes_no_value(words, capsys):
    assert "--no-val: takes no value" in refused(parser(), words.split(), capsys)


@pytest.mark.parametrize("words", ["--coun 3", "--va", "--no-va", "--kee True"])
def test_abbreviations_are_refused(words, capsys):
    assert "unrecognized arguments" in refused(parser(), words.split(), capsys)


def test_help_shows_defaults_and_none_where_there_is_none():
    text = parser().format_help()
    assert "how many (default: 3)" in text and "whether to (default: False)" in text
    assert "None" not in text


@pytest.mark.parametrize("text", ["0", "10", "-1", "3.0", "x", "", "1e1", " 3", "0x3", "nan"])
def test_whole_numbers_are_checked(text, capsys):
    message = refused(parser(), [f"--count={text}"], capsys)
    assert f"--count: expected a whole number from 1 to 9, got {text!r}" in message


def test_whole_numbers_include_both_ends():
    assert [whole(1, 9)("1"), whole(1, 9)("9"), whole(-5)("-5"), whole(0)("007")] == [1, 9, -5, 7]


def test_whole_numbers_without_an_upper_end_are_named_so():
    with pytest.raises(argparse.ArgumentTypeError, match="a whole number from 0, got '-1'"):
        whole(0)("-1")


@pytest.mark.parametrize(
    ("text", "value"),
    [("256", 256), ("256x512", (256, 512)), ("512,256", (512, 256)), ("1x1", (1, 1))],
)
def test_a_side_or_a_size_with_height_first(text, value):
    assert side_or_size(text) == value


@pytest.mark.parametrize("text", ["0", "0x5", "5x0", "-1", "5x", "x5", "1x2x3", "2.5", "", "a"])
def test_other_sizes_are_refused(text):
    with pytest.raises(ValueError, match="256x512"):
        side_or_size(text)


@pytest.mark.parametrize(("text", "value"), [("0.5", 0.5), ("1e3", 1000.0), ("7", 7.0)])
def test_positive_numbers_pass(text, value):
    assert positive(text) == value


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "much", "", "0", "-5"])
def test_numbers_that_are_not_above_zero_are_refused(text, capsys):
    assert f"expected a number above 0, got {text!r}" in refused(
        parser(), [f"--near={text}"], capsys
    )


def model_options(words=""):
    made = Parser("A parser for tests.")
    add_model_options(made)
    return made.parse_args(words.split())


@pytest.mark.parametrize("words", ["--depth 18", "--backbone resnet18 --depth 18"])
def test_backbone_and_depth_name_the_network_together(words):
    assert backbone_from(model_options(words)) == "resnet18"


def test_backbone_and_depth_may_not_disagree():
    with pytest.raises(UsageError, match="--depth 18 and --backbone resnet34 contradict"):
        backbone_from(Namespace(backbone="resnet34", depth=18))


def test_a_depth_that_is_not_there_lists_those_that_are():
    with pytest.raises(UsageError, match="--depth 19.*one of 18"):
        backbone_from(model_options("--depth 19"))


def test_device_is_checked_by_the_parser(capsys):
    with pytest.raises(SystemExit) as end:
        model_options("--device cuda")
    assert end.value.code == 2 and "got 'cuda'" in capsys.readouterr().err


def trained(folder, *categories):
    for category in categories:
        (folder / category).mkdir(parents=True)
        (folder / category / "best.pdparams").touch()
    return folder


def test_the_model_path_comes_first(tmp_path):
    trained(tmp_path, "a", "b")
    assert find_model(tmp_path / "x.pdparams", tmp_path, "a") == tmp_path / "x.pdparams"
    assert find_model(tmp_path / "b", tmp_path, "a") == tmp_path / "b/best.pdparams"


def test_the_category_names_the_model(tmp_path):
    trained(tmp_path, "a", "b")
    assert find_model(None, tmp_path, "b") == tmp_path / "b/best.pdparams"


def test_the_only_model_needs_no_name(tmp_path):
    (tmp_path / "unfinished").mkdir()
    assert find_model(None, trained(tmp_path, "a"), None) == tmp_path / "a/best.pdparams"


@pytest.mark.parametrize(("categories", "names"), [((), "none"), (("b", "a"), "a, b")])
def test_no_model_or_several_are_named(tmp_path, categories, names):
    with pytest.raises(UsageError, match=f"one model, found {names}; .*--category or --model_path"):
        find_model(None, trained(tmp_path, *categories), None)


def data_namespace(*arguments):
    made = Parser("A parser for tests.")
    data_options.add_data_options(made, training=True)
    data_options.add_size_options(made)
    return made.parse_args([str(argument) for argument in arguments])


@pytest.mark.parametrize(
    ("arguments", "resize", "crop"),
    [
        ([], 256, (224, 224)),
        (["--resize", "64", "--img_size", "32x64"], 64, (32, 64)),
        (["--resize", "64x96", "--img_size", "64x96"], (64, 96), (64, 96)),
    ],
)
def test_preprocessing_is_what_the_options_ask_for(arguments, resize, crop):
    made = data_options.preprocessing_from(data_namespace(*arguments))
    assert (made.resize, made.crop) == (resize, crop)


@pytest.mark.parametrize(
    ("resize", "size"), [("200", "224"), ("64x32", "48"), ("64", "32x65"), ("32x64", "64x32")]
)
def test_a_crop_larger_than_the_picture_is_wrong_use(resize, size):
    with pytest.raises(UsageError, match="--img_size .*larger than --resize"):
        data_options.preprocessing_from(data_namespace("--resize", resize, "--img_size", size))


@pytest.mark.parametrize("size", ["31", "64x31", "1"])
def test_a_crop_too_small_for_the_network_is_wrong_use(size):
    with pytest.raises(UsageError, match="32 to 16384 pixels"):
        data_options.preprocessing_from(data_namespace("--img_size", size))


@pytest.fixture
def data(tmp_path):
    for name in ("a/train/good/0.png", "b/test/dent/1.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    return tmp_path


def test_every_category_unless_one_is_named(data):
    assert data_options.data_from(data_namespace("--data_path", data)).names == ["a", "b"]
    named = data_options.data_from(data_namespace("--data_path", data, "--category", "b"))
    assert named.names == ["b"]
    assert named.open("b").test[0].kind == "dent"
    assert named.where("b") == data / "b"


def test_data_path_is_data_unless_given(data, monkeypatch):
    monkeypatch.chdir(data)
    with pytest.raises(UsageError, match="data: no such folder") as error:
        data_options.data_from(data_namespace())
    assert error.value.setting == "data_path"


def test_plain_folders_are_one_category(data):
    options = data_namespace("--normal_dir", data / "a/train/good")
    assert data_options.data_from(options).names == ["custom"]
    options = data_namespace("--normal_dir", data / "a/train/good", "--category", "mine")
    named = data_options.data_from(options)
    assert named.names == ["mine"]
    assert [s.path.name for s in named.open("mine").train] == ["0.png"]
    assert named.where("mine") == data / "a/train/good"


def test_data_path_and_plain_folders_exclude_each_other(data):
    options = data_namespace("--data_path", data, "--normal_dir", data / "a/train/good")
    with pytest.raises(UsageError, match="use either --data_path or plain folders"):
        data_options.data_from(options)


@pytest.mark.parametrize("text", ["screw", "两 screws", "a.b", "-x"])
def test_plain_names_make_a_folder(text):
    assert folder_name(text) == text


@pytest.mark.parametrize("text", ["", ".", "..", "a/b", "../x", "a\\b", "a\nb", "a\x1b", "x" * 201])
def test_names_that_lead_elsewhere_are_refused(text):
    with pytest.raises(ValueError, match="name"):
        folder_name(text)
