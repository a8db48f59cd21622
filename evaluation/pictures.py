"""Draws one sheet per picture: picture, heat map, outline, predicted mask, ground truth."""

from pathlib import Path

import numpy as np
from PIL import Image

from common.errors import printable
from evaluation import canvas
from evaluation.confusion import remark
from evaluation.heat import TEXT, color_bar, explanation, overlay
from evaluation.plots import DEFECTIVE, GOOD, INK
from evaluation.scale import Scale, verdict

OUTLINE = np.array([255, 40, 30], np.uint8)
LONGEST, SHORTEST = 448, 192  # pixels, of a panel's longer side
NARROWEST = 160  # pixels, of the column of a panel and of the row: titles and ticks need room
MARGIN, GAP = 12, 12
HEADLINE, TITLE = 15, 12  # font sizes
TOP, BOTTOM = 60, 28  # pixels above and below the panels


class Sheet:
    """Draws sheets for pictures of one run, all with the same colours.

    The panel with the ground truth is the last one, so that the other panels have the same
    places in sheets of pictures without a mask.
    """

    def __init__(self, scale: Scale, truth: bool):
        self.scale, self.truth = scale, truth

    def save(
        self,
        path: Path,
        name: str,
        picture: np.ndarray,
        score: float,
        anomaly_map: np.ndarray,
        mask: np.ndarray | None = None,
        defective: bool | None = None,
    ) -> None:
        """`picture` uint8 [H,W,3]; `anomaly_map` float32 [H,W]; `mask` bool [H,W] or None;
        `defective`: the truth, None where it is unknown."""
        panels = self._panels(picture, anomaly_map, self.scale.region(score, anomaly_map))
        if self.truth and mask is not None:
            title = "ground truth" if mask.any() else "ground truth: none"
            panels[title] = _black_and_white(mask, panel_size(picture))
        sheet = self._in_a_row(panels)
        self._write_headline(sheet, name, score, defective)
        canvas.save_image(sheet, path)

    def _panels(
        self, picture: np.ndarray, anomaly_map: np.ndarray, region: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Titles and contents, uint8 [h,w,3], of the panels that every picture has."""
        size = panel_size(picture)
        picture = canvas.resized(picture, *size)
        heat = overlay(picture, canvas.resized_map(anomaly_map, *size), self.scale)
        panels = {"picture": picture, "heat map": heat}
        if self.scale.threshold is not None:
            title = "predicted mask" if region.any() else "predicted mask: none"
            panels["outline"] = outlined(picture, canvas.resized_mask(region, *size))
            panels[title] = _black_and_white(region, size)
        return panels

    def _in_a_row(self, panels: dict[str, np.ndarray]) -> Image.Image:
        """The sheet without its headline; the colour bar is beside the heat map."""
        height, width = panels["picture"].shape[:2]
        column, row = max(width, NARROWEST), max(height, NARROWEST)
        bar = color_bar(self.scale, row)
        across = 2 * MARGIN + len(panels) * (column + GAP) + bar.width
        sheet = canvas.new_canvas(across, TOP + row + BOTTOM)
        x = MARGIN
        for title, panel in panels.items():
            sheet.paste(Image.fromarray(panel), (x, TOP))
            shown = canvas.fitted(title, TITLE, column)
            canvas.write(sheet, (x, TOP - 8), shown, TITLE, canvas.LABEL)
            if title == "heat map":
                place = x, sheet.height - 10
                canvas.write(sheet, place, explanation(self.scale), TEXT, canvas.LABEL)
                sheet.paste(bar, (x + width + GAP, TOP))
                x += bar.width + GAP
            x += column + GAP
        return sheet

    def _write_headline(
        self, sheet: Image.Image, name: str, score: float, defective: bool | None
    ) -> None:
        """The name, shortened so that score, threshold and verdict have room."""
        threshold, judged, color = self.scale.threshold, "", INK
        facts = f"score {score:.4g}, no threshold"
        if threshold is not None:
            facts = f"score {score:.4g}, threshold {threshold:.4g}: "
            judged = verdict(score, threshold)
            if wrong := remark(defective, score >= threshold):
                judged += f", {wrong}"
            color = DEFECTIVE if score >= threshold else GOOD
        room = sheet.width - 2 * MARGIN - canvas.text_width(facts + judged, HEADLINE) - 24
        name = canvas.fitted(printable(name), HEADLINE, room)
        x = canvas.write(sheet, (MARGIN, 26), name, HEADLINE)
        x = canvas.write(sheet, (x + 24, 26), facts, HEADLINE)
        canvas.write(sheet, (x, 26), judged, HEADLINE, color)


def panel_size(picture: np.ndarray) -> tuple[int, int]:
    """Width and height of its panel: those of the picture, or reduced, or a multiple of them."""
    height, width = picture.shape[:2]
    longest = max(height, width)
    if longest > LONGEST:
        factor = LONGEST / longest
        return max(1, round(width * factor)), max(1, round(height * factor))
    factor = -(-SHORTEST // longest)
    return width * factor, height * factor


def outlined(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The picture, uint8 [H,W,3], with a two-pixel line along the border of `mask`, bool [H,W]."""
    border = np.zeros(mask.shape, bool)
    for pixels, edge in ((mask, border), (mask.T, border.T)):
        change = pixels[1:] != pixels[:-1]
        edge[1:] |= change
        edge[:-1] |= change
    drawn = picture.copy()
    drawn[border] = OUTLINE
    return drawn


def _black_and_white(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.repeat(np.uint8(255) * canvas.resized_mask(mask, *size)[..., None], 3, axis=2)
