"""Sentences and tables of the report, as HTML. All text from files is escaped."""

import html
from collections.abc import Iterable, Sequence

from common.errors import printable
from evaluation.html.results import Confusion, Learned, Metrics, Normal, Promise, Results

FIRST, MOST = 10, 200  # training pictures in the audit: the first, and those beyond the rest
ORIGINS = {"fpr": "false-alarm rate", "f1": "best F1", "given": "option", None: None}
CAPTIONS = {"roc.png": "ROC curve", "pr.png": "Precision and recall"}


def escaped(value: object) -> str:
    """`value` as text of an element or attribute; control characters as escapes."""
    return html.escape(printable(value))


def percent(rate: float) -> str:
    return f"{round(100 * rate, 6):.3g} %"


def headline(results: Results) -> str:
    """The verdicts of scores.csv in one sentence."""
    metrics, tested = results.metrics, results.tested
    if metrics.threshold_from is None:
        return f"{len(tested)} test pictures. There is no threshold, so every verdict is unknown."
    bad = [one.verdict == "defective" for one in tested if one.defective]
    good = [one.verdict == "defective" for one in tested if not one.defective]
    parts = []
    if bad:
        parts.append(f"{sum(bad)} of {len(bad)} defective pictures found")
    if good:
        parts.append(f"{sum(good)} of {len(good)} good pictures called defective")
    return f"{', '.join(parts)} {_at(metrics)}."


def _at(metrics: Metrics) -> str:
    if metrics.threshold_from == "f1":
        return "at the threshold of best F1 on these pictures"
    if metrics.threshold_from == "given" or metrics.promise is None:
        return f"at the threshold {metrics.threshold:.4g}"
    kind = "extrapolated" if metrics.promise.extrapolated else "promised"
    return f"at the {kind} false-alarm rate {percent(metrics.promise.fpr)}"


def about(metrics: Metrics) -> str:
    """Method, backbone, date and version on one line."""
    model = metrics.model
    created = metrics.created.replace("T", " ").replace("+00:00", " UTC")
    parts = [model.get("method"), model.get("backbone"), created]
    if metrics.version:
        parts.append(f"version {metrics.version}")
    return " · ".join(str(part) for part in parts if part)


def tiles(metrics: Metrics) -> str:
    """The key figures: a description list."""
    image, pixel = metrics.image, metrics.pixel
    named = {
        "Image AUROC": image.auroc,
        "Image AP": image.ap,
        "Image F1-max": image.f1_max,
        "Pixel AUROC": pixel.auroc,
        "Pixel AP": pixel.ap,
        "Pixel F1-max": pixel.f1_max,
        "AUPRO": pixel.aupro,
    }
    cells = (f"<div><dt>{name}</dt><dd>{_text(value)}</dd></div>" for name, value in named.items())
    return f'<dl class="tiles">{"".join(cells)}</dl>'


def promise(metrics: Metrics) -> str:
    """What the false-alarm rate promises, and what happened on the test pictures."""
    made = metrics.promise
    basis = f"<p>{escaped(_basis(metrics.normal))}</p>"
    if made is None:
        return basis + _confusion(metrics.confusion)
    text = (
        f"<p>At most {percent(made.fpr)} of good pictures like the training pictures should be "
        f"called defective: those with a score from {made.threshold:.4g} on.</p>{basis}"
    )
    text += "".join(f'<p class="warning">{line}</p>' for line in _doubts(made))
    rows = [
        ("good pictures called defective", made.false_alarms, made.good, made.false_alarm_interval),
        ("defective pictures found", made.found, made.defective, made.recall_interval),
    ]
    head = ("On the test pictures", "number", "rate", "95 % interval")
    rows = [_observed(*row) for row in rows]
    return text + _table(head, rows, "words") + _confusion(metrics.confusion)


def _confusion(found: Confusion | None) -> str:
    """Precision, recall and F1 at the threshold that the model keeps."""
    if found is None or found.recall is None:
        return ""
    values = {"precision": found.precision, "recall": found.recall, "F1": found.f1}
    shown = ", ".join(f"{name} {_text(value)}" for name, value in values.items())
    return f"<p>At the threshold of the validation: {shown}.</p>"


def _basis(normal: Normal | None) -> str:
    if normal is None:
        return (
            "This model has no scores of good pictures that it did not learn. So no false-alarm "
            "rate is promised, and the slider moves the score threshold."
        )
    return (
        f"Thresholds for a false-alarm rate come from the scores of {normal.pictures} good "
        f"pictures ({normal.source}). The smallest rate that they can promise is "
        f"{percent(1 / (normal.pictures + 1))}."
    )


def _doubts(made: Promise) -> list[str]:
    doubts = []
    if made.extrapolated:
        doubts.append(
            f"Extrapolated: {percent(made.fpr)} is less than the normal scores can promise. The "
            "threshold comes from a fitted tail. Use more good pictures, or a larger rate."
        )
    if made.false_alarm_interval and made.false_alarm_interval[0] > made.fpr:
        doubts.append(
            f"The interval of the false-alarm rate does not contain {percent(made.fpr)}: these "
            "good pictures differ from those that the normal scores come from."
        )
    return doubts


def _observed(what: str, count: int, total: int, interval: tuple | None) -> tuple:
    rate = percent(count / total) if total else None
    between = f"{percent(interval[0])} to {percent(interval[1])}" if interval else None
    return what, f"{count} of {total}", rate, between


def missing(sheets: Sequence[str | None], skipped: int) -> str:
    """Test pictures without a sheet, and those that could not be read."""
    lines = []
    if without := sum(sheet is None for sheet in sheets):
        lines.append(
            f"Without a saved sheet: {without} of {len(sheets)} test pictures; run val.py with "
            "--save_picture True to draw all."
        )
    if skipped:
        lines.append(f"Not read, and not in this report: {skipped} test pictures.")
    return "".join(f'<p class="note">{line}</p>' for line in lines)


def curves(pictures: dict[str, str]) -> str:
    """ROC and precision-recall curves, as far as they were drawn."""
    figures = [
        f'<figure><img src="{pictures[name]}" alt="{caption}"><figcaption>{caption}</figcaption>'
        "</figure>"
        for name, caption in CAPTIONS.items()
        if name in pictures
    ]
    if not figures:
        return '<p class="note">Curves need good and defective test pictures.</p>'
    return f'<div class="curves">{"".join(figures)}</div>'


def audit(training: list[Learned] | None, sheet: str | None = None) -> str:
    """The most unusual training pictures, and those beyond the rest."""
    if training is None:
        return '<p class="note">There are no left-out scores of the training pictures.</p>'
    ordered = sorted(training, key=lambda one: -one.score)
    beyond = sum(one.beyond for one in training)
    shown = ordered[:FIRST] + [one for one in ordered[FIRST:] if one.beyond][:MOST]
    rows = [
        (
            one.path,
            f"{one.score:.4f}",
            f"{one.p_value:.3g}",
            "beyond the rest" if one.beyond else "",
        )
        for one in shown
    ]
    said = f"Beyond the rest: {beyond} of {len(training)} training pictures. "
    said += "Check that such pictures are good; train.py --exclude leaves pictures out."
    head = ("training picture", "left-out score", "p-value", "audit")
    text = f"<p>{said}</p>{_table(head, rows)}"
    if sheet:
        text += f'<figure><img src="{sheet}" alt="sheet of the most unusual pictures"></figure>'
    return text


def figures(metrics: Metrics) -> str:
    """All figures in one table."""
    names = ("auroc", "ap", "f1_max", "threshold", "aupro", "aupro_fpr_limit")
    head = ("level", "AUROC", "AP", "F1-max", "threshold of F1-max", "AUPRO", "up to rate")
    levels = {"image": metrics.image, "pixel": metrics.pixel}
    rows = [(key, *(_text(getattr(one, name)) for name in names)) for key, one in levels.items()]
    facts = {f"{name} test pictures": count for name, count in metrics.pictures.items()}
    facts["skipped test pictures"] = metrics.skipped
    facts["threshold of the verdicts"] = _text(metrics.threshold)
    facts["origin of this threshold"] = ORIGINS[metrics.threshold_from]
    facts["fit"] = _seconds(metrics.seconds.fit)
    facts["validation of a picture"] = _seconds(metrics.seconds.picture)
    return _table(head, rows) + _table(("further figures", "value"), facts.items())


def settings(model: dict) -> str:
    """All entries of metrics.json's `model`; those of inner objects as `outer.inner`, of objects in
    a list as `list.1.inner`."""
    return _table(("setting", "value"), _flat(model), "texts")


def _flat(entries: dict, prefix: str = "") -> Iterable[tuple[str, object]]:
    for name, value in entries.items():
        if isinstance(value, list) and any(isinstance(item, dict) for item in value):
            value = {str(i): item for i, item in enumerate(value, 1)}
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            yield f"{prefix}{name}", ", ".join(map(str, value))
        else:
            yield f"{prefix}{name}", value


def _table(head: Sequence[str], rows: Iterable[Sequence], kind: str = "numbers") -> str:
    """The first cell of each row is its heading; `kind` is the class in page.css."""
    columns = "".join(f'<th scope="col">{escaped(name)}</th>' for name in head)
    lines = [
        f'<tr><th scope="row">{escaped(first)}</th>'
        + "".join(f"<td>{'–' if cell is None else escaped(cell)}</td>" for cell in rest)
        + "</tr>"
        for first, *rest in rows
    ]
    body = f"<thead><tr>{columns}</tr></thead><tbody>{''.join(lines)}</tbody>"
    scrolled = f'<div class="wide" tabindex="0" role="group" aria-label="{escaped(head[0])}">'
    return f'{scrolled}<table class="{kind}">{body}</table></div>'


def _seconds(value: float | None) -> str | None:
    if value is None:
        return None
    return f"{value:.3g} s" if value >= 1 else f"{1000 * value:.3g} ms"


def _text(value: float | None) -> str | None:
    return "–" if value is None else f"{value:.4f}"
