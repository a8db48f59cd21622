"""A checked linen cloth in plain weave, and its defects."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from demo_set.draw import (
    LIGHT,
    SEEN,
    Array,
    View,
    between,
    blob,
    cover,
    ease,
    mix,
    near_curve,
    noise,
    outline,
    wander,
)

PITCH = 8.0
# Threads to each side of the middle: enough for every shifted and rotated view.
HALF = 25
LINEN = np.array((0.86, 0.80, 0.69), "f4")
INDIGO = np.array((0.40, 0.49, 0.62), "f4")
TABLE = np.array((0.20, 0.175, 0.155), "f4")
# Defects stay within this distance from the middle, on both axes.
FARTHEST = SEEN / 2 - 10


@dataclass(frozen=True)
class Threads:
    """One set of parallel threads; arrays have one row per thread, [2*HALF, ...]."""

    colour: Array
    radius: Array
    twist: Array


@dataclass(frozen=True)
class Cloth:
    """A piece of cloth without defects, arrays [S,S]."""

    view: View
    warp: Threads
    weft: Threads
    sway_x: Array
    sway_y: Array
    slub: Array
    fuzz: Array


@dataclass(frozen=True)
class Damage:
    """Changes that a defect makes: threads pulled aside, cut, dyed, or covered."""

    pull_x: Array | float = 0.0
    pull_y: Array | float = 0.0
    warp_left: Array | float = 1.0
    weft_left: Array | float = 1.0
    dye: Array | float = 1.0
    table: Array | float = 1.0
    cover_up: Callable[[Array], Array] | None = None


def spin(rng: Generator) -> Threads:
    """Threads with slightly different colour, radius and twist, in the order of the pattern."""
    count = 2 * HALF
    checked = np.isin(np.arange(count) % 10, (3, 4, 5))
    colour = np.where(checked[:, None], INDIGO, LINEN)
    colour = colour * (1 + rng.normal(0, 0.025, (count, 1))) * (1 + rng.normal(0, 0.01, (count, 3)))
    radius = PITCH * np.clip(rng.normal(0.47, 0.016, count), 0.42, 0.51)
    return Threads(colour.astype("f4"), radius.astype("f4"), rng.uniform(0, 6.28, count))


def piece(rng: Generator, view: View) -> Cloth:
    """A new piece of cloth in the given view."""
    size = view.size
    return Cloth(
        view=view,
        warp=spin(rng),
        weft=spin(rng),
        sway_x=0.35 * noise(rng, size, 50) + 0.25 * noise(rng, size, PITCH, 30),
        sway_y=0.35 * noise(rng, size, 50) + 0.25 * noise(rng, size, 30, PITCH),
        slub=0.035 * noise(rng, size, 14),
        fuzz=0.035 * noise(rng, size, 2.2, 5) + 0.035 * noise(rng, size, 5, 2.2),
    )


def strands(set_: Threads, place: Array, along: Array, z: Array, slub: Array, pixel: float):
    """Index, coverage, side (-1..1 across the thread) of one set of threads, each [S,S].

    `place` is the coordinate across the threads, `z` their height: a thread is narrower
    where it passes below another.
    """
    row = np.floor(place / PITCH)
    index = np.clip(row.astype("i4") + HALF, 0, 2 * HALF - 1)
    off = place - (row + 0.5) * PITCH
    radius = set_.radius[index] * (0.87 + 0.13 * z + slub)
    side = np.clip(off / radius, -1, 1)
    ply = np.sin((0.75 * along + off) * (2 * np.pi / 3.4) + set_.twist[index])
    return index, cover(radius - np.abs(off), pixel), side, ply


def shade(across: Array, slope: Array, z: Array, ply: Array, axis: int) -> Array:
    """Brightness [S,S] of a round thread that passes over and under; it lies across `axis`."""
    n_across, n_along = 0.75 * across, 0.45 * slope
    length = np.sqrt(1 + n_across**2 + n_along**2)
    light = (LIGHT[axis] * n_across + LIGHT[1 - axis] * n_along + LIGHT[2]) / length
    hollow = 0.83 + 0.17 * z - 0.08 * across**2
    return (0.42 + 0.88 * np.clip(light, 0, 1)) * hollow * (1 + 0.06 * ply)


def picture(cloth: Cloth, damage: Damage) -> Array:
    """The cloth as it looks, float32 [S,S,3]."""
    view = cloth.view
    x = view.x + cloth.sway_x - damage.pull_x
    y = view.y + cloth.sway_y - damage.pull_y
    in_x, in_y = np.floor(x / PITCH), np.floor(y / PITCH)
    upper = 1.0 - 2.0 * np.mod(in_x + in_y, 2)
    turn_x, turn_y = (x / PITCH - in_x - 0.5) * np.pi, (y / PITCH - in_y - 0.5) * np.pi
    z_warp, z_weft = upper * np.cos(turn_y), -upper * np.cos(turn_x)

    i, warp, warp_side, warp_ply = strands(cloth.warp, x, y, z_warp, cloth.slub, view.pixel)
    j, weft, weft_side, weft_ply = strands(cloth.weft, y, x, z_weft, -cloth.slub, view.pixel)
    warp, weft = warp * damage.warp_left, weft * damage.weft_left
    light_warp = shade(warp_side, upper * np.sin(turn_y), z_warp, warp_ply, 0)
    light_weft = shade(weft_side, -upper * np.sin(turn_x), z_weft, weft_ply, 1)

    over = (upper > 0).astype("f4")
    share_warp = warp * (over + (1 - over) * (1 - weft))
    share_weft = weft * (1 - over * warp)
    share_table = (1 - warp) * (1 - weft)
    image = cloth.warp.colour[i] * (share_warp * light_warp)[..., None]
    image += cloth.weft.colour[j] * (share_weft * light_weft)[..., None]
    image *= (1 + cloth.fuzz)[..., None] * damage.dye
    image += TABLE * (share_table * damage.table)[..., None]
    return image if damage.cover_up is None else damage.cover_up(image)


def somewhere(rng: Generator, reach: float) -> Array:
    """A random place [2] for a defect whose radius is `reach`."""
    return rng.uniform(-1, 1, 2) * (FARTHEST - reach)


def torn(rng: Generator, place: Array, centre: float, radius: float) -> tuple[Array, Array]:
    """For each pixel [S,S]: distance of its thread from `centre`, random length torn off."""
    row = np.clip(np.floor(place / PITCH).astype("i4"), -HALF, HALF - 1)
    uneven = rng.normal(0, 0.13 * radius + 1.0, 2 * HALF)
    return (row + 0.5) * PITCH - centre, uneven[row + HALF]


def hole(rng: Generator, cloth: Cloth) -> Damage:
    """Threads torn at random lengths, with the surrounding cloth pushed outwards."""
    radius = between(rng, 4.5, 17.0)
    centre = somewhere(rng, radius * 1.4 + 12)
    x, y = cloth.view.x - centre[0], cloth.view.y - centre[1]
    distance = np.hypot(x, y)
    push = rng.uniform(0.8, 1.6) * np.exp(-(((distance - radius) / 4.5) ** 2))
    pull_x, pull_y = push * x / (distance + 1), push * y / (distance + 1)
    shape = outline(rng)
    # Each thread is cut about where its centre line meets the outline.
    warp_x, warp_cut = torn(rng, cloth.view.x, centre[0], radius)
    weft_y, weft_cut = torn(rng, cloth.view.y, centre[1], radius)
    warp_left = 1 - cover(blob(shape, warp_x, y, radius) + warp_cut, 2.0)
    weft_left = 1 - cover(blob(shape, x, weft_y, radius) + weft_cut, 2.0)
    # The upper left edge shades the table inside the hole, not the gaps of the cloth around it.
    shadow = (0.9 * ease((x + y + radius) / (3 * radius)) - 0.2) * ease(3 - 1.6 * distance / radius)
    # Some fibres still cross the hole.
    fibres = [wander(rng, rng.uniform(0.8, 1.7) * radius, 0.7) for _ in range(rng.integers(3, 8))]
    starts = centre + rng.normal(0, 0.5 * radius, (len(fibres), 2))

    pixel = cloth.view.pixel

    def fray(image: Array) -> Array:
        for start, fibre in zip(starts, fibres, strict=True):
            side, _ = near_curve(cloth.view, fibre + start, 3)
            alpha = min(0.6, 0.6 / pixel) * cover(0.4 - np.abs(side), pixel)
            image = mix(image, LINEN * 0.8, alpha)
        return image

    return Damage(pull_x, pull_y, warp_left, weft_left, table=1 + shadow, cover_up=fray)


STAINS = (
    ((0.50, 0.33, 0.18), 0.9),  # coffee
    ((0.62, 0.56, 0.42), 0.2),  # oil
    ((0.32, 0.34, 0.55), 0.4),  # ink
    ((0.58, 0.28, 0.28), 0.6),  # wine
)


def stain(rng: Generator, cloth: Cloth) -> Damage:
    """A stain of a liquid; one with more water has a darker edge."""
    colour, rim = STAINS[rng.integers(len(STAINS))]
    radius = between(rng, 8, 32)
    centre = somewhere(rng, radius * 1.5 + 4)
    stretch = rng.uniform(0.75, 1.3)
    x, y = (cloth.view.x - centre[0]) * stretch, (cloth.view.y - centre[1]) / stretch
    # Liquid spreads along the threads: the outline follows them slightly.
    ragged = 1.0 * noise(rng, cloth.view.size, 9) + 0.6 * noise(rng, cloth.view.size, 4)
    inside = blob(outline(rng, 0.3), x, y, radius) + ragged
    body = ease(inside / rng.uniform(4, 9) + 0.3)
    edge = np.exp(-(((inside - 2.5) / 2.2) ** 2))
    strength = rng.uniform(0.42, 0.88) * (1 - 0.35 * rim)
    alpha = strength * np.clip(body * (1 + 0.08 * ragged) + rim * 0.55 * edge * body, 0, 1.3)
    return Damage(dye=1 - np.clip(alpha, 0, 1)[..., None] * (1 - np.asarray(colour, "f4")))


LINT = ((0.16, 0.15, 0.17), (0.45, 0.14, 0.13), (0.93, 0.90, 0.84), (0.66, 0.57, 0.42))


def stray_thread(rng: Generator, cloth: Cloth) -> Damage:
    """A loose piece of yarn on the cloth, with its shadow."""
    length = rng.uniform(35, 130)
    curve = wander(rng, length, rng.uniform(0.4, 1.4))
    curve = curve + somewhere(rng, 0) * np.clip(1 - np.abs(curve).max(axis=0) / FARTHEST, 0, 1)
    radius = rng.uniform(0.8, 1.7)
    colour = np.asarray(LINT[rng.integers(len(LINT))], "f4") * rng.uniform(0.9, 1.05)
    side, along = near_curve(cloth.view, curve, 8)
    below, _ = near_curve(cloth.view, curve + (1.6, 1.9), 8)
    taper = radius * np.clip(np.minimum(along, 1 - along) * 25 + 0.35, 0, 1)
    ply = np.sin(length * along * (2 * np.pi / 4) + 1.5 * side)
    round_ = np.sqrt(np.clip(1 - (side / (taper + 0.3)) ** 2, 0, 1))

    def lie(image: Array) -> Array:
        shadow = 0.45 * ease((radius + 1.6 - np.abs(below)) / 2.6)
        image = image * (1 - shadow)[..., None]
        lit = (0.55 + 0.5 * round_ + 0.07 * ply)[..., None] * colour
        return mix(image, lit, cover(taper - np.abs(side), cloth.view.pixel))

    return Damage(cover_up=lie)


def missing_thread(rng: Generator, cloth: Cloth) -> Damage:
    """A thread that is missing over a length; its neighbours move into the gap."""
    length = rng.uniform(35, 150)
    along_warp = rng.random() < 0.5
    view = cloth.view
    across, along = (view.x, view.y) if along_warp else (view.y, view.x)
    row = rng.integers(-int(FARTHEST / PITCH) + 1, int(FARTHEST / PITCH) - 1)
    middle = (row + 0.5) * PITCH
    start = rng.uniform(-FARTHEST + 6, FARTHEST - 6 - length)
    inside = np.minimum(along - start, start + length - along)
    window = ease(inside / 14 + 0.3)
    off = across - middle
    pull = -rng.uniform(0.9, 1.7) * window * np.tanh(off / 4) * np.exp(-((off / 9) ** 2))
    own = np.floor((across - pull) / PITCH) == row
    left = 1 - own * cover(inside + 0.6 * noise(rng, view.size, 3), 2.5)
    if along_warp:
        return Damage(pull_x=pull, warp_left=left)
    return Damage(pull_y=pull, weft_left=left)


DEFECTS = {
    "hole": hole,
    "missing_thread": missing_thread,
    "stain": stain,
    "stray_thread": stray_thread,
}
