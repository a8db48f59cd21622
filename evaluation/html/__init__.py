"""A report of one category's results in one HTML file, for a browser without a network."""

from pathlib import Path

from common.files import whole_file
from evaluation.html.embedding import embedded_results
from evaluation.html.page import build_page
from evaluation.html.results import read_results


def write_html(folder: str | Path) -> Path:
    """Write `report.html` from the files in `folder`, val.py's results of one category.

    Reads metrics.json and scores.csv and, where they exist, training.csv, roc.png, pr.png,
    audit.png and pictures/*.png. UsageError where there are no results, WorkError where a file is
    damaged. Returns the path of the report.
    """
    folder = Path(folder)
    results = read_results(folder)
    text = build_page(results, embedded_results(folder, results))
    target = folder / "report.html"
    with whole_file(target) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
    return target
