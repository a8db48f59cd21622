"""Drawing by formula for the demo set: coordinates, edges, noise, curves, and the camera.

Lengths are in reference pixels, those of a 320-pixel picture, whatever the size drawn: a
smaller picture shows the same object with coarser pixels. Object coordinates have their
origin in the middle of the picture, x to the right, y down.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Array = NDArray[Any]

REFERENCE = 320.0
# PaDiM keeps the middle 224 of 256 pixels; what lies outside is never looked at.
SEEN = REFERENCE * 224 / 256
# Light comes from the upper left and above.
LIGHT = (-0.50, -0.56, 0.66)
# A change below this, of 0..1, drowns in the sensor noise.
VISIBLE = 8 / 255
# A mask of fewer square pixels is no defect that anybody could be asked to find.
LEAST = 40


@dataclass(frozen=True)
class View:
    """Where each pixel of a picture looks on the object: `x`, `y` float32 [S,S]."""

    x: Array
    y: Array
    pixel: float

    @property
    def size(self) -> int:
        return self.x.shape[0]


def look(rng: Generator, size: int) -> View:
    """A view with the play of a real fixture: within 2.5 pixels and one degree."""
    shift_x, shift_y = rng.uniform(-2.5, 2.5, 2)
    angle = np.deg2rad(rng.uniform(-1.0, 1.0))
    pixel = REFERENCE / size
    line = (np.arange(size) + 0.5) * pixel - REFERENCE / 2
    x, y = line[None, :] - shift_x, line[:, None] - shift_y
    cos, sin = np.cos(angle), np.sin(angle)
    return View((cos * x + sin * y).astype("f4"), (cos * y - sin * x).astype("f4"), pixel)


def cover(inside: Array, softness: float) -> Array:
    """Share of a pixel within an edge, from the distance `inside` it (negative: outside).

    A `softness` of one pixel is the antialiased hard edge; more is a blurred one.
    """
    return np.clip(inside / softness + 0.5, 0.0, 1.0)


def ease(t: Array) -> Array:
    """The cubic that goes from 0 to 1 without corners."""
    t = np.clip(t, 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def between(rng: Generator, low: float, high: float) -> float:
    """A size between two bounds, evenly in its logarithm: small defects are the common ones."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def noise(rng: Generator, size: int, cell_x: float, cell_y: float | None = None) -> Array:
    """Smooth noise float32 [S,S] of about unit deviation, one bump per `cell_x` × `cell_y`."""
    columns = int(REFERENCE / cell_x) + 2
    rows = int(REFERENCE / (cell_y or cell_x)) + 2
    coarse = Image.fromarray(rng.standard_normal((rows, columns), dtype="f4"))
    # Interpolation averages neighbours, which costs a third of the deviation.
    return np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC)) * 1.4


def outline(rng: Generator, rough: float = 0.25) -> Array:
    """An irregular round outline for `blob`: amplitudes of its waves, float64 [5,2]."""
    return rng.normal(0, rough / 1.4, (5, 2)) / np.arange(2, 7)[:, None]


def blob(shape: Array, x: Array, y: Array, radius: float) -> Array:
    """Distance inside an `outline` of mean `radius` about the origin, same shape as `x`."""
    angle = np.arctan2(y, x)
    reach = np.ones_like(angle)
    for order, (even, odd) in enumerate(shape, start=2):
        reach += even * np.cos(order * angle) + odd * np.sin(order * angle)
    return radius * reach - np.hypot(x, y)


def wander(rng: Generator, length: float, bend: float) -> Array:
    """A gently winding curve: float64 [24,2], the middle of its bounding box on the origin.

    `bend` is about how far it turns to either side, in radians.
    """
    t = np.linspace(0, 1, 24)
    heading = rng.uniform(0, 2 * np.pi)
    for low, high, share in ((0.3, 0.7, 1.0), (0.9, 1.8, 0.4)):
        wave = rng.uniform(low, high) * t + rng.uniform()
        heading = heading + share * bend * np.sin(2 * np.pi * wave)
    steps = length / (len(t) - 1) * np.stack([np.cos(heading), np.sin(heading)], axis=1)
    points = np.cumsum(steps, axis=0)
    return points - (points.min(axis=0) + points.max(axis=0)) / 2


def near_curve(view: View, points: Array, reach: float) -> tuple[Array, Array]:
    """Signed distance from a curve and place along it (0..1), each float32 [S,S].

    The sign tells the side. Pixels farther than about `reach` get a distance of 1e6.
    """
    side = np.full(view.x.shape, 1e6, "f4")
    along = np.zeros(view.x.shape, "f4")
    low, high = points.min(axis=0) - reach, points.max(axis=0) + reach
    near = (view.x > low[0]) & (view.x < high[0]) & (view.y > low[1]) & (view.y < high[1])
    if not near.any():
        return side, along
    x, y = view.x[near], view.y[near]
    best = np.full(x.shape, 1e12, "f4")
    signed, place = np.full(x.shape, 1e6, "f4"), np.zeros(x.shape, "f4")
    for k, (start, end) in enumerate(zip(points[:-1], points[1:], strict=True)):
        dx, dy = end - start
        norm = dx * dx + dy * dy + 1e-9
        px, py = x - start[0], y - start[1]
        t = np.clip((px * dx + py * dy) / norm, 0.0, 1.0)
        square = (px - t * dx) ** 2 + (py - t * dy) ** 2
        closer = square < best
        best = np.where(closer, square, best)
        sign = np.where(px * dy - py * dx >= 0, 1.0, -1.0)
        signed = np.where(closer, sign * np.sqrt(square), signed)
        place = np.where(closer, (k + t) / (len(points) - 1), place)
    side[near], along[near] = signed, place
    return side, along


def mix(below: Array, above: Array | tuple[float, ...], alpha: Array) -> Array:
    """`above` painted over `below` [S,S,3] with coverage `alpha` [S,S]."""
    return below + alpha[..., None] * (np.asarray(above, "f4") - below)


@dataclass(frozen=True)
class Camera:
    """Light and lens of one picture: `gain` float32 [S,S,3], `blur` in pixels, `grain` 0..1."""

    gain: Array
    blur: float
    grain: float

    def see(self, scene: Array) -> Array:
        """The scene [S,S,3] under this light and through this lens, before the sensor."""
        return ndimage.gaussian_filter(scene * self.gain, (self.blur, self.blur, 0))

    def record(self, seen: Array, rng: Generator) -> Array:
        """The picture uint8 [S,S,3] that a noisy sensor makes of what was seen."""
        # Photon noise grows with the root of the light, so shadows are quieter.
        scale = self.grain * np.sqrt(0.3 + np.clip(seen, 0, 1))
        noisy = seen + scale * rng.standard_normal(seen.shape, dtype="f4")
        return np.round(np.clip(noisy, 0, 1) * 255).astype("u1")


def camera(rng: Generator, view: View) -> Camera:
    """A camera whose lamp, focus and amplification vary a little from picture to picture."""
    level = rng.normal(1.0, 0.03) * (1 + rng.normal(0, 0.006, 3))
    slope_x, slope_y = rng.normal(0, 0.03, 2) / (REFERENCE / 2)
    line = (np.arange(view.size) + 0.5) * view.pixel - REFERENCE / 2
    slope = 1 + slope_x * line[None, :, None] + slope_y * line[:, None, None]
    blur = rng.uniform(0.45, 0.8) / view.pixel
    return Camera((slope * level).astype("f4"), blur, rng.uniform(0.008, 0.014))


def changed(damaged: Array, sound: Array, pixel: float) -> Array:
    """Mask uint8 [S,S], 0 or 255: where two noiseless pictures [S,S,3] visibly differ.

    A defect may meet the colour of what it covers here and there; such pinholes are closed,
    and specks too small to see are dropped.
    """
    mask = np.abs(damaged - sound).max(axis=-1) > VISIBLE
    reach = max(1, round(2 / pixel))
    disc = np.hypot(*np.mgrid[-reach : reach + 1, -reach : reach + 1]) <= reach + 0.3
    mask = np.pad(mask, reach)
    mask = ndimage.binary_closing(mask, disc)[reach:-reach, reach:-reach]
    for value, least in ((False, 40), (True, 12)):
        labels, count = ndimage.label(mask == value)
        areas = np.bincount(labels.ravel(), minlength=count + 1) * pixel**2
        small = areas < least
        small[0] = False
        mask[small[labels]] = not value
    return (mask * 255).astype("u1")


def shown(mask: Array, pixel: float) -> bool:
    """Whether a mask [S,S] is large enough, and all of it in the part that a detector sees."""
    rows, columns = np.nonzero(mask)
    if len(rows) * pixel**2 < LEAST:
        return False
    off = (np.array((rows, columns)) + 0.5) * pixel - REFERENCE / 2
    return float(np.abs(off).max()) < SEEN / 2 - 2
