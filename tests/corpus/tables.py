"""All rows, by family."""

from collections.abc import Callable, Iterator, Sequence

from tests.corpus import pictures
from tests.corpus.rows import Row

FAMILIES: dict[str, Callable[[], Iterator[Row]]] = {"pictures": pictures.rows}


def rows(families: Sequence[str] = ()) -> list[Row]:
    """The rows of `families`, or all."""
    return [row for family in families or FAMILIES for row in FAMILIES[family]()]
