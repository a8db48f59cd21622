"""Options that say which pictures, and how they become arrays."""

import argparse
import os
from pathlib import Path

from common.errors import UsageError
from common.options import add_boolean, checked, folder_name, side_or_size, whole


def add_data_options(parser: argparse.ArgumentParser, training: bool) -> None:
    group = parser.add_argument_group("pictures")
    group.add_argument(
        "--data_path",
        type=Path,
        help="folder of category folders in MVTec AD's layout (default: ./data, "
        "unless plain folders are given)",
    )
    group.add_argument(
        "--category",
        type=checked(folder_name),
        help="a category folder in --data_path, or `all` (default: all); with plain folders "
        "the model's name (default: custom)",
    )
    if training:
        text = "plain folder of good training pictures"
        group.add_argument("--normal_dir", type=Path, help=text)
    else:
        parser.set_defaults(normal_dir=None)
    group.add_argument("--test_normal_dir", type=Path, help="plain folder of good test pictures")
    group.add_argument("--abnormal_dir", type=Path, help="plain folder of defective test pictures")
    group.add_argument("--mask_dir", type=Path, help="masks of --abnormal_dir, by picture name")
    add_loading_options(group)


def add_loading_options(group, batch_size: int = 32) -> None:
    group.add_argument(
        *("-b", "--batch_size"), type=whole(1), default=batch_size, help="pictures a batch"
    )
    group.add_argument(
        "--num_workers",
        type=whole(0, 256),
        default=min(8, os.cpu_count() or 1),
        help="threads that decode pictures; 0 decodes between batches",
    )
    add_boolean(group, "--skip_bad", False, "go on without pictures that do not decode")


def add_size_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("picture size")
    group.add_argument(
        "--resize",
        type=checked(side_or_size),
        default=256,
        help="shorter side after resizing, or HEIGHTxWIDTH",
    )
    group.add_argument(
        "--img_size",
        type=checked(side_or_size),
        default=224,
        help="side of the square cut from the middle, or HEIGHTxWIDTH",
    )


def preprocessing_from(options: argparse.Namespace):
    """The Preprocessing that --resize and --img_size ask for; UsageError where they disagree."""
    from datasets.transforms import Preprocessing

    size = options.img_size
    crop = (size, size) if isinstance(size, int) else size
    resize = options.resize
    smallest = (resize, resize) if isinstance(resize, int) else resize
    if crop[0] > smallest[0] or crop[1] > smallest[1]:
        raise UsageError(
            f"--img_size {crop[0]}x{crop[1]} is larger than what --resize leaves "
            f"({smallest[0]}x{smallest[1]}); make --resize at least as large"
        )
    if min(crop) < 32:
        raise UsageError(f"--img_size {size}: at least 32 pixels a side are needed")
    return Preprocessing(resize, crop)


def category_names(options: argparse.Namespace) -> list[str]:
    """The categories that the options name; UsageError where there is none."""
    from datasets import mvtec

    if _plain(options):
        if options.data_path is not None:
            raise UsageError("--data_path and plain folders (--normal_dir …) exclude each other")
        if options.mask_dir is not None and options.abnormal_dir is None:
            raise UsageError("--mask_dir: masks of what? name the pictures by --abnormal_dir")
        if options.category == "all":
            raise UsageError("--category all: with plain folders there is one; give it a name")
        return [options.category or "custom"]
    return mvtec.choose_categories(_data_path(options), options.category or "all")


def open_category(options: argparse.Namespace, name: str):
    """The Category `name` of `category_names`."""
    from datasets import folder, mvtec

    if not _plain(options):
        return mvtec.open_category(_data_path(options), name)
    return folder.open_folders(
        name, options.normal_dir, options.test_normal_dir, options.abnormal_dir, options.mask_dir
    )


def source(options: argparse.Namespace, name: str) -> Path:
    """Where the pictures of category `name` lie, for messages."""
    if _plain(options):
        return options.normal_dir or options.abnormal_dir or options.test_normal_dir
    return _data_path(options) / name


def _data_path(options: argparse.Namespace) -> Path:
    return options.data_path or Path("data")


def _plain(options: argparse.Namespace) -> bool:
    folders = (options.normal_dir, options.test_normal_dir, options.abnormal_dir, options.mask_dir)
    return any(folder is not None for folder in folders)
