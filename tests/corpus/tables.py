"""All rows, by family."""

from collections.abc import Callable, Iterator, Sequence

from tests.corpus import (
    graphs,
    masks,
    model_files,
    options,
    pickles,
    pictures,
    records,
    text_files,
    weight_files,
)
from tests.corpus.rows import Row

FAMILIES: dict[str, Callable[[], Iterator[Row]]] = {
    "pictures": pictures.rows,
    "masks": masks.rows,
    "checkpoint": model_files.family("checkpoint"),
    "distribution": model_files.family("distribution"),
    "state": model_files.family("state"),
    "records": records.rows,
    "weights": weight_files.rows,
    "pickles": pickles.rows,
    "text files": text_files.rows,
    "graphs": graphs.rows,
    "options": options.rows,
}


def rows(families: Sequence[str] = ()) -> list[Row]:
    """The rows of `families`, or all."""
    return [row for family in families or FAMILIES for row in FAMILIES[family]()]
