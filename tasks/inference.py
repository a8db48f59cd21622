"""Judge pictures with exported files."""

import logging
from pathlib import Path

from common.errors import UsageError
from models.checkpoint import DISTRIBUTION
from models.options import GRAPHS
from tasks.judging import judge_all, source_for
from tasks.runs import read_record

logger = logging.getLogger(__name__)


def infer_all(options) -> int:
    """Judge what --input_file names; the exit code."""
    model, params, distribution = find_files(options)
    record, preprocessing = read_record(distribution, DISTRIBUTION)
    source = source_for(
        options, options.input_file, "--input_file", record, distribution, "inference"
    )

    def open_detector():
        from models.deployed import open_deployed  # imports Paddle; the pictures decode meanwhile
        from models.extractor import Engine

        engine = Engine(
            device="gpu" if options.use_gpu else "cpu",
            precision=options.precision,
            threads=options.cpu_threads,
            gpu_memory=options.gpu_mem,
            ir_optim=options.ir_optim,
            mkldnn=options.enable_mkldnn,
            tensorrt_batch=options.batch_size if options.use_tensorrt else 0,
        )
        return open_deployed(model, params, distribution, engine)

    return judge_all(open_detector, preprocessing, source, options, options.enable_benchmark)


def find_files(options) -> tuple[Path, Path | None, Path]:
    """Graph, parameters (None for ONNX, which holds them itself) and distribution."""
    model = options.model_file
    if model is None:
        candidates = [options.model_dir / f"model{suffix}" for suffix in GRAPHS]
        model = next((path for path in candidates if path.exists()), None)
        if model is None:
            raise UsageError(
                f"--model_dir {options.model_dir}: no model.json, model.pdmodel or model.onnx in "
                "it; export_model.py writes them"
            )
    if model.suffix not in GRAPHS:
        raise UsageError(f"--model_file {model}: expected a graph, {', '.join(GRAPHS)}")
    model = _twin(model)
    params = options.params_file or model.with_suffix(".pdiparams")
    for path, option in ((model, "--model_file"), (params, "--params_file")):
        if not path.is_file() and not (path is params and model.suffix == ".onnx"):
            raise UsageError(f"{option} {path}: no such file; export_model.py writes it")
    distribution = options.distribution or model.parent / "distribution"
    return model, None if model.suffix == ".onnx" else params, distribution


def _twin(model: Path) -> Path:
    """`model`, or where it is missing the same graph as the other Paddle writes it."""
    other = {".json": ".pdmodel", ".pdmodel": ".json"}.get(model.suffix)
    if model.exists() or other is None or not (twin := model.with_suffix(other)).exists():
        return model
    logger.info("%s is not there, %s is", model, twin)
    return twin
