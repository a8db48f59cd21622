"""Shapes that were drawn in the browser, and the region of interest that they are.

A shape is {"kind": one of KINDS, "points": [[x, y], …]} in shares of the picture's sides; of a
rectangle and an ellipse the first and the last point are opposite corners.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

KINDS = ("rectangle", "ellipse", "freehand")
MOST_SHAPES, MOST_POINTS = 50, 2000


def valid(shapes: object) -> list:
    """The shapes that the browser sent, those that are wrong left out."""
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
