"""Options for the pictures that are read, and for how they become arrays."""

import argparse
import os
import re
from pathlib import Path

from common.errors import UsageError
from common.options import add_boolean, checked, folder_name, side_or_size, whole
from common.preprocessing import DECODERS, Preprocessing


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
        help="a category folder in --data_path, or `all` (default: all); with plain folders, "
        "the name of the model (default: custom)",
    )
    if training:
        text = "plain folder of good training pictures"
        group.add_argument("--normal_dir", type=Path, help=text)
    else:
        parser.set_defaults(normal_dir=None)
    group.add_argument("--test_normal_dir", type=Path, help="plain folder of good test pictures")
    group.add_argument("--abnormal_dir", type=Path, help="plain folder of defective test pictures")
    group.add_argument(
        "--mask_dir",
        type=Path,
        help="masks of the pictures in --abnormal_dir: <name>_mask.png or <name>.png",
    )
    add_loading_options(group)


def add_loading_options(group, batch_size: int = 32) -> None:
    group.add_argument(
        *("-b", "--batch_size"),
        type=whole(1, 65536),
        default=batch_size,
        help="pictures per batch",
    )
    group.add_argument(
        "--num_workers",
        type=whole(0, 256),
        default=min(8, os.cpu_count() or 1),
        help="threads that decode pictures; 0 decodes between batches",
    )
    add_max_pixels(group)
    add_boolean(group, "--skip_bad", False, "leave out pictures that do not decode")


def add_max_pixels(group) -> None:
    group.add_argument(
        "--max_pixels",
        type=whole(1, 10**10),
        default=100_000_000,  # datasets.decoding.MAX_PIXELS; importing that would slow --help
        help="largest number of pixels (width x height) of a picture; larger ones are refused",
    )


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
    add_boolean(
        group,
        "--whole",
        False,
        "look at the whole of the pictures: the shorter side becomes that of --img_size, the other "
        "one keeps the aspect ratio of the first training picture; without --resize",
    )
    group.add_argument(
        "--decoder",
        choices=("auto", *DECODERS),
        default="auto",
        help="who decodes and resizes pictures, in every use of the model; auto: vips where it is "
        "installed (pyvips), which is faster",
    )


def decoder_from(name: str) -> str:
    """The decoder that --decoder names; UsageError where it is not installed."""
    from datasets import vips  # imports NumPy: not for `--help`

    if name == "vips" and not vips.installed():
        raise UsageError("pyvips is not installed; pip install pyvips pyvips-binary", "decoder")
    return vips.best() if name == "auto" else name


def preprocessing_from(options: argparse.Namespace) -> Preprocessing:
    """The Preprocessing of --resize and --img_size; UsageError where they are impossible."""
    size, decoder = options.img_size, decoder_from(options.decoder)
    crop = (size, size) if isinstance(size, int) else size
    try:
        return Preprocessing(options.resize, crop, decoder=decoder)
    except ValueError as error:
        text = re.sub(r"\bcrop\b", "--img_size", str(error))
        raise UsageError(re.sub(r"\bresize\b", "--resize", text)) from error


def data_from(options: argparse.Namespace):
    """The Data that the options select; UsageError where there is none."""
    from datasets.data import Data
    from datasets.mvtec import choose_categories

    folders = (options.normal_dir, options.test_normal_dir, options.abnormal_dir, options.mask_dir)
    if not any(folders):
        root = options.data_path or Path("data")
        return Data(choose_categories(root, options.category or "all"), root)
    if options.data_path is not None:
        raise UsageError(
            "use either --data_path or plain folders (--normal_dir, --test_normal_dir, "
            "--abnormal_dir, --mask_dir)"
        )
    if options.mask_dir is not None and options.abnormal_dir is None:
        raise UsageError("needs --abnormal_dir, the pictures that the masks are of", "mask_dir")
    if options.category == "all":
        raise UsageError(
            "`all` needs --data_path; plain folders are one category, give it a name", "category"
        )
    return Data([options.category or "custom"], None, *folders)
