"""Draws one sheet per picture: picture, ground truth, heat map, predicted mask, outline."""

from pathlib import Path

import numpy as np
from scipy.ndimage import binary_dilation, binary_erosion

from common.errors import printable
from evaluation.figure import INK, QUIET, fonts, new_figure, save_figure
from evaluation.scale import Scale, verdict

COLORS = "turbo"
OPACITY = 0.2, 0.7  # of the heat map over the picture, at the low and high end of the scale
OUTLINE = np.array([255, 40, 30], np.uint8)
PANEL = 2.5  # inches


class Sheet:
    """Draws sheets for pictures of one run; all use the same figure with new contents."""

    def __init__(self, scale: Scale, truth: bool):
        self.scale = scale
        panels = ["picture", "heat map"]
        if truth:
            panels.insert(1, "ground truth")
        if scale.threshold is not None:
            panels += ["predicted mask", "outline"]
        self.panels = panels
        self._size = None

    def save(
        self,
        path: Path,
        name: str,
        picture: np.ndarray,
        score: float,
        anomaly_map: np.ndarray,
        mask: np.ndarray | None = None,
    ) -> None:
        """`picture` uint8 [H,W,3]; `anomaly_map` float32 [H,W]; `mask` bool [H,W] or None."""
        if self._size != anomaly_map.shape:
            self._build(anomaly_map.shape)
        contents = {"picture": picture, "heat map": self._heat(picture, anomaly_map)}
        if self.scale.threshold is not None:
            predicted = self.scale.region(score, anomaly_map)
            contents["predicted mask"] = _black_and_white(predicted)
            contents["outline"] = _outlined(picture, predicted)
            cut = f"≥ {self.scale.cut(anomaly_map):.4g}" if predicted.any() else "none"
            self._rename("predicted mask", f"predicted mask: {cut}")
        if "ground truth" in self.panels:
            unknown = mask is None
            blank = np.full_like(picture, 235)
            contents["ground truth"] = blank if unknown else _black_and_white(mask)
            self._rename("ground truth", "ground truth: unknown" if unknown else "ground truth")
        for panel, image in self._images.items():
            image.set_data(contents[panel])
        self._title.set_text(self._headline(name, score))
        save_figure(self._figure, path)

    def _rename(self, panel: str, text: str) -> None:
        self._axes[panel].set_title(text, fontsize=9, color=QUIET)

    def _headline(self, name: str, score: float) -> str:
        threshold, name = self.scale.threshold, printable(name)
        if threshold is None:
            return f"{name}    score {score:.4g}, no threshold"
        return (
            f"{name}    score {score:.4g}, threshold {threshold:.4g}: {verdict(score, threshold)}"
        )

    def _build(self, size: tuple[int, int]) -> None:
        self._size = size
        height, width = size
        tall = PANEL * min(1.5, height / width)
        self._figure = new_figure(PANEL * len(self.panels) + 0.8, tall + 0.65)
        self._title = self._figure.suptitle(" ", fontsize=10, color=INK, x=0.01, ha="left")
        self._title.set(fontfamily=fonts(), parse_math=False)  # a `$` in a name is a `$`
        axes = self._figure.subplots(1, len(self.panels), squeeze=False)[0]
        self._axes = dict(zip(self.panels, axes, strict=True))
        empty = np.zeros((*size, 3), np.uint8)
        self._images = {}
        for panel, place in self._axes.items():
            place.set_axis_off()
            self._rename(panel, panel)
            self._images[panel] = place.imshow(empty, interpolation="nearest")
        self._color_bar(axes)
        self._figure.draw_without_rendering()
        # Computed once: keeping the layout halves the time of each sheet.
        self._figure.set_layout_engine("none")

    def _color_bar(self, axes) -> None:
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize

        colors = ScalarMappable(Normalize(self.scale.low, self.scale.high), COLORS)
        bar = self._figure.colorbar(
            colors, ax=list(axes), extend="both", fraction=0.02, pad=0.01, shrink=0.95
        )
        bar.ax.tick_params(labelsize=8)
        bar.outline.set_visible(False)
        label = "anomaly score"
        if self.scale.peak is not None:
            bar.ax.axhline(self.scale.peak, color="black", linewidth=1.5)
            label += "\n(line: threshold of the maximum)"
        bar.set_label(label, fontsize=7)

    def _heat(self, picture: np.ndarray, anomaly_map: np.ndarray) -> np.ndarray:
        from matplotlib import colormaps

        span = max(self.scale.high - self.scale.low, 1e-12)
        level = ((anomaly_map - self.scale.low) / span).clip(0, 1)
        heat = colormaps[COLORS](level, bytes=True)[..., :3]
        gray = picture.mean(axis=2, keepdims=True)  # so that only the heat map has colour
        opacity = np.interp(level, (0, 1), OPACITY)[..., None]
        return (opacity * heat + (1 - opacity) * gray).astype(np.uint8)


def _black_and_white(mask: np.ndarray) -> np.ndarray:
    return np.repeat(np.where(mask, 255, 0).astype(np.uint8)[..., None], 3, axis=2)


def _outlined(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The picture with a two-pixel line along the border of the mask."""
    border = binary_dilation(mask) & ~binary_erosion(mask, border_value=1)
    drawn = picture.copy()
    drawn[border] = OUTLINE
    return drawn
