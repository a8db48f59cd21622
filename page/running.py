"""Shows the progress of work, and a button to cancel it."""

import streamlit as st

from page.guard import guarded
from page.session import current, t

EVERY = 0.5  # seconds
STEPS = {"draw": "step_draw", "fit": "step_fit", "leave": "step_leave", "judge": "step_judge"}


@st.fragment(run_every=EVERY)
@guarded
def running() -> None:
    """The progress bar; the whole page is made again when the work has ended."""
    work = current().work
    if work is None or work.status.ended.is_set():
        st.rerun(scope="app")
    status = work.status
    share = status.done / status.total if status.total else 0.0
    st.subheader(work.name, anchor=False)
    st.progress(min(share, 1.0), text=_told(status))
    st.button(t("cancel"), key="cancel", disabled=status.stop.is_set(), on_click=work.cancel)


def _told(status) -> str:
    if status.stop.is_set():
        return t("cancelling")
    if status.waiting:
        return t("waiting")
    if not status.total:
        return t("preparing")
    step = t(STEPS.get(status.what.split()[0].rstrip(","), "step_other"))
    told = f"{step}: {status.done} / {status.total}"
    if status.done >= status.total:
        return f"{told} · {t('finishing')}"
    left = status.seconds_left
    return told if left is None else f"{told} · {t('left', seconds=max(1, round(left)))}"
