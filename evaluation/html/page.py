"""Fills page.html: text escaped, data as JSON, style and script allowed by their digests."""

import base64
import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from string import Template

from common.errors import printable
from evaluation.html import texts
from evaluation.html.embedding import Embedded
from evaluation.html.results import Results, Tested
from evaluation.html.texts import escaped

HERE = Path(__file__).parent
SCRIPTS = ("thresholds.js", "verdicts.js", "histogram.js", "gallery.js", "slider.js")


def build_page(results: Results, embedded: Embedded) -> str:
    """The report as HTML. It loads nothing: its Content-Security-Policy forbids that."""
    metrics = results.metrics
    style, script = _source("page.css"), "\n".join(map(_source, SCRIPTS))
    return Template(_source("page.html")).substitute(
        style=style,
        script=script,
        style_digest=_digest(style),
        script_digest=_digest(script),
        category=escaped(metrics.category),
        headline=escaped(texts.headline(results)),
        about=escaped(texts.about(metrics)),
        tiles=texts.tiles(metrics),
        promise=texts.promise(metrics),
        missing=texts.missing(embedded.sheets, metrics.skipped),
        curves=texts.curves(embedded.curves),
        audit=texts.audit(results.training, embedded.curves.get("audit.png")),
        figures=texts.figures(metrics),
        settings=texts.settings(metrics.model),
        data=_json(_data(results, embedded)),
    )


def _data(results: Results, embedded: Embedded) -> dict:
    """What the scripts need."""
    metrics = results.metrics
    given = metrics.threshold if metrics.threshold_from == "given" else None
    return {
        "pictures": [
            _picture(one, sheet) for one, sheet in zip(results.tested, embedded.sheets, strict=True)
        ],
        "normal": metrics.normal and asdict(metrics.normal),
        "thresholds": {
            "fpr": metrics.promise and asdict(metrics.promise),
            "f1": metrics.image.threshold,
            "given": given,
        },
        "start": metrics.threshold_from,
    }


def _picture(one: Tested, sheet: str | None) -> dict:
    return {
        "name": printable(Path(one.path).name),
        "path": printable(one.path),
        "kind": printable(one.kind),
        "defective": one.defective,
        "score": one.score,
        "p": one.p_value,
        "normalised": one.normalised,
        "sheet": sheet,
    }


def _json(data: dict) -> str:
    """ASCII, without characters that could end or change the script element."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _source(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
