"""The section with results: the false-alarm rate, figures, and all judged pictures."""

import streamlit as st

from common.calibration import FPR
from evaluation.promise import Counts, count
from page.charts import curves, histogram
from page.detail import detail
from page.learning import Model, Tested, judge
from page.limits import MOST_MASKED
from page.session import current, t
from page.settings import RATES, percent
from page.start import PICTURES, stored
from page.tiles import Tile, tiles

PER_PAGE = 24
ALL, WRONG = "all", "wrong"


def results() -> None:
    """Show the section: all pictures, or the one that was opened."""
    session = current()
    model = session.model
    if session.opened is not None and session.opened < len(model.tested):
        detail(model, session.opened)
        return
    _threshold(model)
    if model.tested:
        _summary(model)
        histogram(model)
        _figures(model)
        _gallery(model)
    _further(model)


def _threshold(model: Model) -> None:
    """The slider; verdicts follow it at once."""
    normal = model.inspector.record.calibration.normal
    if normal is None:
        _threshold_by_hand(model)
        return
    if "fpr" not in st.session_state:
        st.session_state["fpr"] = model.inspector.rule.fpr or FPR
    rate = st.select_slider(t("fpr"), RATES, format_func=percent, help=t("fpr_help"), key="fpr")
    if rate != model.inspector.rule.fpr:
        model.judged_at(rate)
        current().prepared.clear()
    rule = model.inspector.rule
    said = {"rate": percent(rate), "threshold": f"{rule.threshold:.4g}", "n": normal.pictures}
    if rule.extrapolated:
        st.warning(t("extrapolated", **said, least=f"{100 * normal.smallest_fpr:.2g} %"))
    else:
        st.caption(t("promise", **said))


def _threshold_by_hand(model: Model) -> None:
    st.info(t("no_normal"))
    scores = [one.judgement.score for one in model.tested]
    if not scores:
        return
    low, high = min(scores), max(scores)
    margin = max((high - low) * 0.05, 1e-6)
    now = model.inspector.threshold
    value = st.slider(
        t("threshold"),
        low - margin,
        high + margin,
        min(max(now if now is not None else high, low - margin), high + margin),
        key="threshold",
    )
    if value != now:
        model.judged_from(value)
        current().prepared.clear()


def _summary(model: Model) -> None:
    tested = model.tested
    called = sum(one.judgement.verdict == "defective" for one in tested)
    labelled = [one.scored() for one in tested if one.labelled]
    boxes = [(t("judged"), f"{len(tested)}"), (t("called"), f"{called}")]
    threshold = model.inspector.threshold
    if threshold is not None:
        good, defective = count(threshold, labelled)
        if good.total:
            boxes.append((t("false_alarms"), _of(good)))
        if defective.total:
            boxes.append((t("found"), _of(defective)))
    row = st.container(horizontal=True)
    for name, value in boxes:
        row.metric(name, value, width=150)
    for message in model.skipped[:5]:
        st.warning(t("skipped", message=current().hidden(message)))


def _of(counts: Counts) -> str:
    return f"{counts.called} / {counts.total}"


def _figures(model: Model) -> None:
    figures = model.figures
    if figures is None:
        return
    with st.expander(t("figures")):
        rows = {}
        for level, found in figures.record().items():
            names = {"auroc": "AUROC", "ap": "AP", "f1_max": "F1-max", "aupro": "AUPRO"}
            values = {names[key]: found.get(key) for key in names}
            rows[t(f"level_{level}")] = {
                name: "–" if value is None else f"{value:.3f}" for name, value in values.items()
            }
        cells = [{"": level, **values} for level, values in rows.items()]
        st.table(cells)
        st.caption(t("figures_help"))
        if figures.pixel is None and any(one.mask is not None for one in model.tested):
            st.caption(t("figures_large", most=MOST_MASKED // 10**6))
        levels = {"image": figures.image, "pixel": figures.pixel}
        curves({t(f"level_{name}"): found for name, found in levels.items() if found is not None})


def _gallery(model: Model) -> None:
    """Pictures by their score, a page of them at a time."""
    row = st.container(horizontal=True, vertical_alignment="bottom")
    shows = [ALL, "defective", "good", *([WRONG] if any(o.labelled for o in model.tested) else [])]
    shown = row.segmented_control(
        t("show"),
        shows,
        default=ALL,
        required=True,
        format_func=lambda name: t(f"show_{name}"),
        key="show",
    )
    heat = row.toggle(t("heat"), key="heat")
    chosen = [i for i, one in enumerate(model.tested) if _wanted(one, shown)]
    if not chosen:
        st.caption(t("nothing"))
        return
    pages = -(-len(chosen) // PER_PAGE)
    page = 1
    if pages > 1:
        page = row.number_input(t("page", pages=pages), 1, pages, key="page", width=140)
    part = chosen[(page - 1) * PER_PAGE : page * PER_PAGE]
    clicked = tiles([_tile(model.tested[i], i, heat) for i in part], "gallery")
    if clicked is not None:
        current().opened = clicked
        st.rerun()


def _wanted(one: Tested, shown: str) -> bool:
    verdict = one.judgement.verdict
    if shown == WRONG:
        return one.labelled and (verdict == "defective") != one.sample.defective
    return shown == ALL or verdict == shown


def _tile(one: Tested, index: int, heat: bool) -> Tile:
    found = one.judgement
    kind = f"{one.sample.kind}/" if one.labelled else ""
    p_value = "" if found.p_value is None else f" · p {found.p_value:.2g}"
    tone = found.verdict if found.verdict in ("good", "defective") else "plain"
    texts = f"{kind}{one.name}", f"{found.score:.4g}{p_value}", t(f"verdict_{found.verdict}")
    return Tile(index, one.heat if heat else one.thumbnail, *texts, tone)


def _further(model: Model) -> None:
    with st.expander(t("further"), expanded=not model.tested):
        files = st.file_uploader(t("upload_test"), PICTURES, True, key="further")
        if st.button(t("judge"), disabled=not files, key="judge"):
            session, number = current(), len(model.tested)
            category = stored([], files, f"further{number}")
            session.start(t("judging"), lambda: judge(model, category.test), session.take)
            st.rerun()
