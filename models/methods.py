"""The table of methods: settings, defaults and module of each. Imports neither Paddle nor NumPy.

A method is one module in `models/heads` and one row of METHODS.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field

from models.backbones import catalogue

LARGEST_EPSILON = 1e12  # of what float32 computes with


def setting(default, help: str):
    """A field of a method's settings; `help` is the help text of its command line option."""
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class PaDiMSettings:
    """Raises ValueError if a value makes no sense.

    epsilon : added to the variances (Defard et al. 2020, section 3.2)
    """

    epsilon: float = setting(0.01, "regularisation, added to the variances of the features")

    def __post_init__(self):
        if not 0 < self.epsilon <= LARGEST_EPSILON:
            raise ValueError(
                f"epsilon {self.epsilon}: expected a number above 0, at most {LARGEST_EPSILON:g}"
            )


@dataclass(frozen=True)
class Method:
    """The module of a method's head, and the defaults of the method.

    module, head : the head's class, imported at first use
    settings : frozen dataclass; its fields have defaults and are made by `setting`
    layers, dims : backbone → default layers, default number of channels (None: all)
    """

    module: str
    head: str
    settings: type
    layers: Callable[[str], tuple[str, ...]] = catalogue.default_layers
    dims: Callable[[str], int | None] = catalogue.default_dims

    def head_class(self) -> type:
        return getattr(importlib.import_module(self.module), self.head)


DEFAULT_METHOD = "padim"
METHODS = {"padim": Method("models.heads.padim", "PaDiMHead", PaDiMSettings)}
