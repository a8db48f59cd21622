"""Options of drawing and of the table over all categories."""

import argparse

from common.options import add_boolean, whole


def add_picture_options(parser: argparse.ArgumentParser, save_picture: bool) -> None:
    group = parser.add_argument_group("drawing")
    text = "save one sheet per test picture: ground truth, heat map, mask, outline"
    add_boolean(group, "--save_picture", save_picture, text)
    add_boolean(group, "--html", True, "write report.html: verdicts, pictures and figures")
    group.add_argument(
        "--num_pictures",
        type=whole(1),
        help="save at most this many sheets, evenly chosen from all kinds (default: all)",
    )


def add_compare(parser: argparse.ArgumentParser) -> None:
    text = "with several categories, put published figures of MVTec AD beside ours in the table"
    add_boolean(parser, "--compare", False, text)
