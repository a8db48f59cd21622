"""Which device, and how many processors, a process uses."""

import os

import paddle
import pytest

from common.errors import UsageError
from models.device import choose_device, cpu_threads, parse_device


@pytest.mark.parametrize("text", ["auto", "cpu", "gpu", "gpu:0", "gpu:12"])
def test_devices(text):
    assert parse_device(text) == text


@pytest.mark.parametrize("text", ["", "cuda", "GPU", "gpu:", "gpu:x", "gpu:-1", "cpu:0", "gpu:0 "])
def test_other_devices_are_refused(text):
    with pytest.raises(ValueError, match="auto, cpu, gpu or gpu:N"):
        parse_device(text)


@pytest.mark.parametrize(
    ("text", "gpus", "device"),
    [
        ("cpu", 2, "cpu"),
        ("auto", 2, "gpu:0"),
        ("auto", 0, "cpu"),
        ("gpu", 1, "gpu:0"),
        ("gpu:1", 2, "gpu:1"),
    ],
)
def test_device_chosen_among_those_there_are(monkeypatch, text, gpus, device):
    monkeypatch.setattr(paddle, "is_compiled_with_cuda", lambda: True)
    monkeypatch.setattr(paddle.device.cuda, "device_count", lambda: gpus)
    assert choose_device(text) == device


@pytest.mark.parametrize(
    ("text", "device"), [("auto", "gpu:1"), ("gpu", "gpu:1"), ("gpu:0", "gpu:0")]
)
def test_each_launched_process_has_its_own_gpu(monkeypatch, text, device):
    monkeypatch.setattr(paddle, "is_compiled_with_cuda", lambda: True)
    monkeypatch.setattr(paddle.device.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("FLAGS_selected_gpus", "1")
    assert choose_device(text) == device


@pytest.mark.parametrize(("size", "threads"), [("1", 8), ("3", 2), ("16", 1), ("0", 8), ("x", 8)])
def test_launched_processes_share_the_processors(monkeypatch, size, threads):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setenv("PADDLE_LOCAL_SIZE", size)
    assert cpu_threads() == threads


@pytest.mark.parametrize("cuda", [True, False])
@pytest.mark.parametrize("text", ["gpu", "gpu:0", "gpu:3"])
def test_a_gpu_that_is_not_there_is_wrong_use(monkeypatch, text, cuda):
    monkeypatch.setattr(paddle, "is_compiled_with_cuda", lambda: cuda)
    monkeypatch.setattr(paddle.device.cuda, "device_count", lambda: 0)
    with pytest.raises(UsageError, match=f"device {text}: Paddle finds 0 GPUs"):
        choose_device(text)
