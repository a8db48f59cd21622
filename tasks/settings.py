"""The options of the scripts as typed values. Imports nothing heavy."""

import argparse
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import UsageError
from common.preprocessing import Preprocessing
from datasets.data import Data
from datasets.options import data_from, preprocessing_from
from models.engine import Engine
from models.options import backbone_from, engine_from, layers_from, settings_from
from tasks.verdicts import Wanted, wanted_from

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loading:
    """How pictures are read."""

    batch_size: int
    workers: int
    skip_bad: bool
    max_pixels: int


@dataclass(frozen=True)
class Drawing:
    """Which sheets of test pictures are saved; `seed` selects `limit` of them at random.

    html : whether to write report.html
    """

    wanted: bool
    limit: int | None
    seed: int | None
    html: bool


@dataclass(frozen=True)
class Model:
    """The model to build, except what depends on the pictures; see build_detector."""

    method: str
    settings: Any
    backbone: str
    pretrained_backbone: str
    layers: tuple[str, ...] | None
    dims: int | None
    reduction: str | None
    seed: int | None
    patch_size: int | None


@dataclass(frozen=True)
class Validation:
    """What val.py does for each category of `data`.

    model_path : several are an ensemble; empty: the model of each category in save_path
    calibrate : whether to save thresholds in the model; None: only if the category is its own
    compare : whether the table over all categories shows published figures, too
    """

    data: Data
    model_path: tuple[Path, ...]
    save_path: Path
    calibrate: bool | None
    engine: Engine
    loading: Loading
    drawing: Drawing
    wanted: Wanted
    compare: bool


@dataclass(frozen=True)
class Calibrating:
    """What train.py does after learning.

    wanted : whether to score the training pictures, each left out, or those of `folder`
    audit : whether to draw the most unusual training pictures
    folds : parts of the training pictures, for a check of the scores; None: no check
    """

    wanted: bool
    folder: Path | None
    audit: bool
    folds: int | None


@dataclass(frozen=True)
class Saving:
    """States of a training.

    every : pictures after which one is saved; None: never
    resume : whether to go on with the last one
    """

    every: int | None
    resume: bool


@dataclass(frozen=True)
class Training:
    """What train.py does for each category of `data`; `validation` is None without --val.

    exclude : file with the names of training pictures to leave out
    seeds : of random channels, to repeat training and validation with; empty: no repetition
    roi : picture of the region of interest
    whole : whether `preprocessing` is to be changed so that nothing is cropped
    """

    data: Data
    preprocessing: Preprocessing
    whole: bool
    model: Model
    engine: Engine
    loading: Loading
    save_path: Path
    log_dir: Path
    calibrating: Calibrating
    saving: Saving
    exclude: Path | None
    roi: Path | None
    verdicts: Wanted
    validation: Validation | None
    seeds: tuple[int, ...]
    described: str


@dataclass(frozen=True)
class Answers:
    """What to print and save of judgements.

    save_path : for sheets; None for the default path
    save_map, save_mask : folders for maps and masks; None to save none
    stats : file that collects scores; None to collect none
    min_area : smaller regions are left out, in pixels of the original picture
    """

    wanted: Wanted
    json: bool
    save_picture: bool
    save_path: Path | None
    save_map: Path | None
    save_mask: Path | None
    stats: Path | None
    min_area: int

    def place(self, category: str, folder: str) -> Path:
        """The path for sheets; by default `folder` in the output of the model's `category`."""
        return self.save_path or Path("output") / category / folder


@dataclass(frozen=True)
class Watching:
    """A folder in which pictures arrive.

    interval : seconds between two looks at it
    present : whether the pictures that are there at the start are judged, too
    """

    folder: Path
    interval: float
    present: bool


def watching_from(options: argparse.Namespace) -> Watching | None:
    """None without --watch."""
    if options.watch is None:
        return None
    return Watching(options.watch, options.watch_interval, options.watch_present)


def training_from(options: argparse.Namespace) -> Training:
    """Raises UsageError if options contradict each other."""
    if options.forget:
        raise UsageError("needs --update MODEL, the model that learned from the pictures", "forget")
    if options.resume and options.folds:
        raise UsageError("needs all features, but --resume has only some; omit one", "folds")
    for name in ("save_every", "resume"):
        if options.seeds and getattr(options, name):
            raise UsageError("does not work with --seeds", name)
    model, data = model_from(options), data_from(options)
    return Training(
        data,
        preprocessing_from(options),
        options.whole,
        model,
        engine_from(options),
        loading_from(options),
        options.save_path,
        options.log_dir,
        calibrating_of(options),
        Saving(options.save_every, options.resume),
        options.exclude,
        options.roi,
        wanted_from(options),
        validation_of(options, data) if options.val else None,
        _seeds_of(options),
        described(options),
    )


def described(options: argparse.Namespace) -> str:
    """All options, for the log."""
    return ", ".join(f"{key} {value}" for key, value in vars(options).items())


def model_from(options: argparse.Namespace) -> Model:
    """Raises UsageError if options contradict each other."""
    backbone = backbone_from(options)
    return Model(
        options.method,
        settings_from(options),
        backbone,
        options.pretrained_backbone,
        layers_from(options, backbone),
        options.dims,
        options.reduction,
        options.seed,
        options.patch_size,
    )


def validation_from(options: argparse.Namespace) -> Validation:
    return validation_of(options, data_from(options))


def validation_of(options: argparse.Namespace, data: Data) -> Validation:
    return Validation(
        data,
        tuple(getattr(options, "model_path", None) or ()),
        options.save_path,
        options.calibrate,
        engine_from(options),
        loading_from(options),
        Drawing(options.save_picture, options.num_pictures, options.seed, options.html),
        wanted_from(options),
        options.compare,
    )


def calibrating_of(options: argparse.Namespace) -> Calibrating:
    given = {name: getattr(options, name) for name in ("calibration_dir", "audit", "folds")}
    if not options.calibrate and (names := [name for name, value in given.items() if value]):
        raise UsageError("needs --calibrate True", names[0])
    if not options.calibrate and options.threshold_from == "fpr":
        raise UsageError("fpr needs --calibrate True", "threshold_from")
    if options.calibration_dir and options.folds:
        raise UsageError(
            "checks scores of training pictures, but --calibration_dir has others; choose one",
            "folds",
        )
    if options.calibration_dir and options.audit:
        raise UsageError(
            "draws training pictures, but --calibration_dir has others; choose one", "audit"
        )
    return Calibrating(options.calibrate, options.calibration_dir, options.audit, options.folds)


def _seeds_of(options: argparse.Namespace) -> tuple[int, ...]:
    seeds = tuple(options.seeds or ())
    if not seeds:
        return seeds
    if not options.val:
        raise UsageError("needs --val True: it compares figures", "seeds")
    if options.folds:
        raise UsageError("does not work with --seeds; choose one", "folds")
    if len(set(seeds)) != len(seeds) or len(seeds) < 2:
        raise UsageError("expected at least two seeds, all different", "seeds")
    if options.seed not in (None, *seeds):
        raise UsageError(f"{options.seed} is not among --seeds; add it there", "seed")
    return seeds


def loading_from(options: argparse.Namespace) -> Loading:
    return Loading(options.batch_size, options.num_workers, options.skip_bad, options.max_pixels)


def answers_from(options: argparse.Namespace) -> Answers:
    wanted, save_path = options.save_picture, options.save_path
    if wanted is None:
        wanted = save_path is not None
    if save_path is not None and not wanted:
        logger.warning("--save_path has no effect without sheets; omit --save_picture False")
    return Answers(
        wanted_from(options),
        options.json,
        *(wanted, save_path, options.save_map, options.save_mask),
        options.stats,
        options.min_area,
    )
