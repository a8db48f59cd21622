"""Draws a region of interest on a training picture: a component of the page."""

import base64
from collections.abc import Sequence

import numpy as np
import streamlit as st
from PIL import Image, ImageDraw

from common.preprocessing import Preprocessing
from datasets.transforms import Transform
from page.learning import jpeg
from page.limits import MOST_PIXELS
from page.session import current, t
from page.tiles import source

KINDS = ("rectangle", "ellipse", "freehand")
MOST_SHAPES, MOST_POINTS = 50, 2000
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


def valid(shapes: object) -> list:
    """The shapes that the browser sent, those that are wrong left out.

    A shape is {"kind": one of KINDS, "points": [[x, y], …]} in shares of the picture's sides.
    """
    found = []
    for shape in shapes[:MOST_SHAPES] if isinstance(shapes, list) else []:
        if not isinstance(shape, dict) or shape.get("kind") not in KINDS:
            continue
        points = shape.get("points")
        if not isinstance(points, list) or not 2 <= len(points) <= MOST_POINTS:
            continue
        try:
            array = np.array(points, float)
        except (TypeError, ValueError):
            continue
        if array.shape == (len(points), 2) and np.isfinite(array).all():
            found.append({"kind": shape["kind"], "points": array.clip(0, 1).tolist()})
    return found


def rasterized(shapes: Sequence[dict], size: tuple[int, int]) -> np.ndarray | None:
    """The union of the shapes, bool [H,W] of `size`; None if it is empty."""
    height, width = size
    canvas = Image.new("1", (width, height))
    pen = ImageDraw.Draw(canvas)
    for shape in shapes:
        points = [(x * width, y * height) for x, y in shape["points"]]
        if shape["kind"] == "freehand":
            if len(points) > 2:
                pen.polygon(points, fill=1)
            continue
        (x0, y0), (x1, y1) = points[0], points[-1]
        box = [min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)]
        (pen.rectangle if shape["kind"] == "rectangle" else pen.ellipse)(box, fill=1)
    pixels = np.asarray(canvas)
    return pixels if pixels.any() else None


@st.cache_resource
def _component():
    return st.components.v2.component("region", css=source("region.css"), js=source("region.js"))
