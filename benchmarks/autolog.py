"""Reports how long the steps of judging take, in the format of AutoLog, which TIPC uses."""

import logging
import multiprocessing
import os
import platform
import subprocess
import time
from collections.abc import Iterable, Iterator

import numpy as np

from common.errors import printable
from common.timing import peak_memory
from datasets.loader import Batch
from models.detector import Detector, Scores

logger = logging.getLogger(__name__)

STEPS = ("preprocess_time", "inference_time", "postprocess_time")


class Benchmark:
    """A context manager that measures three steps of each batch, one after the other.

    The steps are decoding and preprocessing; the graph; distances, maps and scores. `steps` holds
    their seconds, one row per batch. `auto_log` writes the report where it is installed,
    `log_report` otherwise.
    """

    def __init__(self, detector: Detector, batch_size: int, pictures: int):
        self.detector = detector
        largest = (min(batch_size, pictures), 3, *detector.size)
        detector.judge(detector.features(np.zeros(largest, np.float32)))  # warm-up
        record, config = detector.record, detector.features.predictor.config
        self.settings = {
            "model_name": f"{record.method}_{record.features.backbone}",
            "model_precision": detector.features.predictor.precision,
            "batch_size": batch_size,
            "data_shape": ",".join(map(str, (3, *detector.size))),
            "inference_config": config,
            "gpu_ids": 0 if config.use_gpu() else None,
        }
        self.auto_logger = _auto_logger(self.settings)
        self.steps: list[np.ndarray] = []
        self._stamps: list[float] = []

    def __enter__(self) -> "Benchmark":
        return self

    def __exit__(self, *_) -> None:
        """End the process in which AutoLog watches the memory: AutoLog itself may leave it."""
        for child in multiprocessing.active_children():
            child.kill()
            child.join()

    def batches(self, loader: Iterable[Batch]) -> Iterator[Batch]:
        """The batches of `loader`, which must decode in this thread and only when asked."""
        batches = iter(loader)
        while True:
            self._stamps = [time.perf_counter()]
            if self.auto_logger:
                self.auto_logger.times.start()
            if (batch := next(batches, None)) is None:
                return
            self._stamp()
            yield batch

    def score(self, images: np.ndarray) -> Scores:
        """The same as `Detector.score`."""
        maps = self.detector.maps(images)
        self._stamp()
        scores = self.detector.judge(maps)
        self._stamps.append(time.perf_counter())
        if self.auto_logger:
            self.auto_logger.times.end(stamp=True)
        self.steps.append(np.diff(self._stamps))
        return scores

    def _stamp(self) -> None:
        self._stamps.append(time.perf_counter())
        if self.auto_logger:
            self.auto_logger.times.stamp()

    def report(self, failed: bool) -> None:
        """Log the report.

        AutoLog's report may end the process with exit code 0, so it is not used if the run
        `failed`.
        """
        if not self.steps:
            logger.warning("nothing was judged: there are no times to report")
        elif failed or self.auto_logger is None:
            log_report(self.settings, self.steps)
        else:
            try:
                self.auto_logger.report()
            except SystemExit as exit:
                if exit.code not in (0, None):
                    raise


def _auto_logger(settings: dict):
    """An AutoLogger, or None where the package `auto_log` is missing or cannot be imported."""
    try:
        import auto_log
    except ImportError as error:
        if getattr(error, "name", None) != "auto_log":
            logger.warning("auto_log cannot be imported (%s): it does not write the report", error)
        return None
    more = {"save_path": None, "pids": os.getpid(), "process_name": None}
    more |= {"time_keys": list(STEPS), "warmup": 0, "logger": logger}
    return auto_log.AutoLogger(**settings, **more)


def log_report(settings: dict, steps: list[np.ndarray]) -> None:
    """Log AutoLog's sections and keys, spelled as AutoLog spells them.

    `settings` are those arguments of AutoLogger that describe the run; `inference_config` is that
    of a Predictor. Times are means over the batches, whose number is `data_num`; `total time spent`
    is their sum. `cpu_rss` is the peak memory of the process (AutoLog: a mean).
    """
    gpu = settings["gpu_ids"]
    used, busy, driver = (None, None, None) if gpu is None else _gpu(gpu)
    model = {"model_name": settings["model_name"], "precision": settings["model_precision"]}
    data = {"batch_size": settings["batch_size"], "input_shape": settings["data_shape"]}
    _log_section("Env", _lines(_environment(driver)))
    _log_section("Paddle", _lines(_paddle_version()))
    _log_section("Conf", _lines(_engine_settings(settings["inference_config"])))
    _log_section("Model", _lines(model))
    _log_section("Data", _lines({**data, "data_num": len(steps)}))
    peak = peak_memory()
    memory = None if peak is None else round(peak / 2**20, 4)
    means = zip(STEPS, 1000 * np.mean(steps, axis=0), strict=True)
    perf = [
        f"cpu_rss(MB): {memory}, gpu_rss(MB): {used}, gpu_util: {busy}%",
        f"total time spent(s): {np.sum(steps):.4f}",
        ", ".join(f"{step}(ms): {mean:.4f}" for step, mean in means),
    ]
    _log_section("Perf", perf)


def _environment(driver: str | None) -> dict:
    import paddle

    return {
        "OS_version": _system(),
        "CUDA_version": _built_with(paddle.version.cuda()),
        "CUDNN_version": _built_with(paddle.version.cudnn()),
        "drivier_version": driver,
    }


def _paddle_version() -> dict:
    import paddle

    return {
        "paddle_version": paddle.__version__,
        "paddle_commit": paddle.version.commit,
        "log_api_version": 1.0,
    }


def _engine_settings(config) -> dict:
    return {
        "runtime_device": "gpu" if config.use_gpu() else "cpu",
        "ir_optim": config.ir_optim(),
        "enable_memory_optim": False,  # never enabled; Paddle's Config has no getter
        "enable_tensorrt": config.tensorrt_engine_enabled(),
        "enable_mkldnn": config.mkldnn_enabled(),
        "cpu_math_library_num_threads": config.cpu_math_library_num_threads(),
    }


def _lines(values: dict) -> list[str]:
    return [f"{key}: {value}" for key, value in values.items()]


def _log_section(name: str, lines: list[str]) -> None:
    for line in (f" {name} info ".center(56, "-"), *lines):
        logger.info("%s", line)


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):  # not a Linux
        return platform.platform()


def _built_with(version: object) -> str | None:
    """`version`, None where it is Paddle's `False`, which builds for the CPU have."""
    return None if str(version) == "False" else str(version)


def _gpu(number: int) -> tuple:
    """Memory used in MB, use in percent and driver version of a GPU, from nvidia-smi."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    name = visible[number].strip() if number < len(visible) and visible[number] else number
    query = "--query-gpu=memory.used,utilization.gpu,driver_version"
    command = ["nvidia-smi", f"--id={name}", query, "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
        used, busy, driver = done.stdout.strip().split(", ")
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        logger.warning("nvidia-smi cannot describe GPU %d: %s", number, printable(error))
        return None, None, None
    return used, busy, driver
