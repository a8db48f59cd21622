"""The flange of module `flange`, smaller and thrown onto the mat: at any angle and place."""

import numpy as np
from numpy.random import Generator

from demo_set.draw import REFERENCE, View, coordinates
from demo_set.flange import DEFECTS, Damage, picture, piece

__all__ = ["DEFECTS", "Damage", "picture", "piece", "view"]

SCALE = 0.85  # of the flange that lies in its fixture
PLAY = 24.0  # largest distance from the middle along each axis, in reference pixels
DRAWS = 3  # a defect is the largest of so many


def view(rng: Generator, size: int) -> View:
    """A flange at any angle; its shadow is still within the detector's crop."""
    shift_x, shift_y = rng.uniform(-PLAY, PLAY, 2)
    angle = rng.uniform(-np.pi, np.pi)
    x, y = coordinates(size, shift_x, shift_y, angle)
    scale = np.float32(SCALE)
    return View(x / scale, y / scale, REFERENCE / size / SCALE, angle)
