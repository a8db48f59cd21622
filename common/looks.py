"""What pictures look like: size, contrast and brightness. Imports only the standard library.

A model keeps the range that its training pictures have. A picture far outside it may get a verdict
that means nothing: a white or grey picture has no part in it, and of a picture of another shape
another part is looked at.
"""

import math
from dataclasses import dataclass, fields

LARGER = 2.0  # times the largest, or half of the smallest, shorter side or contrast is unlike
LONGER = 1.05  # the same of the aspect ratio
BRIGHTER = 40.0  # grey levels above or below the range are unlike

Range = tuple[float, float]


@dataclass(frozen=True)
class Look:
    """
    size : (width, height) of the upright picture
    contrast, brightness : deviation and mean of the grey levels of the crop, 0 to 255
    """

    size: tuple[int, int]
    contrast: float
    brightness: float

    @property
    def aspect(self) -> float:
        return self.size[0] / self.size[1]


@dataclass(frozen=True)
class Looks:
    """The smallest and the largest value of several pictures. `aspect`: width / height."""

    width: tuple[int, int]
    height: tuple[int, int]
    side: tuple[int, int]
    aspect: Range
    contrast: Range
    brightness: Range

    def __post_init__(self):
        for field in fields(self):
            low, high = getattr(self, field.name)
            if not (0 <= low <= high and math.isfinite(high)):
                raise ValueError(f"looks: {field.name} {low} to {high}: expected ascending numbers")

    @classmethod
    def of(cls, look: Look) -> "Looks":
        """Of one picture."""
        width, height = look.size
        values = width, height, min(look.size), look.aspect, look.contrast, look.brightness
        return cls(*((value, value) for value in values))

    def __or__(self, other: "Looks") -> "Looks":
        """Of the pictures of both."""
        pairs = ((getattr(self, f.name), getattr(other, f.name)) for f in fields(self))
        return Looks(*((min(a[0], b[0]), max(a[1], b[1])) for a, b in pairs))

    def unlike(self, look: Look) -> dict[str, str]:
        """In what `look` is unlike these pictures: kind → text; empty if in nothing."""
        found = {}
        low, high = self.side
        if not low / LARGER <= min(look.size) <= high * LARGER:
            usual = _span("{:.0f}×{:.0f}", *zip(self.width, self.height, strict=True))
            found["size"] = f"size {look.size[0]}×{look.size[1]}; training pictures have {usual}"
        low, high = self.aspect
        if not low / LONGER <= look.aspect <= high * LONGER:
            usual = _span("{:.2f}", (low,), (high,))
            found["aspect ratio"] = (
                f"aspect ratio {look.aspect:.2f}; training pictures have {usual}"
            )
        low, high = self.contrast
        if not low / LARGER <= look.contrast <= high * LARGER:
            usual = _span("{:.1f}", (low,), (high,))
            found["contrast"] = f"contrast {look.contrast:.1f}; training pictures have {usual}"
        low, high = self.brightness
        if not low - BRIGHTER <= look.brightness <= high + BRIGHTER:
            usual = _span("{:.0f}", (low,), (high,))
            shown = f"{look.brightness:.0f}"
            found["brightness"] = f"brightness {shown}; training pictures have {usual}"
        return found


def _span(form: str, low: tuple, high: tuple) -> str:
    ends = [form.format(*end) for end in (low, high)]
    return ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"
