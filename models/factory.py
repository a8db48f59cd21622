"""Plans and builds new detectors. Imports Paddle only when a function needs it."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from common.errors import UsageError
from common.options import folder_name
from common.preprocessing import Preprocessing
from models import runtime
from models.backbones import catalogue, sources
from models.backbones.shapes import expected_stages
from models.detector import Detector
from models.engine import Engine
from models.memory import require_memory
from models.methods import DEFAULT_METHOD, METHODS
from models.record import (
    DEFAULT_CATEGORY,
    LARGEST_NUMBER,
    LARGEST_SIGMA,
    FeatureRecord,
    Record,
    Variant,
    Weights,
)
from models.roi import Roi

logger = logging.getLogger(__name__)

SEED = 7  # default seed of the random choice of channels


@dataclass(frozen=True)
class Plan:
    """A detector to be built. Made by `plan`.

    All defaults are filled in, except that `settings` may contain auto.
    """

    method: str
    settings: Any
    backbone: str
    pretrained_backbone: str | None
    layers: tuple[str, ...]
    dims: int
    reduction: str
    seed: int | None
    patch_size: int
    preprocessing: Preprocessing
    sigma: float
    category: str


def plan(
    method: str = DEFAULT_METHOD,
    settings: Any = None,
    backbone: str | None = None,
    pretrained_backbone: str | None = None,
    layers: Sequence[str] | None = None,
    dims: int | None = None,
    reduction: str | None = None,
    seed: int | None = None,
    patch_size: int | None = None,
    preprocessing: Preprocessing | None = None,
    sigma: float = 4.0,
    category: str = DEFAULT_CATEGORY,
    batch_size: int = 32,
    pictures: int = 0,
) -> Plan:
    """Settings of a detector to be built. None means the default.

    Parameters
    ----------
    method : one of models.methods.METHODS, with its `settings`
    backbone : one of catalogue.BACKBONES; None: the one that `pretrained_backbone` fits, or
        catalogue.DEFAULT
    pretrained_backbone : weights: a file, auto (None), embedded or random
    layers : layers that form the features; `reduction` (catalogue.REDUCTIONS) reduces their
        channels to `dims`, with the random `seed`
    patch_size : each map is averaged over so many × so many positions
    preprocessing : its mean and deviation are replaced by those of the weights
    sigma : of the smoothing of the anomaly map, in pixels
    batch_size, pictures : in training, per batch and in all, for the check of memory

    Raises UsageError if the parameters contradict each other, or need too much memory.
    """
    backbone = backbone or sources.backbone_of(pretrained_backbone)
    _require_known(method, backbone, layers, category, sigma, seed)
    row = METHODS[method]
    patch_size = row.patch_size(backbone) if patch_size is None else patch_size
    settings = row.settings() if settings is None else settings
    preprocessing = preprocessing or Preprocessing()
    layers = row.layers(backbone) if layers is None else tuple(layers)
    total = sum(catalogue.channels(backbone, layer) for layer in layers)
    dims, reduction = _reduced(row.dims(backbone), total, dims, reduction)
    mean, std = sources.normalization(backbone, pretrained_backbone)
    preprocessing = replace(preprocessing, mean=mean, std=std)
    if patch_size not in catalogue.PATCH_SIZES:
        expected = ", ".join(map(str, catalogue.PATCH_SIZES))
        raise UsageError(f"{patch_size}: expected one of {expected}", "patch_size")
    seed, size = _drawn_by(seed, reduction), preprocessing.crop
    stages = expected_stages(backbone, layers, dims, reduction == "semi_orthogonal", size)
    resolved = _resolved(settings, backbone, stages)
    require_memory(method, resolved, backbone, layers, stages, size, batch_size, pictures)
    weights = (backbone, pretrained_backbone)
    return Plan(
        *(method, settings, *weights, layers, dims, reduction, seed),
        *(patch_size, preprocessing, sigma, category),
    )


def announcement(planned: Plan, pictures: int) -> str | None:
    """What to say before `planned` learns from so many pictures: one line, if that takes long.

    It names settings. The head estimates the time by a short measurement on this machine.
    """
    head, size = METHODS[planned.method].head_class(), planned.preprocessing.crop
    if not hasattr(head, "announcement"):
        return None
    projected = planned.reduction == "semi_orthogonal"
    stages = expected_stages(planned.backbone, planned.layers, planned.dims, projected, size)
    return head.announcement(
        _resolved(planned.settings, planned.backbone, stages), stages, pictures
    )


def build_detector(
    planned: Plan | None = None,
    engine: Engine | None = None,
    roi: np.ndarray | None = None,
    **settings,
) -> Detector:
    """A Detector that is not fitted yet, from `planned` or from `settings` for `plan`.

    `roi`: region of interest, bool [H,W] of the network's input; outside it nothing scores.

    UsageError if this machine does not support `engine`, WorkError if weights cannot be used.
    """
    planned = plan(**settings) if planned is None else planned
    runtime.prepare()
    engine = (engine or Engine()).resolve()  # report errors before a download
    from models import features as reductions
    from models.backbones import network

    backbone, size = planned.backbone, planned.preprocessing.crop
    found = sources.find(backbone, planned.pretrained_backbone)
    net = network.build(backbone, planned.layers, size, found.variant)
    network.set_weights(net, found.state)
    drawn = planned.reduction, planned.dims, planned.seed
    reducing = reductions.draw(drawn[0], net.stage_channels, *drawn[1:])
    features = reductions.Features(net, reducing, size, engine, planned.patch_size)
    weights = Weights(found.name, found.sha256, found.origin)
    variant = Variant(**found.variant) if found.variant else None
    described = FeatureRecord(
        *(backbone, planned.layers, variant, weights, *drawn, planned.patch_size),
        tuple(features.stages),
    )
    # A random choice of few channels may omit a layer that `plan` expects.
    settings = _resolved(planned.settings, backbone, features.stages)
    head = METHODS[planned.method].head_class()(settings, features.stages)
    more = planned.preprocessing, planned.sigma, planned.category
    record = Record(planned.method, settings, described, *more, roi=roi is not None)
    roi = None if roi is None else Roi(roi)
    return Detector(features, head, record, roi=roi, device=engine.device)


def _require_known(method, backbone, layers, category, sigma, seed) -> None:
    """UsageError if a value is not one of the known ones."""
    if method not in METHODS:
        raise UsageError(f"{method!r}: expected one of {', '.join(METHODS)}", "method")
    if backbone not in catalogue.BACKBONES:
        expected = ", ".join(catalogue.BACKBONES)
        raise UsageError(f"{backbone!r}: expected one of {expected}", "backbone")
    known = catalogue.all_layers(backbone)
    if layers is not None and (not layers or list(layers) != [n for n in known if n in layers]):
        raise UsageError(f"{list(layers)}: expected layers of {backbone} in their order", "layers")
    try:
        folder_name(category)
    except ValueError as error:
        raise UsageError(f"category {category!r}: {error}; rename the folder") from error
    if not 0 < sigma <= LARGEST_SIGMA:
        raise UsageError(f"{sigma}: expected a number from 0 to {LARGEST_SIGMA}", "sigma")
    if seed is not None and not 0 <= seed < LARGEST_NUMBER:
        raise UsageError(f"{seed}: expected a whole number from 0 to 2^63 - 1", "seed")


def _reduced(
    default: int | None, total: int, dims: int | None, reduction: str | None
) -> tuple[int, str]:
    """The number of channels to keep of `total`, and the reduction: `none` if all are kept."""
    if reduction == "none":
        if dims not in (None, total):
            raise UsageError(
                f"none keeps all {total} channels, but dims is {dims}; omit dims", "reduction"
            )
        return total, "none"
    if dims is not None and dims > total:
        logger.warning("dims %d: these layers have only %d channels; all are kept", dims, total)
    dims = min((default or total) if dims is None else dims, total)
    if reduction in (None, "random"):
        reduction = "none" if dims == total else "random"
    return dims, reduction


def _resolved(settings, backbone: str, stages) -> Any:
    """The settings without auto; UsageError if they do not fit the maps."""
    try:
        return settings.resolved(backbone, len({grid for _, grid in stages}))
    except ValueError as error:
        raise UsageError(str(error)) from error


def _drawn_by(seed: int | None, reduction: str) -> int | None:
    """The seed of the random choice; None if all channels are kept."""
    if reduction != "none":
        return SEED if seed is None else seed
    if seed is not None:
        logger.info("seed %d does not change the features: all channels are kept", seed)
    return None
