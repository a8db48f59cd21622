"""A turned steel flange on a blue mat, seen from above, and its defects."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from demo_set.draw import (
    LIGHT,
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

RIM, BORE = 119.0, 28.0
BOLTS, BOLT_CIRCLE, BOLT, SINK = 6, 82.0, 11.0, 14.5
PIN = 3.6
# Sloping rings: from radius, to radius, slope outwards (negative: inwards).
SLOPES = (
    (BORE, BORE + 4.5, -0.8),
    (47.0, 52.0, 0.7),
    (103.0, 104.6, 0.7),
    (104.6, 106.2, -0.7),
    (RIM - 6.0, RIM + 3.0, 0.85),
)
STEEL = np.array((0.965, 0.985, 1.0), "f4")
MAT = np.array((0.30, 0.40, 0.50), "f4")


@dataclass(frozen=True)
class Part:
    """A flange on its mat: geometry and surface of one piece, arrays [S,S].

    `metal` and `open` are the shares of a pixel within the outline and within a hole, `hole`
    the distance inside the nearest bolt hole, and `to_x`, `to_y` its centre's direction.
    """

    view: View
    radius: Array
    metal: Array
    open: Array
    hole: Array
    to_x: Array
    to_y: Array
    finish: Array
    mat: Array


@dataclass(frozen=True)
class Damage:
    """Changes that a defect makes: metal removed, surfaces lighter, darker or painted.

    Arrays [S,S], colours [S,S,3]; `filling` covers a hole's opening.
    """

    kept: Array | float = 1.0
    gloss: Array | float = 0.0
    paint: Array | float = 0.0
    painted: Array | float = 0.0
    filling: Array | float = 0.0
    filled: Array | float = 0.0


def bolts(view: View) -> tuple[Array, Array, Array]:
    """Offset along x and y from the nearest bolt hole, distance from the nearest dowel hole."""
    angle = np.arctan2(view.y, view.x)
    step = 2 * np.pi / BOLTS
    turn = (np.round(angle / step - 0.5) + 0.5) * step
    off_x, off_y = view.x - BOLT_CIRCLE * np.cos(turn), view.y - BOLT_CIRCLE * np.sin(turn)
    # Two dowel holes, left and right between the bolts, make the part's position unique.
    pin = np.hypot(np.abs(view.x) - BOLT_CIRCLE, view.y)
    return off_x, off_y, pin


def piece(rng: Generator, view: View) -> Part:
    """A new flange: the same geometry with a slightly different surface."""
    size = view.size
    radius = np.hypot(view.x, view.y)
    off_x, off_y, pin = bolts(view)
    distance = np.hypot(off_x, off_y)
    key = np.minimum(5.5 - np.abs(view.x), np.minimum(-view.y, BORE + 9 + view.y))
    bore = np.maximum(BORE - radius, key)
    opened = np.maximum(np.maximum(bore, PIN - pin), BOLT - distance)
    angle = np.arctan2(view.y, view.x)
    return Part(
        view=view,
        radius=radius,
        metal=cover(RIM - radius, view.pixel),
        open=cover(opened, view.pixel),
        hole=BOLT - distance,
        to_x=off_x / (distance + 0.5),
        to_y=off_y / (distance + 0.5),
        finish=cut_marks(rng, radius, angle + view.turn) + handled(rng, size),
        mat=1 + 0.03 * noise(rng, size, 2.5) + 0.02 * noise(rng, size, 40),
    )


def handled(rng: Generator, size: int) -> Array:
    """Brightness [S,S] of haze and dust, which good pieces have too."""
    haze = 0.014 * noise(rng, size, 45) + 0.010 * noise(rng, size, 12)
    dust = np.clip(noise(rng, size, 3) - 2.75, 0, 1) - np.clip(noise(rng, size, 3) - 2.75, 0, 1)
    return haze + 0.13 * dust


def cut_marks(rng: Generator, radius: Array, angle: Array) -> Array:
    """Brightness [S,S] that the lathe's grooves add, more where they reflect the lamp."""
    rings = np.arange(0, 260, 1.3)
    marks = np.interp(radius, rings, rng.normal(0, 0.030, len(rings)))
    marks += np.interp(radius, rings * 6, rng.normal(0, 0.018, len(rings)))
    marks += 0.02 * np.sin(radius * (2 * np.pi / 3.3) + rng.uniform(0, 6.28))
    lamp = rng.normal(-0.85, 0.05)
    window = lamp + 1.25 + rng.normal(0, 0.04)
    glance = 0.5 + 0.5 * np.cos(2 * (angle - lamp))
    second = 0.5 + 0.5 * np.cos(2 * (angle - window))
    sheen = 0.20 * glance**5 + 0.09 * second**9
    return (marks * (0.6 + 1.3 * glance**2) + sheen - 0.04 + rng.normal(0, 0.012)).astype("f4")


def tilt(part: Part) -> tuple[Array, Array]:
    """Slope of the surface [S,S] along x and y, from the rings and the countersinks."""
    slope = np.zeros_like(part.radius)
    for low, high, steep in SLOPES:
        slope += steep * cover(np.minimum(part.radius - low, high - part.radius), 1.2)
    sink = 0.8 * cover(part.hole + SINK - BOLT, 1.2)
    reach = part.radius + 0.5
    tilt_x = slope * part.view.x / reach - sink * part.to_x
    return tilt_x, slope * part.view.y / reach - sink * part.to_y


def ground(part: Part) -> Array:
    """The mat [S,S,3] with the part's shadow, also as seen through its holes."""
    view = part.view
    (near_x, near_y), (far_x, far_y) = view.on_object(5.0, 6.0), view.on_object(7.0, 8.0)
    light_x, light_y = view.on_object(*LIGHT[:2])
    away = np.hypot(view.x - near_x, view.y - near_y)
    shadow = 0.62 * ease((RIM + 9 - away) / 16)
    # Light reaches the bottom of a hole only at the side away from the lamp.
    bore = 0.75 - 0.55 * ease((np.hypot(view.x - far_x, view.y - far_y) - BORE + 7) / 9)
    along = light_x * part.to_x + light_y * part.to_y
    wall = np.clip((BOLT - part.hole) / BOLT, 0, 1)
    deep = 0.20 - 0.34 * along * wall**2
    within = np.where(part.radius < 45, bore, deep)
    light = np.where(part.radius < BOLT_CIRCLE + BOLT + 3, within, 1 - shadow)
    return MAT * (part.mat * np.clip(light, 0.08, 1))[..., None]


def picture(part: Part, damage: Damage) -> Array:
    """The flange as it looks, float32 [S,S,3]."""
    tilt_x, tilt_y = tilt(part)
    light_x, light_y = part.view.on_object(*LIGHT[:2])
    light = (light_x * tilt_x + light_y * tilt_y) / np.sqrt(1 + tilt_x**2 + tilt_y**2)
    flat = 1 - np.clip(np.hypot(tilt_x, tilt_y), 0, 1)
    hub = cover(47.0 - part.radius, 1.5)
    level = 0.56 + 0.05 * hub + part.finish * (0.35 + 0.65 * flat) + 0.48 * light
    level = level + damage.gloss
    steel = STEEL * np.clip(level, 0.05, 1.1)[..., None]
    # Highlights have the lamp's warm colour.
    steel = steel + np.clip(level - 0.72, 0, 1)[..., None] * np.array((0.10, 0.05, -0.02), "f4")
    steel = mix(steel, damage.paint, np.asarray(damage.painted))
    below = mix(ground(part), damage.filling, np.asarray(damage.filled))
    return mix(below, steel, part.metal * damage.kept * (1 - part.open))


def on_ring(rng: Generator, low: float, high: float) -> Array:
    """A random place [2] between two radii, uniform over the area."""
    radius = np.sqrt(rng.uniform(low**2, high**2))
    angle = rng.uniform(0, 2 * np.pi)
    return radius * np.array((np.cos(angle), np.sin(angle)))


def scratch(rng: Generator, part: Part) -> Damage:
    """One to three scratches: a bright burr beside a dark furrow."""
    centre = on_ring(rng, 56, 100)
    length, width = between(rng, 20, 80), rng.uniform(0.55, 1.2)
    strength = between(rng, 0.17, 0.45)
    stroke = wander(rng, length, rng.uniform(0.05, 0.35))
    gloss = np.zeros_like(part.radius)
    for k in range(rng.integers(1, 4)):
        shift = rng.normal(0, 3.0, 2) * (k > 0)
        side, along = near_curve(part.view, within(stroke * 0.8**k + centre + shift), 9)
        press = ease(np.minimum(along, 1 - along) * 5 + 0.1) * (0.55 if k else 1.0)
        burr = np.exp(-((side / width) ** 2))
        furrow = np.exp(-(((side - 1.7 * width) / width) ** 2))
        gloss += strength * press * (burr - 0.75 * furrow)
    return Damage(gloss=gloss)


def within(points: Array) -> Array:
    """A curve [N,2] kept on the part: points beyond the rim move onto it."""
    reach = np.hypot(points[:, 0], points[:, 1])
    return points * np.minimum(1, (RIM - 2) / reach)[:, None]


def chip(rng: Generator, part: Part) -> Damage:
    """A piece broken out of the rim, with a rough grey fracture around it."""
    size = part.view.size
    angle = rng.uniform(0, 2 * np.pi)
    cos, sin = np.cos(angle), np.sin(angle)
    depth, long = between(rng, 1.3, 11.0), rng.uniform(1.2, 2.6)
    out = part.view.x * cos + part.view.y * sin - (RIM + 2.0)
    side = part.view.y * cos - part.view.x * sin
    crumble = 0.8 * noise(rng, size, 5)
    bite = blob(outline(rng, 0.3), out, side / long, depth + 2.0) + crumble
    face = cover(bite + rng.uniform(0.8, 1.8) * depth**0.5 + 0.8 * noise(rng, size, 4), 1.2)
    light_x, light_y = part.view.on_object(*LIGHT[:2])
    lit = 0.42 - 0.16 * (light_x * cos + light_y * sin)
    grit = lit * (1 + 0.16 * noise(rng, size, 3) + 0.10 * noise(rng, size, 6))
    return Damage(
        kept=1 - cover(bite, part.view.pixel * 1.2),
        paint=grit[..., None] * np.array((1.0, 0.99, 0.97), "f4"),
        painted=face,
    )


def blocked_hole(rng: Generator, part: Part) -> Damage:
    """A bolt hole filled with chips and dried coolant, wholly or in part."""
    size = part.view.size
    turn = (rng.integers(BOLTS) + 0.5) * 2 * np.pi / BOLTS
    x = part.view.x - BOLT_CIRCLE * np.cos(turn)
    y = part.view.y - BOLT_CIRCLE * np.sin(turn)
    lean = on_ring(rng, 0.0, 9.0)
    lump = blob(outline(rng, 0.25), x - lean[0], y - lean[1], between(rng, 3.5, 14.0))
    lump = np.minimum(lump + 0.7 * noise(rng, size, 4), BOLT + 1.5 - np.hypot(x, y))
    height = noise(rng, size, 4) + 0.7 * noise(rng, size, 2.2)
    relief = LIGHT[0] * np.gradient(height, axis=1) + LIGHT[1] * np.gradient(height, axis=0)
    level = 0.9 + 0.10 * height + 0.30 * np.clip(relief / part.view.pixel, -1.5, 2)
    level *= 0.45 + 0.55 * ease(lump / 4)
    hue = np.array(((0.34, 0.30, 0.25), (0.46, 0.46, 0.45), (0.40, 0.30, 0.20)), "f4")
    return Damage(
        filling=level[..., None] * hue[rng.integers(3)],
        filled=cover(lump, 1.6) * rng.uniform(0.5, 1.0),
    )


def rust(rng: Generator, part: Part) -> Damage:
    """A patch of corrosion: orange haze, brown cores, ragged outline."""
    size = part.view.size
    centre = on_ring(rng, 52, 104)
    radius = between(rng, 4.5, 26)
    x, y = part.view.x - centre[0], part.view.y - centre[1]
    grain = 0.6 * noise(rng, size, 3) + 0.8 * noise(rng, size, 7)
    inside = blob(outline(rng, 0.4), x, y, radius) / radius
    haze = ease(1.4 * inside + 0.30 * grain)
    haze *= ease(2.5 * inside + 0.9)
    core = ease(1.6 * inside + 0.55 * grain - 0.55)
    orange = np.array((0.62, 0.35, 0.15), "f4") * (1 + 0.12 * grain)[..., None]
    brown = np.array((0.33, 0.18, 0.11), "f4") * (1 + 0.10 * grain)[..., None]
    return Damage(paint=mix(orange, brown, core), painted=between(rng, 0.24, 0.95) * haze)


DEFECTS = {"blocked_hole": blocked_hole, "chip": chip, "rust": rust, "scratch": scratch}
