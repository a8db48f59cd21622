"""The section with the training pictures: the most unusual ones, to leave out and learn again."""

from pathlib import Path

import streamlit as st

from page.session import current, t
from page.start import again
from page.tiles import Tile, tiles

SHOWN = 24


def audit() -> None:
    """Show the section."""
    session = current()
    model, out = session.model, session.excluded
    st.caption(t("audit_help", n=len(model.audited)))
    changed = frozenset(out) != model.excluded
    if changed and st.button(t("learn_without", n=len(out)), type="primary", key="again"):
        again()
    kept = [row for row in model.audited if row.index in model.thumbnails][:SHOWN]
    clicked = tiles([_tile(row, model, out) for row in kept], "audit")
    if clicked is not None:
        _toggle(out, next(row.source for row in kept if row.index == clicked))
        st.rerun()
    if model.excluded:
        st.markdown(f"**{t('left_out')}**")
        for path in sorted(model.excluded):
            label = t("stay_out") if path in out else t("come_back")
            if st.checkbox(f"{path.name}: {label}", path not in out, key=f"back_{path}") == (
                path in out
            ):
                _toggle(out, path)
                st.rerun()


def _toggle(out: set[Path], path: Path) -> None:
    out.symmetric_difference_update({path})


def _tile(row, model, out: set[Path]) -> Tile:
    left_out = row.source in out
    action = t("take_back") if left_out else t("leave_out")
    mark = t("mark_out") if left_out else t("beyond") if row.beyond else ""
    tone = "defective" if row.beyond and not left_out else "plain"
    note = f"{row.score:.4g} · p {row.p_value:.2g}"
    name = Path(row.source).name
    return Tile(row.index, model.thumbnails[row.index], name, note, mark, tone, action, left_out)
