"""The options of train.py --update as typed values. Imports nothing heavy."""

import argparse
from dataclasses import dataclass, fields
from pathlib import Path

from common.errors import UsageError
from datasets.data import Data
from datasets.options import data_from
from models.engine import Engine
from models.methods import METHODS
from models.options import engine_from
from tasks.settings import (
    Calibrating,
    Loading,
    Validation,
    calibrating_of,
    described,
    loading_from,
    validation_of,
)
from tasks.verdicts import Wanted, wanted_from

# Options of train.py that --update takes from the model.
OF_MODEL = {
    *("method", "backbone", "depth", "pretrained_backbone", "layers", "dims", "reduction", "seed"),
    *("patch_size", "resize", "img_size", "whole", "roi"),
    *(setting.name for row in METHODS.values() for setting in fields(row.settings)),
}
OF_TRAINING = {"folds", "seeds", "save_every", "resume"}


@dataclass(frozen=True)
class Updating:
    """What train.py --update does with the model `path`.

    forget : folder of pictures to take out again; None: none
    data : with pictures to add; None: none
    exclude : file with the names of pictures of `data` to leave out
    """

    path: Path
    forget: Path | None
    data: Data | None
    engine: Engine
    loading: Loading
    save_path: Path
    log_dir: Path
    calibrating: Calibrating
    exclude: Path | None
    verdicts: Wanted
    validation: Validation | None
    described: str


def updating_from(options: argparse.Namespace, given: set[str]) -> Updating:
    """`given`: names of the options on the command line. Raises UsageError if they contradict each
    other."""
    if fixed := sorted(given & OF_MODEL):
        raise UsageError("is the model's where one is updated; omit it", fixed[0])
    if foreign := sorted(given & OF_TRAINING):
        raise UsageError("does not work with --update", foreign[0])
    adds = bool({"data_path", "normal_dir"} & given)
    if adds and options.forget:
        raise UsageError(
            "takes pictures out; add pictures (--data_path, --normal_dir) in a run of its own",
            "forget",
        )
    if not (adds or options.forget or options.calibration_dir):
        raise UsageError(
            "expected pictures to add (--data_path or --normal_dir), to take out (--forget), or to "
            "calibrate with (--calibration_dir)",
            "update",
        )
    for name in ("val", "audit", "exclude"):
        if not adds and getattr(options, name):
            raise UsageError("needs pictures to add (--data_path or --normal_dir)", name)
    data = data_from(options) if adds else None
    if data is not None and len(data.names) > 1:
        raise UsageError(f"{len(data.names)} categories for one model; name one", "category")
    path = options.update
    return Updating(
        path / "best.pdparams" if path.is_dir() else path,
        options.forget,
        data,
        engine_from(options),
        loading_from(options),
        *(options.save_path, options.log_dir),
        calibrating_of(options),
        options.exclude,
        wanted_from(options),
        validation_of(options, data) if options.val else None,
        described(options),
    )
