"""Functions that draw: coordinates, edges, noise, curves, and the camera.

Lengths are in reference pixels, the pixels of a 320-pixel picture, whatever size is drawn: a
smaller picture shows the same object with coarser pixels. The origin of the object's coordinates
is the middle of the picture; x points to the right, y down.
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
# PaDiM crops the middle 224 of 256 pixels and ignores the rest.
SEEN = REFERENCE * 224 / 256
# Light comes from the upper left and above.
LIGHT = (-0.50, -0.56, 0.66)
# A smaller change (scale 0..1) cannot be told from sensor noise.
VISIBLE = 8 / 255
# Smallest area of a defect in square pixels.
SMALLEST = 40


@dataclass(frozen=True)
class View:
    """The object's coordinates at each pixel, `x` and `y` float32 [S,S].

    `pixel` is the width of a pixel on the object. `turn` is the angle in radians by which light
    and shadow come from another side of the object, because it lies turned under the lamp.
    """

    x: Array
    y: Array
    pixel: float
    turn: float = 0.0

    @property
    def size(self) -> int:
        return self.x.shape[0]

    def on_object(self, x: float, y: float) -> tuple[float, float]:
        """A direction in the picture as a direction on the object."""
        cos, sin = np.cos(self.turn), np.sin(self.turn)
        return cos * x + sin * y, cos * y - sin * x


def view_for(rng: Generator, size: int) -> View:
    """A view that is off by up to 2.5 pixels and one degree, as in a real fixture."""
    shift_x, shift_y = rng.uniform(-2.5, 2.5, 2)
    angle = np.deg2rad(rng.uniform(-1.0, 1.0))
    return View(*coordinates(size, shift_x, shift_y, angle), REFERENCE / size)


def coordinates(size: int, shift_x: float, shift_y: float, angle: float) -> tuple[Array, Array]:
    """x and y, float32 [S,S], of an object that is shifted and then turned by radians."""
    pixel = REFERENCE / size
    line = (np.arange(size) + 0.5) * pixel - REFERENCE / 2
    x, y = line[None, :] - shift_x, line[:, None] - shift_y
    cos, sin = np.cos(angle), np.sin(angle)
    return (cos * x + sin * y).astype("f4"), (cos * y - sin * x).astype("f4")


def cover(inside: Array, softness: float) -> Array:
    """Share of a pixel that a shape covers, from its distance `inside` the edge.

    Negative distances are outside. A `softness` of one pixel gives an antialiased hard edge, more
    a blurred one.
    """
    return np.clip(inside / softness + 0.5, 0.0, 1.0)


def ease(t: Array) -> Array:
    """The cubic that rises from 0 to 1 with slope 0 at both ends."""
    t = np.clip(t, 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def between(rng: Generator, low: float, high: float) -> float:
    """A size between two bounds, uniform in its logarithm: small defects are more frequent."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def noise(rng: Generator, size: int, cell_x: float, cell_y: float | None = None) -> Array:
    """Smooth noise float32 [S,S], deviation about 1, one maximum per `cell_x` × `cell_y`."""
    columns = int(REFERENCE / cell_x) + 2
    rows = int(REFERENCE / (cell_y or cell_x)) + 2
    coarse = Image.fromarray(rng.standard_normal((rows, columns), dtype="f4"))
    # Interpolation averages neighbours, which reduces the deviation by a third.
    return np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC)) * 1.4


def outline(rng: Generator, rough: float = 0.25) -> Array:
    """An irregular round outline for `blob`: amplitudes of its waves, float64 [5,2]."""
    return rng.normal(0, rough / 1.4, (5, 2)) / np.arange(2, 7)[:, None]


def blob(shape: Array, x: Array, y: Array, radius: float) -> Array:
    """Distance inside an `outline` of mean `radius` around the origin, shaped like `x`."""
    angle = np.arctan2(y, x)
    reach = np.ones_like(angle)
    for order, (even, odd) in enumerate(shape, start=2):
        reach += even * np.cos(order * angle) + odd * np.sin(order * angle)
    return radius * reach - np.hypot(x, y)


def wander(rng: Generator, length: float, bend: float) -> Array:
    """A slightly winding curve, float64 [24,2]; its bounding box is centred on the origin.

    `bend` is about how far it turns to each side, in radians.
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

    The sign tells the side. Pixels farther away than about `reach` get a distance of 1e6.
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
    """Light, lens and sensor of one picture.

    gain : brightness of the light, float32 [S,S,3]
    blur : standard deviation of the lens's blur, in pixels
    grain : standard deviation of the sensor's noise, scale 0..1
    """

    gain: Array
    blur: float
    grain: float

    def see(self, scene: Array) -> Array:
        """The scene [S,S,3] with this light and blur, without noise."""
        return ndimage.gaussian_filter(scene * self.gain, (self.blur, self.blur, 0))

    def record(self, seen: Array, rng: Generator) -> Array:
        """The picture uint8 [S,S,3]: what was `seen`, with the sensor's noise."""
        # Photon noise grows with the square root of the light: dark parts have less.
        scale = self.grain * np.sqrt(0.3 + np.clip(seen, 0, 1))
        noisy = seen + scale * rng.standard_normal(seen.shape, dtype="f4")
        return np.round(np.clip(noisy, 0, 1) * 255).astype("u1")


def camera_for(rng: Generator, size: int) -> Camera:
    """A camera with slightly random light, focus and amplification."""
    pixel = REFERENCE / size
    level = rng.normal(1.0, 0.03) * (1 + rng.normal(0, 0.006, 3))
    slope_x, slope_y = rng.normal(0, 0.03, 2) / (REFERENCE / 2)
    line = (np.arange(size) + 0.5) * pixel - REFERENCE / 2
    slope = 1 + slope_x * line[None, :, None] + slope_y * line[:, None, None]
    blur = rng.uniform(0.45, 0.8) / pixel
    return Camera((slope * level).astype("f4"), blur, rng.uniform(0.008, 0.014))


def changed(damaged: Array, sound: Array, pixel: float) -> Array:
    """Mask uint8 [S,S], 0 or 255: where two noiseless pictures [S,S,3] visibly differ.

    A defect may have the colour of what it covers at some pixels: such holes are filled. Regions
    too small to see are left out.
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


def is_visible(mask: Array, pixel: float) -> bool:
    """Whether a mask [S,S] is large enough, and all of it within the detector's crop."""
    rows, columns = np.nonzero(mask)
    if len(rows) * pixel**2 < SMALLEST:
        return False
    off = (np.array((rows, columns)) + 0.5) * pixel - REFERENCE / 2
    return float(np.abs(off).max()) < SEEN / 2 - 2
