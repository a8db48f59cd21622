"""Heat maps: colours of scores, a heat map over its picture, the colour bar."""

import math

import numpy as np
from PIL import Image, ImageDraw

from evaluation.canvas import new_canvas, text_width, write
from evaluation.plots import INK
from evaluation.scale import Scale

OPACITY = 0.2, 0.7  # of the heat map over the picture, at the low and high end of the scale
TEXT = 11
_BAR, _TIP, _TICK = 14, 8, 4  # pixels: width of the colours, height of the arrows, tick marks

# Turbo (A. Mikhailov, "Turbo, an improved rainbow colormap for visualization", Google 2019):
# red, green and blue as polynomials of the level, from its published approximation.
_TURBO = (
    (0.13572138, 4.61539260, -42.66032258, 132.13108234, -152.94239396, 59.28637943),
    (0.09140261, 2.19418839, 4.84296658, -14.18503333, 4.27729857, 2.82956604),
    (0.10667330, 12.64194608, -60.58204836, 110.36276771, -89.90310912, 27.34824973),
)


def _turbo() -> np.ndarray:
    powers = np.linspace(0, 1, 256)[:, None] ** np.arange(6)
    return (255 * powers @ np.transpose(_TURBO)).round().clip(0, 255).astype(np.uint8)


COLORS = _turbo()  # uint8 [256,3], from low to high
_OPACITY = np.linspace(*OPACITY, 256, dtype=np.float32)[:, None]


def overlay(
    picture: np.ndarray, anomaly_map: np.ndarray, scale: Scale, strength: float = 1.0
) -> np.ndarray:
    """The heat map over the picture in grey, so that only the heat map has colour.

    `picture` uint8 [H,W,3], `anomaly_map` float32 [H,W]; returns uint8 [H,W,3]. `strength`: factor
    of the heat map's opacity, 0 for the picture alone; opacities above 1 count as 1.
    """
    level = (anomaly_map - scale.low) * (255 / _span(scale))
    level = level.clip(0, 255).astype(np.uint8)
    gray = picture.mean(axis=2, dtype=np.float32)
    opacity = np.minimum(strength * _OPACITY, 1)
    shares = (COLORS * opacity)[level]
    return (shares + ((1 - opacity)[level] * gray[..., None])).astype(np.uint8)


def color_bar(scale: Scale, height: int) -> Image.Image:
    """The colours of `scale` with ticks, and a line at the threshold of the maximum if known.

    It is `height` pixels high, and as wide as its numbers need. Arrows: scores beyond the ends have
    the same colours.
    """
    inner = height - 2 * _TIP
    numbers = {tick: f"{tick:.4g}" for tick in ticks(scale.low, scale.high, inner // 28)}
    text = _BAR + _TICK + 4
    widest = max((text_width(number, TEXT) for number in numbers.values()), default=0)
    bar = new_canvas(text + math.ceil(widest), height)
    pen = ImageDraw.Draw(bar)
    colors = COLORS[::-1][np.linspace(0, 255, inner).round().astype(int)]
    bar.paste(Image.fromarray(np.repeat(colors[:, None], _BAR, axis=1)), (0, _TIP))
    middle, last = _BAR / 2 - 0.5, height - 1
    pen.polygon([(0, _TIP), (middle, 0), (_BAR - 1, _TIP)], tuple(COLORS[-1].tolist()))
    pen.polygon(
        [(0, last - _TIP), (middle, last), (_BAR - 1, last - _TIP)], tuple(COLORS[0].tolist())
    )

    def place(score: float) -> int:
        return round(_TIP + (inner - 1) * (scale.high - score) / _span(scale))

    for tick, number in numbers.items():
        y = place(tick)
        pen.line([(_BAR, y), (_BAR + _TICK, y)], INK)
        write(bar, (text, y + 4), number, TEXT)
    if scale.peak is not None:
        y = place(scale.peak)
        pen.rectangle([0, y - 1, _BAR + _TICK, y], "black")
    return bar


def explanation(scale: Scale) -> str:
    """What the colour bar shows, as text below it."""
    text = "colours: anomaly score of a pixel"
    return text if scale.peak is None else f"{text}; line: threshold of the maximum"


def ticks(low: float, high: float, most: int) -> list[float]:
    """At most `most` (or 2) multiples of 1, 2 or 5 times a power of ten, from `low` to `high`."""
    rough = max(high - low, 1e-12) / max(most, 2)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next((power * factor for factor in (1, 2, 5) if power * factor >= rough), 10 * power)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [i * step for i in range(first, last + 1)]


def _span(scale: Scale) -> float:
    return max(scale.high - scale.low, 1e-12)
