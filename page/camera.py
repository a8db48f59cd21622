"""The section that judges a picture of the browser's camera."""

import hashlib

import streamlit as st

from datasets.samples import Sample
from page.detail import show_one
from page.learning import judge_one
from page.session import current, t
from page.uploads import UNKNOWN


def camera() -> None:
    """Show the section."""
    session = current()
    st.caption(t("camera_help"))
    taken = st.camera_input(t("camera"), key="camera")
    if taken is None:
        return
    content = taken.getvalue()
    path = session.root / "camera.jpg"
    path.write_bytes(content)
    digest, rule = hashlib.sha256(content).hexdigest(), session.model.inspector.rule
    kept = st.session_state.get("camera_judged")
    if kept is None or kept[0] != (digest, rule, id(session.model)):
        with st.spinner(t("judging")):
            judged = judge_one(session.model.inspector, Sample(path, UNKNOWN))
        kept = st.session_state["camera_judged"] = (digest, rule, id(session.model)), judged
    show_one(kept[1], key="camera")
