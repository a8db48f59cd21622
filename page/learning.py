"""What the page lets the library do: learn, judge, measure. Knows nothing of Streamlit."""

import io
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image

from common.calibration import FPR, Rule
from common.errors import UsageError
from common.progress import progress
from datasets.samples import Category, Sample
from datasets.transforms import BadPictureError
from evaluation.figures import Figures, measure
from evaluation.heat import overlay
from evaluation.scale import Scale
from evaluation.testing import ScoredPicture
from inspection import Inspector, Judgement, fit
from inspection.audit import Audited
from page.choice import Choice
from page.limits import LEAST_TRAIN, MOST_MASKED, MOST_PIXELS, MOST_TEST, MOST_TRAIN
from page.uploads import UNKNOWN

THUMBNAIL, QUALITY = 160, 80  # pixels of the longer side; of JPEG


@dataclass(frozen=True, eq=False)
class Tested:
    """A picture that was judged. thumbnail, heat : JPEG files of the crop, and of its heat map."""

    sample: Sample
    judgement: Judgement
    thumbnail: bytes
    heat: bytes
    mask: np.ndarray | None = None

    @property
    def name(self) -> str:
        return Path(self.sample.path).name

    @property
    def labelled(self) -> bool:
        return self.sample.kind != UNKNOWN

    def scored(self) -> ScoredPicture:
        """For the figures; its path is the kind and the name, without folders of the server."""
        kind, found = self.sample.kind, self.judgement
        path = Path(kind) / self.name
        known = kind, self.sample.defective, found.score, found.map
        return ScoredPicture(path, *known, self.mask)


@dataclass(eq=False)
class Model:
    """A model with the pictures it was learned from and those it judged.

    category : all pictures; `excluded` of its training pictures are left out
    choice, roi : what it was learned with; None for a model from a file
    audited : training pictures, the most unusual first, with a thumbnail of each by its index
    skipped : messages about pictures that could not be read
    """

    inspector: Inspector
    category: Category
    choice: Choice | None = None
    roi: np.ndarray | None = None
    excluded: frozenset[Path] = frozenset()
    audited: list[Audited] = field(default_factory=list)
    thumbnails: dict[int, bytes] = field(default_factory=dict)
    tested: list[Tested] = field(default_factory=list)
    figures: Figures | None = None
    skipped: list[str] = field(default_factory=list)
    seconds: dict[str, float | None] = field(default_factory=dict)

    def judged_at(self, fpr: float) -> None:
        """Judge all pictures again by another false-alarm rate; needs scores of good pictures."""
        self.judge_again(self.inspector.record.calibration.rule(fpr))

    def judged_from(self, threshold: float) -> None:
        """Judge all pictures again by a threshold."""
        self.inspector.threshold = threshold
        self.judge_again(self.inspector.rule)

    def judge_again(self, rule: Rule) -> None:
        """Judge all pictures again; the network does not run."""
        self.inspector.rule = rule
        again = self.inspector.again
        self.tested = [replace(one, judgement=again(one.judgement)) for one in self.tested]


def learn(
    category: Category,
    choice: Choice,
    roi: np.ndarray | None = None,
    excluded: frozenset[Path] = frozenset(),
    fpr: float = FPR,
) -> Model:
    """Fit a model on the training pictures, and judge the test pictures.

    `roi`: bool [H,W] of the crop. UsageError, WorkError of the library.
    """
    require(category)
    start = time.perf_counter()
    pictures = [s.path for s in category.train if s.path not in excluded]
    arguments = {"category": category.name, "max_pixels": MOST_PIXELS, "skip_bad": True}
    fitted = fit(pictures, roi=roi, **arguments, **choice.arguments())
    inspector = fitted.inspector(fpr=fpr, max_pixels=MOST_PIXELS, min_area=choice.min_area)
    model = Model(inspector, category, choice, roi, excluded, fitted.audit())
    model.skipped += map(str, fitted.skipped)
    model.seconds["fit"] = time.perf_counter() - start
    model.thumbnails = {
        row.index: jpeg(inspector.transform.picture(row.source)) for row in model.audited[:30]
    }
    judge(model, category.test)
    return model


def opened(path: Path, category: Category, fpr: float = FPR) -> Model:
    """The model in a checkpoint, and what it says of the test pictures of `category`."""
    inspector = Inspector.open_checkpoint(path, max_pixels=MOST_PIXELS, fpr=fpr).load()
    category = replace(category, name=inspector.record.category)
    model = Model(inspector, category)
    judge(model, category.test)
    return model


def judge(model: Model, samples: list[Sample]) -> Model:
    """Judge further pictures; the figures are those of all pictures with a label."""
    start, skipped = time.perf_counter(), []
    by_path, inspector = {sample.path: sample for sample in samples}, model.inspector
    judgements = inspector.inspect([*by_path], skipped)
    found = []
    for judgement in progress(judgements, len(samples), "judge", size=lambda _: 1):
        found.append(_tested(by_path[judgement.source], judgement, inspector))
    model.skipped += map(str, skipped)
    model.tested = sorted([*model.tested, *found], key=lambda one: -one.judgement.score)
    if samples:
        model.seconds["picture"] = (time.perf_counter() - start) / len(samples)
    model.figures = _measured(model.tested)
    return model


def judge_one(inspector: Inspector, sample: Sample) -> Tested:
    """One picture; BadPictureError if it cannot be read."""
    (judgement,) = inspector.inspect([sample.path])
    return _tested(sample, judgement, inspector)


def require(category: Category) -> None:
    """UsageError if there are too few or too many pictures."""
    if len(category.train) < LEAST_TRAIN:
        raise UsageError(f"{len(category.train)} good pictures; at least {LEAST_TRAIN} are needed")
    if len(category.train) > MOST_TRAIN:
        raise UsageError(f"{len(category.train)} good pictures; at most {MOST_TRAIN} are allowed")
    if len(category.test) > MOST_TEST:
        raise UsageError(f"{len(category.test)} pictures to test; at most {MOST_TEST} are allowed")


def jpeg(picture: np.ndarray, side: int = THUMBNAIL) -> bytes:
    """A picture uint8 [H,W,3] as JPEG, its longer side at most `side` pixels."""
    image, file = Image.fromarray(picture), io.BytesIO()
    image.thumbnail((side, side))
    image.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def _tested(sample: Sample, judgement: Judgement, inspector: Inspector) -> Tested:
    picture, mask = judgement.picture, None
    if sample.mask is not None:
        try:
            mask = inspector.transform.mask(sample.mask)
        except BadPictureError:
            mask = None
    elif not sample.defective:
        mask = np.zeros(judgement.map.shape, bool)
    heat = overlay(picture, judgement.map, judgement.scale)
    return Tested(sample, judgement.light(), jpeg(picture), jpeg(heat), mask)


def _measured(tested: Iterable[Tested]) -> Figures | None:
    """Figures of the pictures with a label; None unless some are good and some defective."""
    scored = [one.scored() for one in tested if one.labelled]
    if len({one.defective for one in scored}) < 2:
        return None
    if sum(one.map.size for one in scored) > MOST_MASKED:
        scored = [replace(one, mask=None) for one in scored]
    return measure(scored)


def with_range(scale: Scale, low: float, high: float) -> Scale:
    """The scale with other ends of its colours."""
    return replace(scale, low=low, high=high)
