"""Several models of the same parts as one: the mean of their scaled scores and maps.

Methods and backbones have scores of different units. So each member's scores are scaled, linearly,
by what it knows of good pictures: 0 is a usual good picture or pixel, 1 is the member's threshold
for a false-alarm rate of REFERENCE. This scale does not depend on the rate that a user asks for, so
that a score depends only on its picture and the models. Means of linear scores rank pictures better
than means of normalised scores from 0 to 1, which are almost equal for all clear defects.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.calibration import MOST_SCORES, Calibration, Normal, NormalScores, Rule, spread
from common.errors import UsageError, WorkError
from common.looks import Looks
from common.preprocessing import Preprocessing
from models.detector import Detector, Scores
from models.record import Record

REFERENCE = 0.1  # a rate that few good pictures suffice for, without extrapolation


@dataclass(frozen=True)
class Scaling:
    """The linear scales of one member. `rule`: for REFERENCE; numbers or arrays are scaled."""

    rule: Rule

    def image(self, scores):
        """Image scores: 0 at the median of good pictures (or below), 1 at the threshold."""
        return 1 + self.rule.position(scores)

    def pixel(self, scores):
        """Pixel scores: 0 at a usual score of a good pixel, 1 at the pixel threshold."""
        return (scores - self.rule.usual) / (self.rule.pixel - self.rule.usual)


@dataclass(frozen=True)
class EnsembleRecord:
    """What is used of a models.record.Record, for several models; made by `of`.

    names, members : of each model its path and its record
    calibration : of the ensemble's own scores
    unit : as in Record
    """

    names: tuple[str, ...]
    members: tuple[Record, ...]
    calibration: Calibration
    unit: float = 1.0

    @classmethod
    def of(cls, records: Sequence[Record], names: Sequence[Path | str]) -> "EnsembleRecord":
        """UsageError if the models were not made for the same pictures in the same way."""
        names = tuple(map(str, names))
        if len(names) < 2:
            raise UsageError(f"an ensemble needs 2 models or more, got {len(names)}", "model_path")
        for name, record in zip(names[1:], records[1:], strict=True):
            _require_same(f"{names[0]} and {name}", records[0], record)
        for name, record in zip(names, records, strict=True):
            _require_normal(name, record)
        _require_paired(names, records)
        return cls(names, tuple(records), Calibration(_normal(records)))

    @property
    def name(self) -> str:
        return " + ".join(self.names)

    @property
    def category(self) -> str:
        return self.members[0].category

    @property
    def preprocessing(self) -> Preprocessing:
        """Of the first member; other members may have another mean and deviation."""
        return self.members[0].preprocessing

    @property
    def digests(self) -> tuple[str, ...]:
        """Of the arrays of each member."""
        return tuple(record.arrays_sha256 for record in self.members)

    @property
    def looks(self) -> Looks | None:
        """Of the training pictures, which are the same for all members."""
        return self.members[0].looks

    def scalings(self) -> list[Scaling]:
        return [_scaling(record) for record in self.members]

    def weights_line(self) -> str:
        """The members and their weights, in one line; metrics.json has more."""
        described = []
        for name, record in zip(self.names, self.members, strict=True):
            features = record.features
            text = f"{record.method}, {features.backbone}, weights {features.weights.name}"
            described.append(f"{name} ({text})")
        return f"ensemble of {len(described)} models: {', '.join(described)}"

    def summary(self) -> dict:
        """The description of the ensemble in metrics.json."""
        pairs = zip(self.names, self.members, strict=True)
        return {
            "method": " + ".join(record.method for record in self.members),
            "backbone": " + ".join(record.features.backbone for record in self.members),
            "n": self.members[0].pictures,
            "members": [{"path": name, **record.summary()} for name, record in pairs],
        }


class EnsembleDetector:
    """As models.detector.Detector, but it cannot learn.

    `members`: the detectors of record.members; WorkError if a model has changed since the record
    was read.
    """

    def __init__(self, members: Sequence[Detector], record: EnsembleRecord):
        for name, known, member in zip(record.names, record.members, members, strict=True):
            if member.record != known:
                raise WorkError(f"{name}: changed since it was opened; start again")
        self.members, self.record, self.scalings = list(members), record, record.scalings()

    def score(self, images: np.ndarray) -> Scores:
        """Scores of pictures float32 [B,3,H,W], normalised as record.preprocessing says."""
        image, maps = [], []
        for member, scaling in zip(self.members, self.scalings, strict=True):
            own = renormalised(images, self.record.preprocessing, member.record.preprocessing)
            scores = member.score(own)
            image.append(scaling.image(scores.image))
            pixels = scaling.pixel(scores.map)
            # Outside a region of interest a member's map is 0: there, all pictures are as usual.
            maps.append(np.where(scores.map == 0, 0, pixels) if member.record.roi else pixels)
        return Scores(np.mean(image, axis=0), np.mean(maps, axis=0))


def renormalised(images: np.ndarray, present: Preprocessing, other: Preprocessing) -> np.ndarray:
    """Pictures float32 [B,3,H,W] with the mean and deviation of `other` instead of `present`."""
    if (present.mean, present.std) == (other.mean, other.std):
        return images
    mean, std, others_mean, others_std = (
        np.array(values)[:, None, None]
        for values in (present.mean, present.std, other.mean, other.std)
    )
    scale, shift = std / others_std, (mean - others_mean) / others_std
    return images * scale.astype(np.float32) + shift.astype(np.float32)


def _scaling(record: Record) -> Scaling:
    return Scaling(record.calibration.rule(REFERENCE, "fpr"))


def _normal(records: Sequence[Record]) -> Normal:
    """The ensemble's scores of the good pictures that its members have scores of."""
    scalings, normals = [_scaling(r) for r in records], [r.calibration.normal for r in records]
    pairs = list(zip(scalings, normals, strict=True))
    image = [scaling.image(np.array(normal.image.values)) for scaling, normal in pairs]
    # The mean of the maxima of maps is at least the maximum of their mean. So the pixel threshold
    # is slightly too high rather than too low: it promises the rate, too.
    few = min(normal.peak.pictures for normal in normals)
    peak = [scaling.pixel(_some(normal.peak, few)) for scaling, normal in pairs]
    return Normal(
        NormalScores.of(np.mean(image, axis=0).tolist()),
        NormalScores.of(np.mean(peak, axis=0).tolist()),
        0.0,
        normals[0].source,
        normals[0].pictures_sha256,
    )


def _some(scores: NormalScores, few: int) -> np.ndarray:
    """The scores of as many pictures as the member with the fewest has maps of."""
    return np.array(scores.values)[spread(scores.pictures, few)]


def _require_same(names: str, first: Record, other: Record) -> None:
    """UsageError if two models are of different categories or parts of a picture."""
    if first.category != other.category:
        raise UsageError(
            f"{names} are of different categories ({first.category}, {other.category}); "
            "choose models of one category",
            "model_path",
        )
    for name, option in (("resize", "resize"), ("crop", "img_size")):
        values = [getattr(record.preprocessing, name) for record in (first, other)]
        if values[0] != values[1]:
            raise UsageError(
                f"{names} have different sizes of pictures: --{option} {_size(values[0])} and "
                f"{_size(values[1])}; train them with the same --{option}",
                "model_path",
            )


def _require_normal(name: str, record: Record) -> None:
    normal = record.calibration.normal
    if normal is None:
        raise UsageError(
            f"{name}: has no scores of good pictures, which an ensemble needs; train it with "
            "--calibrate True",
            "model_path",
        )
    if normal.pictures > MOST_SCORES:
        raise UsageError(
            f"{name}: keeps only {MOST_SCORES} of the scores of {normal.pictures} good pictures, "
            "but an ensemble needs those of all; train each model with --calibration_dir and "
            f"at most {MOST_SCORES} pictures in it",
            "model_path",
        )


def _require_paired(names: Sequence[str], records: Sequence[Record]) -> None:
    """UsageError if the models have scores of different good pictures."""
    first = records[0].calibration.normal
    for name, record in zip(names[1:], records[1:], strict=True):
        normal = record.calibration.normal
        known = (first.source, first.pictures_sha256, first.pictures)
        if (normal.source, normal.pictures_sha256, normal.pictures) != known:
            raise UsageError(
                f"{names[0]} and {name} have scores of different good pictures; train them with "
                "the same pictures (--exclude, --calibration_dir and --skip_bad included)",
                "model_path",
            )


def _size(sides: int | tuple[int, int]) -> str:
    return str(sides) if isinstance(sides, int) else "x".join(map(str, sides))
