"""The command `python -m demo_set`."""

import argparse
from collections.abc import Sequence

from common.errors import run
from common.logs import start_logging
from common.options import Parser, whole
from demo_set.generate import CATEGORIES, DEFAULTS, LIMITS, USUAL, generate

COUNTS = {
    "seed": "the same seed gives the same pixels",
    "size": "width and height of a picture in pixels",
    "train": "good training pictures per category",
    "good": "good test pictures per category",
    "defective": "defective test pictures per kind of defect",
}


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command line."""
    parser = Parser("Draw a demo set in MVTec AD's layout, for a first try without a download.")
    parser.add_argument("--save_path", required=True, help="folder to write the categories to")
    parser.add_argument(
        "--categories",
        default=",".join(USUAL),
        help=f"what to draw, comma-separated, of {', '.join(CATEGORIES)}",
    )
    for name, text in COUNTS.items():
        type_, default = whole(*LIMITS[name]), getattr(DEFAULTS, name)
        parser.add_argument(f"--{name}", type=type_, default=default, help=text)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Generate what the options ask for and print the category folders."""
    options = vars(parse(arguments))
    start_logging()
    categories = [name.strip() for name in options.pop("categories").split(",")]
    for folder in generate(categories=categories, **options):
        print(folder)


if __name__ == "__main__":
    run(main)
