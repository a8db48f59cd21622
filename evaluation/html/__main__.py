"""Writes report.html from val.py's results: `python -m evaluation.html output/bottle`."""

from pathlib import Path

from common.errors import printable, run
from common.logs import start_logging
from common.options import Parser


def main() -> None:
    parser = Parser("Write report.html from val.py's results of one category.")
    parser.add_argument("folder", type=Path, help="results of one category: output/bottle")
    folder = parser.parse_args().folder
    start_logging()
    from evaluation.html import write_html

    print(printable(write_html(folder)))


if __name__ == "__main__":
    run(main)
