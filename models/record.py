"""The record of a model file: everything except the arrays; typed, frozen and checked.

A record is stored as JSON. `decode` accepts untrusted JSON; the record that it returns has correct
types, sensible values, and sizes that match.
"""

import dataclasses
import math
import re
from dataclasses import dataclass, field
from typing import Any

import msgspec

from common.calibration import Calibration
from common.errors import shortened
from common.looks import Looks
from common.options import folder_name
from common.preprocessing import Preprocessing
from models.backbones import catalogue
from models.methods import METHODS

DEFAULT_CATEGORY = "custom"
LONGEST = 1000  # characters of a text field
LARGEST_RECORD = 2**20  # bytes of JSON
LARGEST_SIGMA = 100.0  # pixels
LARGEST_NUMBER = 2**63


class RecordError(ValueError):
    """JSON that is not a valid record; the message names the wrong field."""


@dataclass(frozen=True)
class Weights:
    """The file of the backbone's weights."""

    name: str
    sha256: str
    origin: str

    def __post_init__(self):
        for text in (self.name, self.sha256, self.origin):
            _require(len(text) <= LONGEST, f"weights: a text has more than {LONGEST} characters")


@dataclass(frozen=True)
class Variant:
    """How the network of the weights' library differs; see backbones.names.variant_of."""

    padding: str
    epsilon: float

    def __post_init__(self):
        _require(
            self.padding in catalogue.PADDINGS,
            f"padding {self.padding!r}: expected {', '.join(catalogue.PADDINGS)}",
        )
        _require(
            0 < self.epsilon < 1, f"epsilon {self.epsilon} of the batch norms: expected 0 to 1"
        )


@dataclass(frozen=True)
class FeatureRecord:
    """The network, the layers used, and how their channels are reduced to `dims`.

    seed : of the random reduction; None if all channels are kept
    patch_size : side of the neighbourhood that each map is averaged over; 1: unchanged maps
    stages : channels and grid of each map, finest first
    """

    backbone: str
    layers: tuple[str, ...]
    variant: Variant | None
    weights: Weights
    reduction: str
    dims: int
    seed: int | None
    patch_size: int
    stages: tuple[tuple[int, tuple[int, int]], ...]

    def __post_init__(self):
        _require(
            self.backbone in catalogue.BACKBONES, f"backbone {self.backbone[:80]!r} is unknown"
        )
        known = catalogue.all_layers(self.backbone)
        used = [name for name in known if name in self.layers]
        _require(
            bool(used) and list(self.layers) == used,
            "layers: not layers of this backbone, or in the wrong order",
        )
        _require(
            self.reduction in catalogue.REDUCTIONS, f"reduction {self.reduction[:80]!r} is unknown"
        )
        total = sum(catalogue.channels(self.backbone, layer) for layer in self.layers)
        _require(1 <= self.dims <= total, f"dims {self.dims}: expected 1 to {total}")
        _require(
            self.seed is None or 0 <= self.seed < LARGEST_NUMBER,
            f"seed {self.seed} is out of range",
        )
        _require(
            self.patch_size in catalogue.PATCH_SIZES,
            f"patch_size {self.patch_size}: expected one of {catalogue.PATCH_SIZES}",
        )
        _require(
            sum(c for c, _ in self.stages) == self.dims, "stages: the sum of channels is not dims"
        )
        _require(len(self.stages) <= len(self.layers), "stages: more stages than layers")
        before = (math.inf, math.inf)
        for channels, grid in self.stages:
            _require(channels >= 1, f"stages: {channels} channels, expected 1 or more")
            fits = all(1 <= n <= m for n, m in zip(grid, before, strict=True))
            _require(fits, f"stages: grid {grid} does not fit the grid {before} before it")
            before = grid

    @property
    def grids(self) -> int:
        """The number of different grids."""
        return len({grid for _, grid in self.stages})


@dataclass(frozen=True)
class ExportedGraph:
    """The SHA-256 of a graph and of its parameters (None: the graph file contains them).

    vnni : whether an int8 graph uses the whole range, for which a processor needs VNNI
    """

    model: str
    params: str | None
    fused: bool
    int8: bool
    vnni: bool

    def __post_init__(self):
        for digest in (self.model, self.params):
            _require(digest is None or _is_sha256(digest), "graphs: expected a SHA-256")


@dataclass(frozen=True)
class Exported:
    """The graphs that belong to a distribution, and their outputs for the probe picture."""

    graphs: tuple[ExportedGraph, ...]
    probe_embedding: tuple[float, ...]
    probe_map: tuple[float, ...]
    probe_image: tuple[float, ...]

    def __post_init__(self):
        for values in (self.probe_embedding, self.probe_map, self.probe_image):
            _require(all(map(math.isfinite, values)), "probe: values are not finite")
            _require(any(values), "probe: all values are 0")


@dataclass(frozen=True)
class Record:
    """Everything that scoring needs except the arrays. Raises ValueError if a value makes no sense.

    settings : of the method, with the values used (models.methods)
    sigma : of the anomaly map's smoothing, in pixels
    pictures : number of training pictures
    unit : a usual patch score of a good picture; the lowest colours are near it
    roi : whether there is a region of interest (models.roi)
    looks : of the training pictures; None: unknown, as in files of earlier programs
    arrays_sha256 : of the arrays in the same file (checkpoint.arrays_digest); empty before saving
    exported : for a distribution; None for a checkpoint
    """

    method: str
    settings: Any
    features: FeatureRecord
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    sigma: float = 4.0
    category: str = DEFAULT_CATEGORY
    pictures: int = 0
    unit: float = 1.0
    roi: bool = False
    calibration: Calibration = field(default_factory=Calibration)
    looks: Looks | None = None
    arrays_sha256: str = ""
    exported: Exported | None = None

    def __post_init__(self):
        folder_name(self.category)
        _require(
            0 < self.sigma <= LARGEST_SIGMA, f"sigma {self.sigma}: expected 0 to {LARGEST_SIGMA}"
        )
        _require(0 <= self.pictures < LARGEST_NUMBER, f"pictures {self.pictures} is out of range")
        _require(
            math.isfinite(self.unit) and self.unit > 0,
            f"unit {self.unit}: expected a number above 0",
        )
        grid, crop = self.features.stages[0][1], self.size
        _require(
            all(n <= m for n, m in zip(grid, crop, strict=True)),
            "stages: the grid is larger than the crop",
        )

    @property
    def size(self) -> tuple[int, int]:
        """(H,W) of the network's input."""
        return self.preprocessing.crop

    @property
    def digests(self) -> tuple[str, ...]:
        """Of the arrays of each model file; here one."""
        return (self.arrays_sha256,)

    def weights_line(self) -> str:
        """The weights of the model, in one line."""
        found, backbone = self.features.weights, self.features.backbone
        return f"weights: {found.name} of {backbone} ({found.origin}), SHA-256 {found.sha256}"

    def summary(self) -> dict:
        """The description of the model in metrics.json."""
        features = dataclasses.asdict(self.features)
        del features["stages"]
        return {
            "method": self.method,
            **dataclasses.asdict(self.settings),
            **features,
            "n": self.pictures,
            "image_size": list(self.size),
            "roi": self.roi,
        }


def encode(record: Record, format: str, version: int) -> str:
    """JSON of `record`; ValueError if it is incomplete, or `decode` would not accept it."""
    known = {"format": format, "version": version}
    text = msgspec.json.encode({**known, **msgspec.to_builtins(record)}).decode()
    decode(text)
    return text


def header(text: str) -> tuple[Any, Any]:
    """`format` and `version` of a record's JSON; RecordError if they are missing."""
    data = _json(text)
    if not isinstance(data, dict) or "format" not in data:
        raise RecordError("no record")
    return data["format"], data.get("version")


def decode(text: str) -> Record:
    """The record of `text`; RecordError if a field is missing, of wrong type or makes no sense."""
    data = _json(text)
    if not isinstance(data, dict):
        raise RecordError("no record")
    try:
        data.setdefault("looks", None)  # the only field that a file may lack
        name = data["method"]
        if not isinstance(name, str) or name not in METHODS:
            raise RecordError(f"method {str(name)[:80]!r}: expected {', '.join(METHODS)}")
        settings = msgspec.convert(data["settings"], METHODS[name].settings)
        record = dataclasses.replace(msgspec.convert(data, Record), settings=settings)
        described = record.features
        final = settings.resolved(described.backbone, described.grids)
        _require(settings == final, "settings: auto or null, expected the values used")
        _require_all(dataclasses.asdict(record), data)
        _require(record.pictures >= 1, "pictures: the model is not fitted")
        _require(_is_sha256(record.arrays_sha256), "arrays_sha256: expected a SHA-256")
        return record
    except KeyError as error:
        raise RecordError(f"{error.args[0]} is missing") from error
    except RecordError:
        raise
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise RecordError(shortened(str(error), 200)) from error


def _require_all(expected: dict, found: dict, before: str = "") -> None:
    """RecordError if `found` lacks a field of `expected`: defaults are only for new records."""
    for key, value in expected.items():
        _require(key in found, f"{before}{key} is missing")
        if isinstance(value, dict):
            _require_all(value, found[key], f"{before}{key}.")


def _json(text: str):
    if len(text) > LARGEST_RECORD:
        raise RecordError(f"{len(text)} characters of JSON, expected at most {LARGEST_RECORD}")
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise RecordError(f"not valid JSON ({error})") from error


def _require(condition: bool, problem: str) -> None:
    if not condition:
        raise RecordError(problem)


def _is_sha256(text: str) -> bool:
    return re.fullmatch("[0-9a-f]{64}", text) is not None
