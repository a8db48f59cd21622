"""Exports a checkpoint as files for deployment."""

import argparse
import logging
import os
from pathlib import Path

import numpy as np

from common.errors import UsageError, WorkError, printable
from common.files import writable_folder
from common.preprocessing import Preprocessing
from datasets.samples import Sample, pictures_in
from datasets.transforms import BadPictureError
from models.backbones.catalogue import has_gates
from models.checkpoint import ModelFile
from models.engine import Engine
from models.loading import load_detector
from models.options import backbone_from, find_model
from models.record import Record
from tasks.runs import loader_for
from tasks.settings import Loading

logger = logging.getLogger(__name__)

SAMPLE = 32  # largest number of sample pictures for quantisation


def export_model(options: argparse.Namespace) -> int:
    """Export the model that the options name; prints one line per written file."""
    path = find_model(options.model_path, Path("output"), options.category)
    with ModelFile(path) as file:
        return _export(options, file)


def _export(options: argparse.Namespace, file: ModelFile) -> int:
    record = file.record
    _require_agreement(record, options, file.path)
    sample = None
    if options.quantize is not None:
        _require_quantizable(options, record)
        sample = _sample(options.quantize, record.preprocessing, options.max_pixels)
    folder = writable_folder(options.save_dir, "save_dir")
    logger.info("%s", record.weights_line())
    detector = load_detector(file, Engine(device="cpu"))
    from models.export import export  # imports Paddle: only after the checks and `runtime.prepare`

    onnx, dtype = options.format == "onnx", options.distribution_dtype
    files = export(detector, folder, options.fused, onnx, dtype, sample)
    total = sum(file.stat().st_size for file in files)
    logger.info("%d files, %.1f MB:", len(files), total / 1e6)
    for file in files:
        print(printable(file))
    return 0


def _require_quantizable(options: argparse.Namespace, record: Record) -> None:
    if options.fused or options.format == "onnx":
        raise UsageError(
            "int8 works only for model.pdmodel; omit --fused and --format onnx", "quantize"
        )
    if has_gates(backbone := record.features.backbone):
        raise UsageError(
            f"int8 works only for networks without squeeze and excitation; this model has "
            f"{backbone}; use a residual network or an EfficientNet-Lite",
            "quantize",
        )


def _sample(folder: Path, preprocessing: Preprocessing, max_pixels: int) -> np.ndarray:
    """Sample pictures, evenly chosen from `folder`: normalised float32 [B,3,H,W]."""
    if not folder.is_dir():
        raise UsageError(
            f"{folder}: no such folder; expected a folder of good pictures", "quantize"
        )
    paths = pictures_in(folder, recursive=True)
    if not paths:
        raise UsageError(f"{folder}: no pictures in this folder or its subfolders", "quantize")
    # Paddle 3 can quantise only graphs of Paddle 2's format. It reads this setting when it starts.
    os.environ["FLAGS_enable_pir_api"] = "0"  # noqa: SIM112 - its name
    count = min(SAMPLE, len(paths))
    chosen = [Sample(paths[i * len(paths) // count]) for i in range(count)]
    loading = Loading(count, 2, False, max_pixels)
    try:
        return next(iter(loader_for(chosen, preprocessing, loading))).images
    except BadPictureError as error:
        raise WorkError(f"--quantize: {error}") from error


def _require_agreement(record: Record, options: argparse.Namespace, path: Path) -> None:
    """UsageError if other options than the model's own are given for it."""
    named = options.depth or options.backbone
    backbone, trained = backbone_from(options) if named else None, record.features.backbone
    if backbone not in (None, trained):
        raise UsageError(f"{path} was trained with backbone {trained}, not {backbone}")
    if options.category not in (None, record.category):
        raise UsageError(
            f"{path} was trained on category {record.category}, not {options.category}"
        )
    size = options.img_size
    size = (size, size) if isinstance(size, int) else size
    if size not in (None, record.size):
        trained, wanted = ("x".join(map(str, pair)) for pair in (record.size, size))
        raise UsageError(
            f"{path} was trained with --img_size {trained}, not {wanted}; the model has separate "
            "statistics for each position in the picture, so train again for another size"
        )
