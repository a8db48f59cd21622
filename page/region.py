"""Draws a region of interest on a training picture: a component of the page."""

import base64

import streamlit as st

from common.preprocessing import Preprocessing
from datasets.transforms import Transform
from page.learning import jpeg
from page.limits import MOST_PIXELS
from page.session import current, t
from page.shapes import KINDS, rasterized, valid
from page.tiles import source

SIDE = 560  # pixels of the picture that is drawn on


def draw_region(first, preprocessing: Preprocessing) -> None:
    """Let the visitor draw on the picture `first`; the shapes are kept in the session."""
    session = current()
    st.caption(t("roi_help"))
    picture = Transform(preprocessing, MOST_PIXELS).picture(first)
    uri = f"data:image/jpeg;base64,{base64.b64encode(jpeg(picture, SIDE)).decode()}"
    words = {name: t(f"roi_{name}") for name in (*KINDS, "undo", "clear")}
    data = {"picture": uri, "words": words, "shapes": session.shapes}
    found = _component()(key="region", data=data, on_shapes_change=lambda: None)
    if found.shapes is not None:
        session.shapes = valid(found.shapes)
    pixels = rasterized(session.shapes, preprocessing.crop)
    if pixels is not None:
        st.caption(t("roi_share", share=f"{100 * pixels.mean():.0f}"))


@st.cache_resource
def _component():
    return st.components.v2.component("region", css=source("region.css"), js=source("region.js"))
