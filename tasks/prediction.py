"""Judges pictures with a checkpoint."""

import argparse
from pathlib import Path

from inspection import Inspector
from models.options import engine_from, find_models
from tasks.chosen import Chosen
from tasks.judging import judge_all
from tasks.settings import answers_from, loading_from, watching_from
from tasks.watching import watch


def predict_all(options: argparse.Namespace) -> int:
    """Judge the pictures of --picture_path; returns the exit code."""
    models = find_models(options.model_path or (), Path("output"), options.category)
    answers, loading = answers_from(options), loading_from(options)
    settings = {
        "batch_size": loading.batch_size,
        "workers": loading.workers,
        "max_pixels": loading.max_pixels,
        "min_area": answers.min_area,
        **vars(answers.wanted),
    }
    if len(models) == 1:
        inspector = Inspector.open_checkpoint(models[0], engine_from(options), **settings)
    else:
        inspector = Inspector.open(models, engine_from(options), **settings)
    if watching := watching_from(options):
        return watch(inspector, watching, answers, options.category)
    output = answers.place(inspector.record.category, "predictions")
    usual = answers.save_path is None
    source = Chosen(options.picture_path, "picture_path", output, usual)
    return judge_all(inspector, source, answers, loading, options.category)
