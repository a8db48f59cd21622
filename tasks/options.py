"""Options that say which model judges, and what becomes of its judgements."""

import argparse
from pathlib import Path

from common.options import add_boolean, checked, folder_name, positive


def add_checkpoint_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model_path",
        type=Path,
        help="checkpoint, or its folder (default: output/<category>/best.pdparams)",
    )
    parser.add_argument(
        "--category",
        type=checked(folder_name),
        help="which model below ./output (default: the only one)",
    )


def add_judging_options(group, folder: str, save_picture: bool) -> None:
    """`folder` is the name of the default one below output/<category>."""
    group.add_argument(
        "--save_path",
        type=Path,
        help=f"FILE.png for one picture, else a folder (default: output/<category>/{folder})",
    )
    add_boolean(group, "--save_picture", save_picture, "save one sheet per picture")
    group.add_argument(
        "--threshold",
        type=checked(positive),
        help="image score from which a picture is defective (default: the threshold that "
        "validation kept in the model; without one the verdict is `unknown`)",
    )
    add_boolean(group, "--json", False, "print one JSON object per picture instead of text")
    group.add_argument("--save_map", type=Path, metavar="DIR", help="save raw maps there, .npy")
