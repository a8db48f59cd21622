"""What the scripts' options mean: typed values, made once. Imports nothing heavy."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.preprocessing import Preprocessing
from datasets.data import Data
from datasets.options import data_from, preprocessing_from
from models.engine import Engine
from models.options import backbone_from, engine_from, layers_from, settings_from


@dataclass(frozen=True)
class Loading:
    """How pictures are read."""

    batch_size: int
    workers: int
    skip_bad: bool
    max_pixels: int


@dataclass(frozen=True)
class Drawing:
    """Which sheets of test pictures are saved; `seed` draws `limit` of them."""

    wanted: bool
    limit: int | None
    seed: int | None


@dataclass(frozen=True)
class Model:
    """What is built, as far as it does not follow from the pictures; see build_detector."""

    method: str
    settings: Any
    backbone: str
    pretrained_backbone: str
    layers: tuple[str, ...] | None
    dims: int | None
    reduction: str | None
    seed: int | None


@dataclass(frozen=True)
class Validation:
    """What val.py does, for each category of `data`; `calibrate`: None where it depends."""

    data: Data
    model_path: Path | None
    save_path: Path
    calibrate: bool | None
    engine: Engine
    loading: Loading
    drawing: Drawing


@dataclass(frozen=True)
class Training:
    """What train.py does, for each category of `data`; `validation`: None without --val."""

    data: Data
    preprocessing: Preprocessing
    model: Model
    engine: Engine
    loading: Loading
    save_path: Path
    log_dir: Path
    validation: Validation | None
    described: str


@dataclass(frozen=True)
class Answers:
    """What becomes of judgements.

    threshold : replaces the model's
    save_path : of sheets, None for the default place
    save_map : of maps, None to save none
    """

    threshold: float | None
    json: bool
    save_picture: bool
    save_path: Path | None
    save_map: Path | None

    def place(self, category: str, folder: str) -> Path:
        """Where sheets go; by default to `folder` of the model's `category`."""
        return self.save_path or Path("output") / category / folder


def training_from(options: argparse.Namespace) -> Training:
    """Raises UsageError where options do not fit each other."""
    backbone = backbone_from(options)
    model = Model(
        options.method,
        settings_from(options),
        backbone,
        options.pretrained_backbone,
        layers_from(options, backbone),
        options.dims,
        options.reduction,
        options.seed,
    )
    described = ", ".join(f"{key} {value}" for key, value in vars(options).items())
    return Training(
        data_from(options),
        preprocessing_from(options),
        model,
        engine_from(options),
        loading_from(options),
        options.save_path,
        options.log_dir,
        validation_from(options) if options.val else None,
        described,
    )


def validation_from(options: argparse.Namespace) -> Validation:
    return Validation(
        data_from(options),
        getattr(options, "model_path", None),
        options.save_path,
        options.calibrate,
        engine_from(options),
        loading_from(options),
        Drawing(options.save_picture, options.num_pictures, options.seed),
    )


def loading_from(options: argparse.Namespace) -> Loading:
    return Loading(options.batch_size, options.num_workers, options.skip_bad, options.max_pixels)


def answers_from(options: argparse.Namespace) -> Answers:
    return Answers(
        options.threshold, options.json, options.save_picture, options.save_path, options.save_map
    )
