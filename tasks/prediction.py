"""Judge pictures with a checkpoint."""

from pathlib import Path

from models import load_detector
from models.options import engine_from, find_model
from tasks.judging import judge_all, source_for
from tasks.runs import read_record


def predict_all(options) -> int:
    """Judge what --picture_path names; the exit code."""
    model = find_model(options.model_path, Path("output"), options.category)
    record, preprocessing = read_record(model)
    source = source_for(
        options, options.picture_path, "--picture_path", record, model, "predictions"
    )
    engine = engine_from(options)
    return judge_all(lambda: load_detector(model, **engine), preprocessing, source, options)
