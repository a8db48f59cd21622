"""Options for the model that judges pictures, and for its results."""

import argparse
from pathlib import Path

from common.options import add_boolean, checked, folder_name, positive


def add_checkpoint_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model_path",
        type=Path,
        help="checkpoint file or its folder (default: output/<category>/best.pdparams)",
    )
    parser.add_argument(
        "--category",
        type=checked(folder_name),
        help="use the model of this category in ./output (default: the only model there)",
    )


def add_judging_options(group, folder: str, save_picture: bool) -> None:
    """`folder` is the name of the default folder in output/<category>."""
    group.add_argument(
        "--save_path",
        type=Path,
        help=f"FILE.png for one picture, otherwise a folder (default: output/<category>/{folder})",
    )
    add_boolean(group, "--save_picture", save_picture, "save one sheet per picture")
    group.add_argument(
        "--threshold",
        type=checked(positive),
        help="image score from which a picture is defective (default: the threshold that "
        "validation saved in the model; without a threshold every verdict is `unknown`)",
    )
    add_boolean(group, "--json", False, "print one JSON object per picture instead of text")
    group.add_argument(
        "--save_map", type=Path, metavar="DIR", help="save raw anomaly maps in this folder, as .npy"
    )
