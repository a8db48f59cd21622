"""How long the steps of judging take, reported as AutoLog does, TIPC's recorder of times."""

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
from models.deployed import Deployed
from models.scoring import Scores

logger = logging.getLogger(__name__)

STEPS = ("preprocess_time", "inference_time", "postprocess_time")


class Benchmark:
    """Takes the times of each batch, one step after the other; a context manager.

    The steps: decoding and preprocessing; the graph; distances, maps and scores. `auto_log` makes
    the report where it is installed, else `Recorder`, with the same sections and keys.
    """

    def __init__(self, detector: Deployed, precision: str, batch_size: int, pictures: int):
        self.detector = detector
        largest = (min(batch_size, pictures), 3, *detector.size)
        detector.judge(detector.graph(np.zeros(largest, np.float32)))  # the warm-up
        record, config = detector.record, detector.graph.config
        settings = {
            "model_name": f"{record['method']}_{record['backbone']}",
            "model_precision": precision,
            "batch_size": batch_size,
            "data_shape": ",".join(map(str, (3, *detector.size))),
            "inference_config": config,
            "gpu_ids": 0 if config.use_gpu() else None,
        }
        self.recorders = [Recorder(**settings)]
        try:
            import auto_log
        except ImportError as error:
            if getattr(error, "name", None) != "auto_log":
                logger.warning("auto_log cannot be imported (%s): the report is our own", error)
            return
        more = {"save_path": None, "pids": os.getpid(), "process_name": None}
        more |= {"time_keys": list(STEPS), "warmup": 0, "logger": logger}
        self.recorders.append(auto_log.AutoLogger(**settings, **more))

    def __enter__(self) -> "Benchmark":
        return self

    def __exit__(self, *_) -> None:
        """AutoLog watches the memory from a process of its own, which nothing else may end."""
        for child in multiprocessing.active_children():
            child.kill()
            child.join()

    def batches(self, loader: Iterable[Batch]) -> Iterator[Batch]:
        """The batches of a `loader` that decodes in this thread, as they are asked for."""
        batches = iter(loader)
        while True:
            for recorder in self.recorders:
                recorder.times.start()
            if (batch := next(batches, None)) is None:
                return
            self._stamp()
            yield batch

    def score(self, images: np.ndarray) -> Scores:
        """What `Deployed.score` gives."""
        outputs = self.detector.graph(images)
        self._stamp()
        scores = self.detector.judge(outputs)
        for recorder in self.recorders:
            recorder.times.end(stamp=True)
        return scores

    def _stamp(self) -> None:
        for recorder in self.recorders:
            recorder.times.stamp()

    def report(self, failed: bool) -> None:
        """Log the report. AutoLog's may end the process as if all were well: not if it `failed`."""
        own = self.recorders[0]
        if not own.times.batches:
            logger.warning("nothing was judged: there are no times to report")
            return
        try:
            (own if failed else self.recorders[-1]).report()
        except SystemExit as exit:
            if exit.code not in (0, None):
                raise


class Times:
    """Wall times in seconds: `start`, a `stamp` behind each step, `end` for the batch."""

    def __init__(self):
        self.batches: list[np.ndarray] = []
        self._stamps: list[float] = []

    def start(self) -> None:
        self._stamps = [time.perf_counter()]

    def stamp(self) -> None:
        self._stamps.append(time.perf_counter())

    def end(self, stamp: bool = False) -> None:
        if stamp:
            self.stamp()
        self.batches.append(np.diff(self._stamps))


class Recorder:
    """AutoLog's report without AutoLog; `inference_config` is that of a `Graph`.

    Times are means over the batches, `data_num` of them, and `total time spent` is their sum.
    `cpu_rss` is the most memory the process ever held (AutoLog: a mean). Keys as AutoLog spells
    them.
    """

    def __init__(
        self, model_name, model_precision, batch_size, data_shape, inference_config, gpu_ids
    ):
        self.times = Times()
        self.model = {"model_name": model_name, "precision": model_precision}
        self.data = {"batch_size": batch_size, "input_shape": data_shape}
        self.config, self.gpu = inference_config, gpu_ids

    def report(self) -> None:
        import paddle

        used, busy, driver = (None,) * 3 if self.gpu is None else _gpu(self.gpu)
        steps = np.array(self.times.batches)
        peak = peak_memory()
        memory = None if peak is None else round(peak / 2**20, 4)
        means = zip(STEPS, 1000 * steps.mean(axis=0), strict=True)
        env = {
            "OS_version": _system(),
            "CUDA_version": _built_with(paddle.version.cuda()),
            "CUDNN_version": _built_with(paddle.version.cudnn()),
            "drivier_version": driver,
        }
        version = {
            "paddle_version": paddle.__version__,
            "paddle_commit": paddle.version.commit,
            "log_api_version": 1.0,
        }
        perf = (
            f"cpu_rss(MB): {memory}, gpu_rss(MB): {used}, gpu_util: {busy}%",
            f"total time spent(s): {steps.sum():.4f}",
            ", ".join(f"{step}(ms): {mean:.4f}" for step, mean in means),
        )
        _section("Env", _lines(env))
        _section("Paddle", _lines(version))
        _section("Conf", _lines(self._settings()))
        _section("Model", _lines(self.model))
        _section("Data", _lines({**self.data, "data_num": len(steps)}))
        _section("Perf", perf)

    def _settings(self) -> dict:
        return {
            "runtime_device": "gpu" if self.config.use_gpu() else "cpu",
            "ir_optim": self.config.ir_optim(),
            "enable_memory_optim": False,  # never asked for: Paddle's Config does not tell
            "enable_tensorrt": self.config.tensorrt_engine_enabled(),
            "enable_mkldnn": self.config.mkldnn_enabled(),
            "cpu_math_library_num_threads": self.config.cpu_math_library_num_threads(),
        }


def _section(name: str, lines: Iterable[str]) -> None:
    logger.info("%s", f" {name} info ".center(56, "-"))
    for line in lines:
        logger.info("%s", line)


def _lines(values: dict) -> Iterator[str]:
    return (f"{key}: {value}" for key, value in values.items())


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):  # not a Linux
        return platform.platform()


def _built_with(version: object) -> str | None:
    """Paddle's builds for the CPU answer `False`."""
    return None if str(version) == "False" else str(version)


def _gpu(number: int) -> tuple:
    """Memory used in MB, use in percent and the driver of a GPU, as its driver's tool tells."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    name = visible[number].strip() if number < len(visible) and visible[number] else number
    query = "--query-gpu=memory.used,utilization.gpu,driver_version"
    command = ["nvidia-smi", f"--id={name}", query, "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
        used, busy, driver = done.stdout.strip().split(", ")
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        logger.warning("nvidia-smi does not tell of GPU %d: %s", number, printable(error))
        return None, None, None
    return used, busy, driver
