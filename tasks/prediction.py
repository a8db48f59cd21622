"""Judges pictures with a checkpoint."""

import argparse
from pathlib import Path

from inspection import Inspector
from models.options import engine_from, find_model
from tasks.judging import Source, judge_all
from tasks.settings import answers_from, loading_from


def predict_all(options: argparse.Namespace) -> int:
    """Judge the pictures of --picture_path; returns the exit code."""
    model = find_model(options.model_path, Path("output"), options.category)
    answers, loading = answers_from(options), loading_from(options)
    inspector = Inspector.open_checkpoint(
        model,
        engine_from(options),
        batch_size=loading.batch_size,
        workers=loading.workers,
        max_pixels=loading.max_pixels,
        min_area=answers.min_area,
        **vars(answers.wanted),
    )
    source = Source(
        options.picture_path,
        "picture_path",
        answers.place(inspector.record.category, "predictions"),
    )
    return judge_all(inspector, source, answers, loading, options.category)
