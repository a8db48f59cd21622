"""infer.py --enable_benchmark: the report, written by AutoLog or by benchmarks/autolog.py."""

import multiprocessing
import os
import re
import shutil
import sys
import time
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from benchmarks import autolog
from tests.conftest import call

pytestmark = pytest.mark.process

SECTIONS = {
    "Env": ["OS_version", "CUDA_version", "CUDNN_version", "drivier_version"],
    "Paddle": ["paddle_version", "paddle_commit", "log_api_version"],
    "Conf": [
        *("runtime_device", "ir_optim", "enable_memory_optim", "enable_tensorrt"),
        *("enable_mkldnn", "cpu_math_library_num_threads"),
    ],
    "Model": ["model_name", "precision"],
    "Data": ["batch_size", "input_shape", "data_num"],
    "Perf": ["cpu_rss(MB)", "total time spent(s)", "preprocess_time(ms)"],
}


def infer(folder, pictures, *arguments):
    options = ("--model_dir", folder, "--enable_benchmark", "True", *arguments)
    return call("infer", "--input_file", pictures, *options)


def sections(text: str) -> dict[str, dict[str, str]]:
    """The report's keys and values by section."""
    parts = re.split(r"-{5,} (\w+) info -{5,}\n", text)[1:]
    return {
        name: dict(line.split(": ", 1) for line in body.splitlines() if ": " in line)
        for name, body in zip(parts[::2], parts[1::2], strict=True)
    }


def test_the_report_has_autologs_sections_and_keys(exported, demo):
    pictures = demo / "flange/test/chip"
    start = time.perf_counter()
    result = infer(exported, pictures, "-b", 1, "--cpu_threads", 1, "--no-enable_mkldnn")
    spent = time.perf_counter() - start
    assert result.code == 0 and len(result.lines) == 2
    report = sections(result.err)
    assert {name: list(values) for name, values in report.items()} == SECTIONS
    assert report["Model"] == {"model_name": "padim_resnet18", "precision": "fp32"}
    assert report["Data"] == {"batch_size": "1", "input_shape": "3,64,64", "data_num": "2"}
    conf = report["Conf"]
    assert (conf["runtime_device"], conf["enable_mkldnn"], conf["enable_tensorrt"]) == (
        *("cpu", "False", "False"),
    )
    assert conf["cpu_math_library_num_threads"] == "1"
    total = float(report["Perf"]["total time spent(s)"])
    means = [float(v) for v in re.findall(r"_time\(ms\): ([\d.]+)", result.err)]
    assert len(means) == 3 and all(mean > 0 for mean in means)
    assert 2 * sum(means) / 1000 == pytest.approx(total, abs=2e-4)  # two batches of one
    assert 0 < total < spent
    assert float(report["Perf"]["cpu_rss(MB)"].split(",")[0]) > 100


def test_an_onnx_graph_is_reported_too(trained, demo, tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("paddle2onnx")
    options = ("--model_path", trained / "flange", "--format", "onnx")
    assert call("export_model", "--save_dir", tmp_path, *options).code == 0
    result = infer(tmp_path, demo / "flange/test/chip", "--cpu_threads", 1)
    assert result.code == 0, result.err
    conf = sections(result.err)["Conf"]
    assert (conf["enable_mkldnn"], conf["cpu_math_library_num_threads"]) == ("False", "1")


class Config:
    """What AutoLog asks of Paddle's Config."""

    def use_gpu(self):
        return True

    def mkldnn_enabled(self):
        return False

    def cpu_math_library_num_threads(self):
        return 1

    ir_optim, tensorrt_engine_enabled = use_gpu, use_gpu


def test_each_step_has_a_time_of_its_own(monkeypatch):
    """Decoding takes 1 s, the graph 10 s, the scores 100 s, by a clock that only they advance."""
    now = 0
    monkeypatch.setattr(autolog.time, "perf_counter", lambda: now)

    def takes(seconds, result):
        nonlocal now
        now += seconds
        return result

    def features(images):
        return takes(10, images)

    features.predictor = SimpleNamespace(config=Config(), precision="fp32")
    detector = SimpleNamespace(
        size=(2, 2),
        features=features,
        maps=features,
        judge=lambda maps: takes(100, maps.sum()),
        record=SimpleNamespace(method="padim", features=SimpleNamespace(backbone="resnet18")),
    )
    with autolog.Benchmark(detector, 4, 2) as timed:
        loader = (takes(1, np.full(3, i)) for i in (5, 7))
        assert [timed.score(batch) for batch in timed.batches(loader)] == [15, 21]
    assert np.array_equal(timed.steps, [[1, 10, 100], [1, 10, 100]])


def test_a_gpus_memory_comes_from_its_drivers_tool(tmp_path, monkeypatch, caplog):
    tool = tmp_path / "nvidia-smi"
    tool.write_text('#!/bin/sh\necho "$1 $2" > "$0.arguments"\necho "1234, 87, 550.54"\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    settings = {"model_name": "padim_resnet18", "model_precision": "fp16", "batch_size": 8}
    settings |= {"data_shape": "3,64,64", "inference_config": Config(), "gpu_ids": 0}
    with caplog.at_level("INFO"):
        autolog.log_report(settings, [np.array([0.1, 0.2, 0.3])])
    assert "gpu_rss(MB): 1234, gpu_util: 87%" in caplog.text
    assert "drivier_version: 550.54" in caplog.text and "runtime_device: gpu" in caplog.text
    assert (tmp_path / "nvidia-smi.arguments").read_text().startswith("--id=0 --query-gpu=memory")


class AutoLogger:
    """Has AutoLog's interface; keeps what it is told, in `last`."""

    last, code = None, 0

    def __init__(
        self,
        model_name,
        model_precision="fp32",
        batch_size=1,
        data_shape="dynamic",
        save_path=None,
        inference_config=None,
        pids=None,
        process_name=None,
        gpu_ids=None,
        time_keys=("preprocess_time", "inference_time", "postprocess_time"),
        warmup=0,
        logger=None,
    ):
        self.told = dict(locals())
        self.asked = (
            inference_config.use_gpu(),
            inference_config.ir_optim(),
            inference_config.tensorrt_engine_enabled(),
            inference_config.mkldnn_enabled(),
            inference_config.cpu_math_library_num_threads(),
        )
        self.times, self.events = self, []
        self.watcher = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(60,))
        self.watcher.start()
        AutoLogger.last = self

    def start(self):
        self.events.append("start")

    def stamp(self):
        self.events.append("stamp")

    def end(self, stamp=False):
        self.events.append(f"end {stamp}")

    def report(self):
        self.events.append("report")
        raise SystemExit(self.code)


@pytest.fixture
def auto_log(monkeypatch):
    module, AutoLogger.code = ModuleType("auto_log"), 0
    module.AutoLogger = AutoLogger
    monkeypatch.setitem(sys.modules, "auto_log", module)
    monkeypatch.setattr(AutoLogger, "last", None)


def test_autolog_makes_the_report_where_it_is_installed(exported, demo, auto_log):
    result = infer(exported, demo / "flange/test/chip", "-b", 1, "--cpu_threads", 2)
    assert result.code == 0 and len(result.lines) == 2
    recorder = AutoLogger.last
    batch = ["start", "stamp", "stamp", "end True"]
    assert recorder.events == [*batch, *batch, "start", "report"]
    told = {key: recorder.told[key] for key in ("model_name", "model_precision", "batch_size")}
    assert told == {"model_name": "padim_resnet18", "model_precision": "fp32", "batch_size": 1}
    assert (recorder.told["data_shape"], recorder.told["gpu_ids"]) == ("3,64,64", None)
    assert recorder.told["pids"] == os.getpid()
    assert recorder.asked == (False, True, False, True, 2)
    assert "Perf info" not in result.err  # AutoLog's report alone
    assert not recorder.watcher.is_alive()


def test_a_failure_of_autolog_itself_shows(exported, demo, auto_log):
    AutoLogger.code = 3
    assert infer(exported, demo / "flange/test/chip").code == 3


def test_a_failure_leaves_its_own_code_whatever_autolog_does(exported, demo, auto_log, tmp_path):
    pictures = shutil.copytree(demo / "flange/test/chip", tmp_path / "pictures")
    (pictures / "000.png").write_bytes(b"no picture")
    result = infer(exported, pictures)
    assert result.code == 1 and len(result.lines) == 1
    assert "report" not in AutoLogger.last.events  # it might end the process at once
    assert sections(result.err)["Data"]["data_num"] == "1"
    assert not AutoLogger.last.watcher.is_alive()


def test_an_error_midway_leaves_no_process_behind(exported, demo, auto_log, monkeypatch):
    def broken(*_):
        raise OSError(28, "No space left on device", "map.npy")

    monkeypatch.setattr("benchmarks.autolog.Benchmark.score", broken)
    result = infer(exported, demo / "flange/test/chip")
    assert result.code == 1 and "map.npy" in result.err
    assert not AutoLogger.last.watcher.is_alive()


def test_an_autolog_that_cannot_be_imported_is_named(exported, demo, monkeypatch, tmp_path):
    (tmp_path / "auto_log.py").write_text("import a_package_that_is_missing\n")
    monkeypatch.syspath_prepend(tmp_path)
    result = infer(exported, demo / "flange/test/chip")
    assert result.code == 0 and "a_package_that_is_missing" in result.err
    assert "Perf" in sections(result.err)


def test_without_a_picture_there_are_no_times(exported, tmp_path):
    (tmp_path / "000.png").write_bytes(b"no picture")
    result = infer(exported, tmp_path, "--skip_bad")
    assert result.code == 0 and "no times to report" in result.err
