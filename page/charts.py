"""Charts of scores and figures, drawn by Altair, which Streamlit brings."""

import numpy as np
import streamlit as st

from evaluation.curves import bins
from evaluation.metrics import Ranking
from evaluation.plots import DEFECTIVE, GOOD, QUIET
from page.learning import Model
from page.session import t

POINTS = 300  # of a curve, at most twice as many
HEIGHT, CURVE = 300, 380  # pixels of a chart, with its axes and legend
COLORS = [DEFECTIVE, GOOD]  # of the first and the second curve, as in roc.png


def histogram(model: Model) -> None:
    """Scores of good training pictures and of the judged ones, with the threshold."""
    import altair as alt

    rule = model.inspector.rule
    groups = _groups(model)
    edges = bins(np.concatenate([scores for _, _, scores in groups]), rule.threshold)
    rows = [
        {"group": name, "from": float(a), "to": float(b), "count": int(count)}
        for name, _, scores in groups
        for a, b, count in zip(edges, edges[1:], np.histogram(scores, edges)[0], strict=False)
        if count
    ]
    names, colors = [name for name, *_ in groups], [color for _, color, _ in groups]
    bars = (
        alt.Chart(alt.Data(values=rows))
        .mark_bar(opacity=0.65, binSpacing=0)
        .encode(
            x=alt.X("from:Q", title=t("score"), bin="binned"),
            x2="to:Q",
            y=alt.Y("count:Q", title=t("pictures"), stack=None, axis=alt.Axis(tickMinStep=1)),
            color=alt.Color(
                "group:N",
                scale=alt.Scale(domain=names, range=colors),
                legend=alt.Legend(title=None, orient="bottom", columns=2, labelLimit=320),
            ),
            tooltip=["group:N", "count:Q"],
        )
    )
    layers = [bars]
    if rule.threshold is not None:
        line = alt.Chart(alt.Data(values=[{"threshold": rule.threshold}]))
        layers.append(
            line.mark_rule(strokeDash=[5, 4], strokeWidth=2, color=QUIET).encode(x="threshold:Q")
        )
    st.altair_chart(alt.layer(*layers).properties(height=HEIGHT), width="stretch")


def _groups(model: Model) -> list[tuple[str, str, np.ndarray]]:
    """Name, colour and scores of each group that has pictures."""
    normal = model.inspector.rule.normal
    known = [] if normal is None else normal.image.ascending
    kinds = {"good": [], "defective": [], "unlabelled": []}
    for one in model.tested:
        kind = "unlabelled" if not one.labelled else "defective" if one.sample.defective else "good"
        kinds[kind].append(one.judgement.score)
    colors = {"good": GOOD, "defective": DEFECTIVE, "unlabelled": "#8a6fb0"}
    groups = [(t("group_normal"), "#9aa0a6", known)]
    groups += [(t(f"group_{kind}"), colors[kind], scores) for kind, scores in kinds.items()]
    return [(name, color, np.asarray(scores)) for name, color, scores in groups if len(scores)]


def curves(levels: dict[str, Ranking]) -> None:
    """ROC and precision-recall curves of images and pixels."""
    left, right = st.columns(2)
    with left:
        _curve("ROC", t("false_rate"), t("recall"), _lines(levels, "fpr", "recall"))
    with right:
        title = t("precision_recall")
        _curve(title, t("recall"), t("precision"), _lines(levels, "recall", "precision"))


def _lines(levels: dict[str, Ranking], x: str, y: str) -> list[dict]:
    rows = []
    for name, ranking in levels.items():
        across, up = getattr(ranking, x), getattr(ranking, y)
        chosen = np.unique(
            np.concatenate(
                [
                    np.linspace(0, len(across) - 1, POINTS).astype(int),
                    np.searchsorted(across, np.linspace(0, 1, POINTS)).clip(max=len(across) - 1),
                ]
            )
        )
        rows += [
            {"level": name, "order": i, "x": float(across[k]), "y": float(up[k])}
            for i, k in enumerate(chosen)
        ]
    return rows


def _curve(title: str, x: str, y: str, rows: list[dict]) -> None:
    import altair as alt

    scale, names = alt.Scale(domain=[0, 1]), list(dict.fromkeys(row["level"] for row in rows))
    chart = (
        alt.Chart(alt.Data(values=rows), title=title)
        .mark_line()
        .encode(
            x=alt.X("x:Q", title=x, scale=scale),
            y=alt.Y("y:Q", title=y, scale=scale),
            order="order:Q",
            color=alt.Color(
                "level:N",
                scale=alt.Scale(domain=names, range=COLORS),
                legend=alt.Legend(title=None, orient="bottom"),
            ),
        )
        .properties(height=CURVE)
    )
    st.altair_chart(chart, width="stretch")
