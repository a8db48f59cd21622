"""Judge pictures with a checkpoint."""

import logging
from pathlib import Path

from models import load_detector
from models.options import engine_from, find_model
from tasks.judging import Source, judge_all
from tasks.runs import log_weights, read_record

logger = logging.getLogger(__name__)


def predict_all(options) -> int:
    """Judge what --picture_path names; the exit code."""
    model = find_model(options.model_path, Path("output"), options.category)
    record, preprocessing = read_record(model)
    category = record["category"]
    if options.category not in (None, category):
        logger.warning("%s was trained on category %s", model, category)
    output = options.save_path or Path("output") / category / "predictions"
    source = Source(options.picture_path, "--picture_path", output)
    log_weights(record)
    engine = engine_from(options)
    return judge_all(lambda: load_detector(model, **engine), preprocessing, source, options)
