"""The options of app.py: `streamlit run app.py -- --data_root data`."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common.options import Parser


@dataclass(frozen=True)
class Options:
    """
    data_root : folders below which visitors may choose categories
    demo_path : folder that the demo pictures are drawn into
    """

    data_root: tuple[Path, ...]
    demo_path: Path


@functools.cache
def parse(arguments: Sequence[str]) -> Options:
    """The options; ends the process with exit code 2 if they are wrong."""
    parser = Parser("A page to try the methods on.")
    parser.add_argument(
        "--data_root",
        type=Path,
        nargs="+",
        metavar="DIR",
        help="visitors may choose category folders below these folders, and no others (default: "
        "data, if it exists)",
    )
    parser.add_argument(
        "--demo_path",
        type=Path,
        default=Path("demo"),
        help="folder that the demo pictures are drawn into, when they are first chosen",
    )
    found = parser.parse_args(arguments)
    usual = [Path("data")] if Path("data").is_dir() else []
    roots = usual if found.data_root is None else found.data_root
    for root in roots:
        if not root.is_dir():
            parser.error(f"argument --data_root: {root}: no such folder")
    return Options(tuple(roots), found.demo_path)
