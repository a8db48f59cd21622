"""Turn a checkpoint into the files that are deployed."""

import logging
import os
from pathlib import Path

import numpy as np

from common.errors import UsageError, WorkError
from common.files import writable_folder
from datasets.loader import Loader
from datasets.samples import Sample, pictures_in
from datasets.transforms import BadPictureError, Preprocessing
from models import load_detector
from models.backbones.catalogue import RESIDUAL
from models.options import find_model
from tasks.runs import log_weights, read_record

logger = logging.getLogger(__name__)

CALIBRATION = 32  # pictures at most to quantise with


def export_model(options, backbone: str | None) -> int:
    """Export the model that the options name; prints the files written, a line each."""
    path = find_model(options.model_path, Path("output"), options.category)
    record, preprocessing = read_record(path)
    _agree(record, options, backbone, path)
    calibration = (
        None
        if options.quantize is None
        else _calibration(options, record["backbone"], preprocessing)
    )
    folder = writable_folder(options.save_dir, "save_dir")
    log_weights(record)
    from models.export import export  # after the checks: it imports Paddle

    detector = load_detector(path, device="cpu")
    onnx = options.format == "onnx"
    dtype = options.distribution_dtype
    for file in export(detector, folder, options.fused, onnx, dtype, calibration):
        logger.info("%s: %.1f MB", file, file.stat().st_size / 1e6)
        print(file)
    return 0


def _calibration(options, backbone: str, preprocessing: Preprocessing) -> np.ndarray:
    """Pictures to quantise with, normalised float32 [B,3,H,W]."""
    if options.fused or options.format == "onnx":
        raise UsageError("--quantize writes model.pdmodel alone; leave out --fused, --format onnx")
    if backbone not in RESIDUAL:
        raise UsageError(f"--quantize: int8 is for residual networks, not {backbone}")
    if not options.quantize.is_dir():
        raise UsageError(f"--quantize {options.quantize}: no such folder")
    paths = pictures_in(options.quantize, recursive=True)
    if not paths:
        raise UsageError(f"--quantize {options.quantize}: no pictures in it or below it")
    # Paddle 3 quantises the graphs of Paddle 2, and decides as it starts which kind it writes.
    os.environ["FLAGS_enable_pir_api"] = "0"  # noqa: SIM112 - its name
    count = min(CALIBRATION, len(paths))
    chosen = [paths[i * len(paths) // count] for i in range(count)]
    try:
        loader = Loader([Sample(path) for path in chosen], preprocessing, count)
        return next(iter(loader)).images
    except BadPictureError as error:
        raise WorkError(f"--quantize: {error.__cause__}; remove it from the folder") from error


def _agree(record: dict, options, backbone: str | None, path: Path) -> None:
    """What was named beside the model must be what it was trained with: UsageError."""
    if backbone not in (None, record["backbone"]):
        raise UsageError(f"{path} was trained with {record['backbone']}, not {backbone}")
    if options.category not in (None, record["category"]):
        raise UsageError(f"{path} was trained on {record['category']}, not {options.category}")
    size = options.img_size
    size = (size, size) if isinstance(size, int) else size
    if size not in (None, tuple(record["image_size"])):
        trained, wanted = ("x".join(map(str, pair)) for pair in (record["image_size"], size))
        raise UsageError(
            f"{path} was trained with --img_size {trained}, not {wanted}; each place of the "
            "picture has its own statistics, so train again for another size"
        )
