"""The frame of the page: title, language, sections, messages."""

import streamlit as st
from PIL import Image, ImageDraw

from evaluation.plots import DEFECTIVE, GOOD
from page.audit import audit
from page.camera import camera
from page.downloads import downloads
from page.guard import guarded
from page.options import Options
from page.running import running
from page.session import Session, current, language, t
from page.shown import results
from page.start import start
from page.texts import LANGUAGES

TITLE = "PaDiM-Paddle"
CHOSEN = {
    *("section", "source", "demo", "folder", "method", "backbone", "first_fpr", "roi"),
    *("show", "heat"),
}
# Streamlit's own margins leave little room on a telephone.
STYLE = """<style>
.stMainBlockContainer { padding-top: 3.2rem; padding-bottom: 3rem; max-width: 1200px; }
@media (max-width: 640px) {
  .stMainBlockContainer { padding-left: 1rem; padding-right: 1rem; }
  .stButtonGroup button { padding-left: 0.6rem; padding-right: 0.6rem; }
}
</style>"""


def show(options: Options) -> None:
    """The whole page, for one visitor."""
    st.set_page_config(page_title=TITLE, page_icon=_icon(), layout="wide")
    st.html(STYLE)
    session = current()
    _remember()
    session.finish()
    _head()
    if session.work is not None:
        running()
        return
    if session.message:
        st.error(session.message)
    _section(session, options)


def _remember() -> None:
    """Keep what was chosen in sections that are not shown now; Streamlit would forget it."""
    for key in st.session_state:
        if key in CHOSEN or key.startswith("set_"):
            st.session_state[key] = st.session_state[key]


@st.cache_resource
def _icon() -> Image.Image:
    """A part with a marked defect. Streamlit would load an icon or emoji from another server."""
    icon = Image.new("RGBA", (64, 64))
    pen = ImageDraw.Draw(icon)
    pen.ellipse([2, 2, 61, 61], GOOD)
    pen.ellipse([32, 12, 52, 32], "white", DEFECTIVE, 5)
    return icon


def _head() -> None:
    row = st.container(
        horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"
    )
    row.title(TITLE, anchor=False, width="content")
    row.segmented_control(
        "Language / 语言",
        LANGUAGES,
        default=language(),
        required=True,
        label_visibility="collapsed",
        key="language",
    )
    st.caption(t("about"))


def _section(session: Session, options: Options) -> None:
    """The section that the visitor, or the work that has just ended, chose."""
    sections = {"start": lambda: start(options)}
    if session.model is not None:
        sections["results"] = results
        if session.model.audited:
            sections["audit"] = audit
        sections |= {"camera": camera, "downloads": downloads}
    if session.section in sections:
        st.session_state["section"] = session.section
        if session.section == "results":
            st.session_state.pop("fpr", None)
    session.section = None
    chosen = st.segmented_control(
        t("section"),
        list(sections),
        format_func=lambda name: t(f"section_{name}"),
        default="start" if "section" not in st.session_state else None,
        required=True,
        label_visibility="collapsed",
        key="section",
    )
    guarded(sections.get(chosen, sections["start"]))()
