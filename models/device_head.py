"""Scores of a head on a GPU: the head's Paddle layer, run without a static graph.

This path cannot be tested on a machine without a GPU; its tests run the layers on the CPU.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import paddle
from paddle.base import core

from models.heads import Head, Maps

logger = logging.getLogger(__name__)

Found = tuple[np.ndarray | None, np.ndarray]  # as of `Head.score`


def scoring(head: Head, device: str) -> Callable[[Maps], Found]:
    """`head.score`, computed on `device` (cpu or gpu:N) if that is a GPU and the head has a layer.

    Without a layer NumPy computes the scores, and a message says so.
    """
    if device == "cpu":
        return head.score
    with current(device):
        layer = head.layer()
    if layer is None:
        logger.info("%s: this method computes its scores on the CPU", device)
        return head.score
    return LayerScores(layer, device)


class LayerScores:
    """The `score` of a head, computed by its `layer`, which was made on `device` (cpu or gpu:N).

    Called with stage maps float32 [B,c,h,w], finest first. Returns image scores float32 [B], or
    None, and patch scores float32 [B,h,w]. Several threads may call it, one after the other.
    """

    def __init__(self, layer, device: str):
        self.layer, self.device = layer, device
        self._lock = threading.Lock()

    def __call__(self, maps: Maps) -> Found:
        with self._lock, current(self.device), exact_products(), paddle.no_grad():
            # One picture at a time: a layer holds the distances of all places of a batch from a
            # part of what was learned, and the bound of this memory must not grow with the batch.
            found = [self._one([m[i : i + 1] for m in maps]) for i in range(len(maps[0]))]
        image, patches = zip(*found, strict=True)
        return None if image[0] is None else np.concatenate(image), np.concatenate(patches)

    def _one(self, maps: Maps) -> Found:
        tensors = [paddle.to_tensor(np.ascontiguousarray(stage, np.float32)) for stage in maps]
        image, patches = self.layer(tensors)
        return None if image is None else image.numpy(), patches.numpy()


@contextmanager
def current(device: str) -> Iterator[None]:
    """Makes `device` Paddle's current one, where new tensors are; afterwards the one before."""
    before = paddle.get_device()
    paddle.set_device(device)
    try:
        yield
    finally:
        paddle.set_device(before)


@contextmanager
def exact_products() -> Iterator[None]:
    """Products of matrices in float32 on a GPU.

    By default Paddle rounds their factors to TensorFloat-32, which has 10 bits: scores would differ
    from those of the CPU by 1e-3, and another patch could be the nearest.
    """
    if not hasattr(core, "set_cublas_switch"):  # Paddle without CUDA
        yield
        return
    before = core.get_cublas_switch()
    core.set_cublas_switch(False)
    try:
        yield
    finally:
        core.set_cublas_switch(before)
