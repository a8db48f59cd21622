"""From a judgement to JSON."""

import base64
import io
from dataclasses import asdict, dataclass

import msgspec
import numpy as np
from PIL import Image

from common.calibration import Rule
from inspection import Judgement
from service.models import Model
from service.refusals import RefusedRequestError

FAST = 1  # zlib level of PNG


@dataclass(frozen=True)
class Wanted:
    """What a request asks for.

    fpr : false-alarm rate instead of the service's, or None
    map : none, png or npy
    min_area : instead of the service's, or None
    """

    fpr: float | None
    map: str
    mask: bool
    min_area: int | None

    def rule(self, model: Model) -> Rule:
        """Raises RefusedRequestError if the model cannot promise a rate."""
        if self.fpr is None:
            return model.inspector.rule
        if model.record.calibration.normal is None:
            raise RefusedRequestError(
                422, "fpr: this model has no scores of good pictures; leave fpr out"
            )
        return model.record.calibration.rule(self.fpr, "fpr")

    def takes_long(self, judgement: Judgement) -> bool:
        """Whether `described` takes more than some microseconds."""
        return self.map != "none" or self.mask or judgement.verdict == "defective"


def described(judgement: Judgement, name: str | None, wanted: Wanted) -> dict:
    """One picture of the answer, as the API describes it (service.schema.Picture)."""
    found = {
        "name": name,
        "score": judgement.score,
        "verdict": judgement.verdict,
        "p_value": judgement.p_value,
        "normalised": judgement.normalised,
        "regions": [],
        "width": judgement.size[0],
        "height": judgement.size[1],
        "warnings": judgement.warnings,
    }
    if judgement.verdict == "defective":
        found["regions"] = [asdict(region) for region in judgement.regions]
    if wanted.map == "npy":
        file = io.BytesIO()
        np.save(file, judgement.map.astype(np.float32, copy=False))
        found["map"] = _text(file.getvalue())
    if wanted.map == "png":
        found["map"] = _text(_png(judgement.heat_map))
    if wanted.mask:
        found["mask"] = _text(_png(judgement.mask))
    return found


def answer(model: Model, rule: Rule, pictures: list[dict]) -> bytes:
    """The JSON of service.schema.Inspection."""
    return msgspec.json.encode(
        {
            "category": model.record.category,
            "model": model.version,
            **described_rule(rule),
            "pictures": pictures,
        }
    )


def described_rule(rule: Rule) -> dict:
    return {
        "threshold": rule.threshold,
        "threshold_from": rule.origin,
        "fpr": rule.fpr,
        "extrapolated": rule.extrapolated,
    }


def described_model(model: Model) -> dict:
    """One entry of `GET /v1/models` (service.schema.ServedModel)."""
    record, normal = model.record, model.record.calibration.normal
    return {
        "category": record.category,
        "model": model.version,
        "loaded": model.loaded,
        "method": record.method,
        "backbone": record.features.backbone,
        "training_pictures": record.pictures,
        "size": list(record.size),
        **described_rule(model.inspector.rule),
        "smallest_fpr": None if normal is None else normal.smallest_fpr,
    }


def _png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=FAST)
    return file.getvalue()


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
