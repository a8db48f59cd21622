"""Declares options: booleans in all usual spellings, and numbers with limits."""

import argparse
import math
import re
from collections.abc import Callable
from contextlib import suppress

from common.errors import printable, shortened

TRUE, FALSE = {"true", "yes", "on", "1"}, {"false", "no", "off", "0"}


class Parser(argparse.ArgumentParser):
    """Full option names only; help shows the defaults; errors are one line and exit code 2."""

    def __init__(self, description: str):
        super().__init__(
            description=description,
            allow_abbrev=False,
            formatter_class=_Help,
        )

    def error(self, message: str):
        text = shortened(printable(message))
        self.exit(2, f"error: {text} (see {self.prog} --help)\n")


def given(parser: argparse.ArgumentParser) -> set[str]:
    """The names of the options on the command line, with their defaults or other values.

    Afterwards `parser` has no defaults.
    """
    absent = object()
    parser.set_defaults(**dict.fromkeys(vars(parser.parse_args()), absent))
    return {name for name, value in vars(parser.parse_args()).items() if value is not absent}


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    def _get_help_string(self, action):
        # If the default is None, the help text itself describes the default.
        return action.help if action.default is None else super()._get_help_string(action)


class _Boolean(argparse.Action):
    """`--x`, `--x True`, `--x=false`, `--no-x`."""

    def __init__(self, option_strings, dest, **settings):
        names = [*option_strings, *(f"--no-{name[2:]}" for name in option_strings)]
        super().__init__(names, dest, nargs="?", metavar="True|False", **settings)

    def __call__(self, parser, namespace, values, option_string=None):
        negated = option_string.startswith("--no-")
        if negated and values is not None:
            parser.error(f"argument {option_string}: takes no value, got {values!r}")
        text = "true" if values is None else values.lower()
        if text not in TRUE | FALSE:
            parser.error(f"argument {option_string}: expected True or False, got {values!r}")
        setattr(namespace, self.dest, (text in TRUE) != negated)


def add_boolean(
    parser: argparse.ArgumentParser, name: str, default: bool | None, help: str
) -> None:
    parser.add_argument(name, action=_Boolean, default=default, help=help)


def whole(minimum: int, maximum: int | None = None) -> Callable[[str], int]:
    """A type for argparse: an integer from `minimum` to `maximum`."""
    wanted = f"a whole number from {minimum}" + ("" if maximum is None else f" to {maximum}")

    def convert(text: str) -> int:
        number = int(text) if re.fullmatch(r"-?[0-9]+", text) else None
        if number is None or number < minimum or (maximum is not None and number > maximum):
            raise argparse.ArgumentTypeError(f"expected {wanted}, got {text!r}")
        return number

    return convert


def checked(function: Callable[[str], object]) -> Callable[[str], object]:
    """A type for argparse from a function; the text of its ValueError is the message."""

    def convert(text: str):
        try:
            return function(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return convert


def side_or_size(text: str) -> int | tuple[int, int]:
    """`256` → 256; `256x512` → (256, 512), height first."""
    match = re.fullmatch(r"(\d+)(?:[x,](\d+))?", text)
    if not match or 0 in (sides := [int(side) for side in match.groups() if side]):
        raise ValueError(f"expected pixels (256) or height x width (256x512), got {text!r}")
    return sides[0] if len(sides) == 1 else tuple(sides)


def number(text: str) -> float:
    """A number, neither infinite nor NaN."""
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise ValueError(f"expected a number, got {text!r}")
    return found


def positive(text: str) -> float:
    """A number above 0, neither infinite nor NaN."""
    with suppress(ValueError):
        if (found := number(text)) > 0:
            return found
    raise ValueError(f"expected a number above 0, got {text!r}")


def folder_name(text: str) -> str:
    """A name that is one folder name and fits on one line of output."""
    if text in ("", ".", "..") or set(text) & set("/\\") or not text.isprintable():
        raise ValueError(f"expected a name without slashes or control characters, got {text!r}")
    if len(text.encode()) > 200:
        raise ValueError(f"expected a name of at most 200 bytes, got {len(text.encode())}")
    return text
