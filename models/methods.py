"""The table of methods: settings, defaults and module of each. Imports neither Paddle nor NumPy.

A method is one module in `models/heads` and one row of METHODS.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from models.backbones import catalogue

LARGEST_EPSILON = 1e12  # of what float32 computes with
GAUSSIANS = ("auto", "joint", "multiscale")
MULTISCALE_GRIDS = 3


def setting(default, help: str, choices: tuple = ()):
    """A field of a method's settings; `help` and `choices` are of its command line option."""
    return field(default=default, metadata={"help": help, "choices": choices})


class Settings:
    """Base of a method's settings: frozen dataclasses, whose fields are made by `setting`."""

    def resolved(self, backbone: str, grids: int) -> "Settings":
        """The settings for `backbone` and maps of `grids` different grids, without auto.

        ValueError if they do not fit.
        """
        return self


@dataclass(frozen=True)
class PaDiMSettings(Settings):
    """Raises ValueError if a value makes no sense.

    epsilon : added to the variances (Defard et al. 2020, section 3.2)
    gaussians : one of GAUSSIANS. joint: one Gaussian per position for all layers, as in the paper.
        multiscale: three Gaussians, see models.heads.padim.views
    """

    epsilon: float = setting(0.01, "regularisation, added to the variances of the features")
    gaussians: str = setting(
        "auto",
        "joint: one Gaussian per position for all layers, as in the paper; multiscale: one each "
        "for the finest layer, for the finer layers together, and for averages over the coarsest "
        "grid; auto: multiscale for an EfficientNet-Lite with three or more grids, else joint",
        GAUSSIANS,
    )

    def __post_init__(self):
        if self.gaussians not in GAUSSIANS:
            raise ValueError(
                f"gaussians {self.gaussians!r}: expected one of {', '.join(GAUSSIANS)}"
            )
        if not 0 < self.epsilon <= LARGEST_EPSILON:
            raise ValueError(
                f"epsilon {self.epsilon}: expected a number above 0, at most {LARGEST_EPSILON:g}"
            )

    def resolved(self, backbone: str, grids: int) -> "PaDiMSettings":
        if self.gaussians == "multiscale" and grids < MULTISCALE_GRIDS:
            raise ValueError(
                f"multiscale needs layers on {MULTISCALE_GRIDS} or more grids, these are on "
                f"{grids}; use joint, or other layers"
            )
        if self.gaussians != "auto":
            return self
        many = backbone in catalogue.LITE and grids >= MULTISCALE_GRIDS
        return replace(self, gaussians="multiscale" if many else "joint")


@dataclass(frozen=True)
class Method:
    """The module of a method's head, and the defaults of the method.

    module, head : the head's class, imported at first use
    settings : subclass of Settings; its fields have defaults
    layers, dims : backbone → default layers, default number of channels (None: all)
    """

    module: str
    head: str
    settings: type[Settings]
    layers: Callable[[str], tuple[str, ...]] = catalogue.default_layers
    dims: Callable[[str], int | None] = catalogue.default_dims

    def head_class(self) -> type:
        return getattr(importlib.import_module(self.module), self.head)


DEFAULT_METHOD = "padim"
METHODS = {"padim": Method("models.heads.padim", "PaDiMHead", PaDiMSettings)}
