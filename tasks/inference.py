"""Judges pictures with exported files."""

import argparse
import logging
from pathlib import Path

from common.errors import UsageError
from common.transaction import current, settle
from inspection import Inspector
from models.engine import Engine
from models.open_export import GRAPHS, ExportedFiles
from tasks.chosen import Chosen
from tasks.judging import judge_all, judge_timed
from tasks.settings import answers_from, loading_from, watching_from
from tasks.watching import watch

logger = logging.getLogger(__name__)


def infer_all(options: argparse.Namespace) -> int:
    """Judge the pictures of --input_file; returns the exit code."""
    files = find_files(options)
    answers, loading = answers_from(options), loading_from(options)
    engine = Engine(
        device="gpu" if options.use_gpu else "cpu",
        precision=options.precision,
        threads=options.cpu_threads,
        gpu_memory=options.gpu_mem,
        ir_optim=options.ir_optim,
        mkldnn=options.enable_mkldnn,
        tensorrt_batch=options.batch_size if options.use_tensorrt else 0,
    )
    inspector = Inspector.open_exported(
        files,
        engine,
        batch_size=loading.batch_size,
        workers=0 if options.enable_benchmark else loading.workers,
        max_pixels=loading.max_pixels,
        min_area=answers.min_area,
        **vars(answers.wanted),
    )
    if watching := watching_from(options):
        if options.enable_benchmark:
            raise UsageError("does not work with --watch; omit one", "enable_benchmark")
        return watch(inspector, watching, answers, options.category)
    output = answers.place(inspector.record.category, "inference")
    usual = answers.save_path is None
    source = Chosen(options.input_file, "input_file", output, usual)
    if options.enable_benchmark:
        return judge_timed(inspector, source, answers, loading, options.category)
    return judge_all(inspector, source, answers, loading, options.category)


def find_files(options: argparse.Namespace) -> ExportedFiles:
    """The graph, its parameters and the distribution that the options name; UsageError."""
    if options.model_file is None:
        try:
            files = ExportedFiles.within(options.model_dir)
        except UsageError as error:
            raise UsageError(error, "model_dir") from error
        model = files.model
    else:
        model = _twin(options.model_file)
    if model.suffix not in GRAPHS:
        raise UsageError(
            f"{model}: expected a graph file with one of the endings {', '.join(GRAPHS)}",
            "model_file",
        )
    return ExportedFiles.beside(model, options.params_file, options.distribution)


def _twin(model: Path) -> Path:
    """`model`; if it does not exist, the same graph in the format of the other Paddle version."""
    other = {".json": ".pdmodel", ".pdmodel": ".json"}.get(model.suffix)
    settle(model.parent)
    if current(model) or other is None or not current(twin := model.with_suffix(other)):
        return model
    logger.info("%s does not exist; using %s", model, twin)
    return twin
