"""Draws the training pictures that are least like the others."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from common.errors import printable
from evaluation import canvas
from evaluation.heat import TEXT, color_bar, explanation, overlay
from evaluation.plots import DEFECTIVE, INK
from evaluation.scale import Scale

COLUMNS = 5
TILE = 190  # pixels, of the longer side of a picture
PAD, GAP = 8, 8  # pixels, inside the frame of a cell and between cells
FRAME = 4  # pixels
LINES = 40  # pixels, for the text below the pictures
LOWEST = 160  # pixels, of the colour bar
MARGIN, TOP, BOTTOM = 14, 64, 32
HEADLINE, TITLE = 16, 12  # font sizes
NOTE = "score and p: had the picture been left out of training; frame: beyond the others"


@dataclass(frozen=True)
class Unusual:
    """A training picture and what the model would say of it, had it been left out of training.

    score : image score without this picture
    p_value : probability of such a score, or a larger one, in the tail of the others
    beyond : whether it is beyond what the others explain
    picture : uint8 [H,W,3]
    map : float32 [H,W], pixel scores
    """

    name: str
    score: float
    p_value: float
    beyond: bool
    picture: np.ndarray
    map: np.ndarray


def draw_audit(path: Path, entries: list[Unusual], scale: Scale, title: str) -> None:
    """Write a PNG with a cell for each of the entries (at least one), in their order.

    A cell shows picture, heat map, name and figures; it has a frame if the entry is `beyond`. All
    heat maps have the colours of `scale`. `title` says what was trained.
    """
    cells = [_cell(number, entry, scale) for number, entry in enumerate(entries, 1)]
    width = TILE + 2 * PAD
    height = max(cell.height for cell in cells)
    columns, rows = min(COLUMNS, len(cells)), -(-len(cells) // COLUMNS)
    bar = color_bar(scale, max(height - 2 * PAD - LINES, LOWEST))
    heading = f"{printable(title)}: training pictures least like the others"
    across = columns * (width + GAP) + bar.width
    across = max(across, round(canvas.text_width(NOTE, TITLE)))
    down = TOP + max(rows * (height + GAP), bar.height) + BOTTOM
    sheet = canvas.new_canvas(across + 2 * MARGIN, down)
    heading = canvas.fitted(heading, HEADLINE, across)
    canvas.write(sheet, (MARGIN, 28), heading, HEADLINE)
    canvas.write(sheet, (MARGIN, 50), NOTE, TITLE, canvas.LABEL)
    for i, cell in enumerate(cells):
        row, column = divmod(i, COLUMNS)
        sheet.paste(cell, (MARGIN + column * (width + GAP), TOP + row * (height + GAP)))
    sheet.paste(bar, (MARGIN + columns * (width + GAP), TOP + PAD))
    canvas.write(sheet, (MARGIN, down - 14), explanation(scale), TEXT, canvas.LABEL)
    canvas.save_image(sheet, path)


def _cell(number: int, entry: Unusual, scale: Scale) -> Image.Image:
    """The picture, below it the heat map, below it two lines of text."""
    factor = TILE / max(entry.picture.shape[:2])
    height, width = (max(1, round(side * factor)) for side in entry.picture.shape[:2])
    picture = canvas.resized(entry.picture, width, height)
    heat = overlay(picture, canvas.resized_map(entry.map, width, height), scale)
    cell = canvas.new_canvas(TILE + 2 * PAD, 2 * (PAD + height) + LINES + PAD)
    x = PAD + (TILE - width) // 2
    cell.paste(Image.fromarray(picture), (x, PAD))
    cell.paste(Image.fromarray(heat), (x, 2 * PAD + height))
    color = DEFECTIVE if entry.beyond else INK
    name = canvas.fitted(f"{number}  {printable(entry.name)}", TITLE, TILE)
    figures = f"score {entry.score:.4g}, p {entry.p_value:.2g}"
    for text, below in ((name, LINES - 16), (figures, LINES - 34)):
        canvas.write(cell, (PAD, cell.height - PAD - below), text, TITLE, color)
    if entry.beyond:
        frame = (0, 0, cell.width - 1, cell.height - 1)
        ImageDraw.Draw(cell).rectangle(frame, outline=DEFECTIVE, width=FRAME)
    return cell
