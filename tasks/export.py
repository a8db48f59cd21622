"""Turn a checkpoint into the files that are deployed."""

import logging
from pathlib import Path

from common.errors import UsageError
from common.files import writable_folder
from models import load_detector
from models.options import find_model
from tasks.runs import log_weights, read_record

logger = logging.getLogger(__name__)


def export_model(options, backbone: str | None) -> int:
    """Export the model that the options name; prints the files written, a line each."""
    path = find_model(options.model_path, Path("output"), options.category)
    record, _ = read_record(path)
    _agree(record, options, backbone, path)
    folder = writable_folder(options.save_dir, "--save_dir")
    log_weights(record)
    from models.export import export  # after the checks: it imports Paddle

    detector = load_detector(path, device="cpu")
    onnx = options.format == "onnx"
    for file in export(detector, folder, options.fused, onnx, options.distribution_dtype):
        logger.info("%s: %.1f MB", file, file.stat().st_size / 1e6)
        print(file)
    return 0


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
