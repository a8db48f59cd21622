"""Whether two models compute the same features and learn in the same way."""

import dataclasses
from typing import Any

from models.record import Record


def difference(ours: Record, theirs: Record) -> tuple[str, Any, Any] | None:
    """The name and both values of something that differs, so that what one learned is of no use to
    the other; None if nothing does. Category, pictures and calibration may differ."""
    first, second = _described(ours), _described(theirs)
    for name in first | second:
        if first.get(name) != second.get(name):
            return name, first.get(name), second.get(name)
    return None


def _described(record: Record) -> dict:
    """What must be equal, by the names of options."""
    features = record.features
    of_features = ("layers", "variant", "reduction", "dims", "seed", "patch_size")
    return {
        "method": record.method,
        "backbone": features.backbone,
        "weights": features.weights.sha256,
        **{name: getattr(features, name) for name in of_features},
        **dataclasses.asdict(record.preprocessing),
        "stages": features.stages,
        "sigma": record.sigma,
        "roi": record.roi,
        **dataclasses.asdict(record.settings),
    }
