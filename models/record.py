"""What a model's file says beside its arrays: typed, frozen, checked field by field.

A record travels as JSON. `decode` takes JSON from anywhere; what it returns has the right types,
sane values, and sizes that fit each other.
"""

import dataclasses
import math
import re
from dataclasses import dataclass, field
from typing import Any

import msgspec

from common.calibration import Calibration
from common.errors import shortened
from common.options import folder_name
from common.preprocessing import Preprocessing
from models.backbones import catalogue
from models.methods import METHODS

DEFAULT_CATEGORY = "custom"
LONGEST = 1000  # characters of a text in a record
LARGEST_RECORD = 2**20  # bytes of JSON
LARGEST_SIGMA = 100.0  # pixels
LARGEST_NUMBER = 2**63


class RecordError(ValueError):
    """JSON that is no record; the text says which field is wrong."""


@dataclass(frozen=True)
class Weights:
    """Which file the backbone's weights came from."""

    name: str
    sha256: str
    origin: str

    def __post_init__(self):
        for text in (self.name, self.sha256, self.origin):
            _require(len(text) <= LONGEST, "weights: a text of more than 1000 characters")


@dataclass(frozen=True)
class Variant:
    """What the library of the weights does differently; see backbones.names.variant_of."""

    padding: str
    epsilon: float

    def __post_init__(self):
        _require(self.padding in catalogue.PADDINGS, f"padding {self.padding!r}")
        _require(0 < self.epsilon < 1, f"epsilon {self.epsilon} of the batch norms")


@dataclass(frozen=True)
class FeatureRecord:
    """The network, the layers used, and how their channels are reduced to `dims`.

    stages : channels and grid of each map, finest first
    seed : of the reduction's draw, None where nothing is drawn
    """

    backbone: str
    layers: tuple[str, ...]
    variant: Variant | None
    weights: Weights
    reduction: str
    dims: int
    seed: int | None
    stages: tuple[tuple[int, tuple[int, int]], ...]

    def __post_init__(self):
        _require(self.backbone in catalogue.BACKBONES, f"backbone {self.backbone[:80]!r}")
        known = catalogue.all_layers(self.backbone)
        used = [name for name in known if name in self.layers]
        _require(bool(used) and list(self.layers) == used, "layers: not those of the backbone")
        _require(self.reduction in catalogue.REDUCTIONS, f"reduction {self.reduction[:80]!r}")
        total = sum(catalogue.channels(self.backbone, layer) for layer in self.layers)
        _require(1 <= self.dims <= total, f"dims {self.dims}: not 1 to {total}")
        _require(self.seed is None or 0 <= self.seed < LARGEST_NUMBER, f"seed {self.seed}")
        _require(sum(c for c, _ in self.stages) == self.dims, "stages: channels are not dims")
        _require(len(self.stages) <= len(self.layers), "stages: more than layers")
        before = (math.inf, math.inf)
        for channels, grid in self.stages:
            _require(channels >= 1, f"stages: {channels} channels")
            fits = all(1 <= n <= m for n, m in zip(grid, before, strict=True))
            _require(fits, f"stages: grid {grid} after {before}")
            before = grid


@dataclass(frozen=True)
class ExportedGraph:
    """A graph and its parameters (None: they are in the graph's file), by their SHA-256."""

    model: str
    params: str | None
    fused: bool
    int8: bool

    def __post_init__(self):
        for digest in (self.model, self.params):
            _require(digest is None or _is_sha256(digest), "graphs: not a SHA-256")


@dataclass(frozen=True)
class Exported:
    """The graphs that belong to a distribution, and their answers to the probe picture."""

    graphs: tuple[ExportedGraph, ...]
    probe_embedding: tuple[float, ...]
    probe_map: tuple[float, ...]

    def __post_init__(self):
        for values in (self.probe_embedding, self.probe_map):
            _require(all(map(math.isfinite, values)), "probe: not finite")
            _require(any(values), "probe: zeros only")


@dataclass(frozen=True)
class Record:
    """Everything that scoring needs beside arrays. Raises ValueError where a value cannot be meant.

    settings : of the method, as it used them (models.methods)
    sigma : of the anomaly map's smoothing, in pixels
    pictures : number of pictures learned from
    unit : a usual patch score of a good picture; colours begin near it
    arrays_sha256 : of the arrays in the same file (checkpoint.arrays_digest); empty before saving
    exported : of a distribution, else None
    """

    method: str
    settings: Any
    features: FeatureRecord
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    sigma: float = 4.0
    category: str = DEFAULT_CATEGORY
    pictures: int = 0
    unit: float = 1.0
    calibration: Calibration | None = None
    arrays_sha256: str = ""
    exported: Exported | None = None

    def __post_init__(self):
        folder_name(self.category)
        _require(0 < self.sigma <= LARGEST_SIGMA, f"sigma {self.sigma}: not 0 to {LARGEST_SIGMA}")
        _require(0 <= self.pictures < LARGEST_NUMBER, f"pictures {self.pictures}")
        _require(math.isfinite(self.unit) and self.unit > 0, f"unit {self.unit}")
        grid, crop = self.features.stages[0][1], self.size
        _require(all(n <= m for n, m in zip(grid, crop, strict=True)), "stages: beyond the crop")

    @property
    def size(self) -> tuple[int, int]:
        """(H,W) of the pictures that the network is given."""
        return self.preprocessing.crop

    def weights_line(self) -> str:
        """Which weights the model has, in one line."""
        found, backbone = self.features.weights, self.features.backbone
        return f"weights: {found.name} of {backbone} ({found.origin}), SHA-256 {found.sha256}"

    def summary(self) -> dict:
        """What metrics.json says of the model."""
        features = dataclasses.asdict(self.features)
        del features["stages"]
        return {
            "method": self.method,
            **dataclasses.asdict(self.settings),
            **features,
            "n": self.pictures,
            "image_size": list(self.size),
        }


def encode(record: Record, format: str, version: int) -> str:
    """JSON of `record`; ValueError where it is not complete, or not what `decode` would take."""
    known = {"format": format, "version": version}
    text = msgspec.json.encode({**known, **msgspec.to_builtins(record)}).decode()
    decode(text)
    return text


def header(text: str) -> tuple[Any, Any]:
    """`format` and `version` of a record's JSON; RecordError where it has none."""
    data = _json(text)
    if not isinstance(data, dict) or "format" not in data:
        raise RecordError("no record")
    return data["format"], data.get("version")


def decode(text: str) -> Record:
    """The record of `text`; RecordError where a field is missing, of a wrong type or absurd."""
    data = _json(text)
    if not isinstance(data, dict):
        raise RecordError("no record")
    try:
        name = data["method"]
        if not isinstance(name, str) or name not in METHODS:
            raise RecordError(f"method {str(name)[:80]!r}: known are {', '.join(METHODS)}")
        settings = msgspec.convert(data["settings"], METHODS[name].settings)
        record = dataclasses.replace(msgspec.convert(data, Record), settings=settings)
        _require_all(dataclasses.asdict(record), data)
        _require(record.pictures >= 1, "pictures: the model has not learned from any")
        _require(_is_sha256(record.arrays_sha256), "arrays_sha256: not a SHA-256")
        return record
    except KeyError as error:
        raise RecordError(f"{error.args[0]} is missing") from error
    except RecordError:
        raise
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise RecordError(shortened(str(error), 200)) from error


def _require_all(expected: dict, found: dict, before: str = "") -> None:
    """RecordError where `found` lacks a field of `expected`: defaults are for new records only."""
    for key, value in expected.items():
        _require(key in found, f"{before}{key} is missing")
        if isinstance(value, dict):
            _require_all(value, found[key], f"{before}{key}.")


def _json(text: str):
    if len(text) > LARGEST_RECORD:
        raise RecordError(f"{len(text)} characters of JSON are too many")
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise RecordError(f"not valid JSON ({error})") from error


def _require(condition: bool, problem: str) -> None:
    if not condition:
        raise RecordError(problem)


def _is_sha256(text: str) -> bool:
    return re.fullmatch("[0-9a-f]{64}", text) is not None
