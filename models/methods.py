"""The table of methods: settings, defaults and module of each. Imports neither Paddle nor NumPy.

A method is one module in `models/heads` and one row of METHODS.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from models.backbones import catalogue

LARGEST_EPSILON = 1e12  # of what float32 computes with
EPSILON = 0.01  # Defard et al. 2020, for features of a residual network
# The features of an EfficientNet-Lite have 10 to 100 times the variance (docs/backbones.md).
LITE_EPSILON = 0.5
# Of an EfficientNet-Lite; docs/methods.md has the measurements.
MIDDLE_BLOCKS = (("last", 2), ("first", 4))
CORESET_RATIO = 0.1  # Roth et al. 2022, section 4.2: as accurate as all patches
GAUSSIANS = ("auto", "joint", "multiscale")
MULTISCALE_GRIDS = 3
LARGEST_GALLERY = 10_000
LARGEST_KAPPA = 1000
SEARCHES = ("exact", "approximate")
IMAGE_SCORES = ("pooled", "maximum")


def setting(default, help: str, choices: tuple = (), kind: type | None = None):
    """A field of a method's settings.

    `help`, which also says what a default None means, `choices` and `kind` (if it is not the type
    of `default`) are of its command line option.
    """
    kind = kind or type(default)
    return field(default=default, metadata={"help": help, "choices": choices, "kind": kind})


class Settings:
    """Base of a method's settings: frozen dataclasses, whose fields are made by `setting`."""

    def resolved(self, backbone: str, grids: int) -> "Settings":
        """The settings for `backbone` and maps of `grids` different grids, without auto and None.

        ValueError if they do not fit.
        """
        return self


@dataclass(frozen=True)
class PaDiMSettings(Settings):
    """Raises ValueError if a value makes no sense.

    epsilon : added to the variances (Defard et al. 2020, section 3.2); None: by the backbone
    gaussians : one of GAUSSIANS. joint: one Gaussian per position for all layers, as in the paper.
        multiscale: three Gaussians, see models.heads.padim.views
    """

    epsilon: float | None = setting(
        None,
        f"regularisation, added to the variances of the features; default: {LITE_EPSILON} for an "
        f"EfficientNet-Lite, else {EPSILON}",
        kind=float,
    )
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
        if self.epsilon is not None and not 0 < self.epsilon <= LARGEST_EPSILON:
            raise ValueError(
                f"epsilon {self.epsilon}: expected a number above 0, at most {LARGEST_EPSILON:g}"
            )

    def resolved(self, backbone: str, grids: int) -> "PaDiMSettings":
        if self.gaussians == "multiscale" and grids < MULTISCALE_GRIDS:
            raise ValueError(
                f"gaussians: multiscale needs layers on {MULTISCALE_GRIDS} or more grids, but "
                f"these are on {grids}; use joint, or other layers"
            )
        lite, epsilon, gaussians = backbone in catalogue.LITE, self.epsilon, self.gaussians
        if epsilon is None:
            epsilon = LITE_EPSILON if lite else EPSILON
        if gaussians == "auto":
            gaussians = "multiscale" if lite and grids >= MULTISCALE_GRIDS else "joint"
        return replace(self, epsilon=epsilon, gaussians=gaussians)


@dataclass(frozen=True)
class PatchCoreSettings(Settings):
    """Raises ValueError if a value makes no sense.

    coreset_ratio : share of the training patches that the bank keeps
    search : one of SEARCHES, for the nearest entry of the bank
    """

    coreset_ratio: float = setting(
        CORESET_RATIO, "share of the training patches that are kept, above 0 and at most 1"
    )
    search: str = setting(
        "exact",
        "of the nearest patch of the bank: exact; approximate is faster, but can find one that is "
        "slightly farther",
        SEARCHES,
    )

    def __post_init__(self):
        if self.search not in SEARCHES:
            raise ValueError(f"search {self.search!r}: expected one of {', '.join(SEARCHES)}")
        if not 0 < self.coreset_ratio <= 1:
            raise ValueError(
                f"coreset_ratio {self.coreset_ratio}: expected a number above 0, at most 1"
            )


def middle_layers(backbone: str) -> tuple[str, ...]:
    """Layers at 1/8 and 1/16 of the picture's side (Roth et al. 2022, section 4.2)."""
    if backbone in catalogue.RESIDUAL:
        return catalogue.RESIDUAL_LAYERS[1:3]
    if backbone not in catalogue.LITE:
        return catalogue.preset(backbone, "last", (2, 4))
    fine, deep = (catalogue.preset(backbone, which, (stage,)) for which, stage in MIDDLE_BLOCKS)
    return fine + deep


def middle_average(backbone: str) -> int:
    """3, as in the paper; 1 for an EfficientNet-Lite, where it blurs small defects."""
    return 1 if backbone in catalogue.LITE else 3


@dataclass(frozen=True)
class SPADESettings(Settings):
    """Raises ValueError if a value makes no sense.

    gallery : K, number of training pictures that a picture is compared with
    kappa : κ, number of nearest patches of these pictures whose distances are averaged
    image_score : one of IMAGE_SCORES. pooled: distance to the gallery's pictures, as in the paper.
        maximum: the maximum of the anomaly map
    """

    gallery: int = setting(
        50,
        "number of training pictures that a picture is compared with: those most similar to it, "
        "or all if there are fewer",
    )
    kappa: int = setting(1, "number of nearest patches of the gallery that a patch score averages")
    image_score: str = setting(
        "pooled",
        "pooled: mean squared distance of the pooled features to those of the gallery, as in the "
        "paper; maximum: of the anomaly map, which finds small defects",
        IMAGE_SCORES,
    )

    def __post_init__(self):
        if self.image_score not in IMAGE_SCORES:
            raise ValueError(
                f"image_score {self.image_score!r}: expected one of {', '.join(IMAGE_SCORES)}"
            )
        for name, largest in (("gallery", LARGEST_GALLERY), ("kappa", LARGEST_KAPPA)):
            value = getattr(self, name)
            if not 1 <= value <= largest:
                raise ValueError(f"{name} {value}: expected a whole number from 1 to {largest}")


def all_channels(backbone: str) -> None:
    """All channels are kept by default."""


@dataclass(frozen=True)
class Method:
    """The module of a method's head, and the defaults of the method.

    module, head : the head's class, imported at first use
    settings : subclass of Settings; its fields have defaults
    layers, dims : backbone → default layers, default number of channels (None: all)
    patch_size : backbone → default side of the neighbourhood that each map is averaged over
    smaller : settings of the method that make a model smaller, for the message of one too large
    """

    module: str
    head: str
    settings: type[Settings]
    layers: Callable[[str], tuple[str, ...]] = catalogue.default_layers
    dims: Callable[[str], int | None] = catalogue.default_dims
    patch_size: Callable[[str], int] = lambda backbone: 1
    smaller: tuple[str, ...] = ()

    def head_class(self) -> type:
        return getattr(importlib.import_module(self.module), self.head)


DEFAULT_METHOD = "padim"
METHODS = {
    "padim": Method("models.heads.padim", "PaDiMHead", PaDiMSettings),
    "patchcore": Method(
        "models.heads.patchcore",
        "PatchCoreHead",
        PatchCoreSettings,
        layers=middle_layers,
        dims=all_channels,
        patch_size=middle_average,
        smaller=("coreset_ratio",),
    ),
    "spade": Method(
        "models.heads.spade",
        "SPADEHead",
        SPADESettings,
        layers=catalogue.default_layers_and_last,
        dims=all_channels,
    ),
}
