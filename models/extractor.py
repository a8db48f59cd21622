"""Runs the frozen network: the one place that knows how.

On a CPU the network becomes a static graph that Paddle Inference runs with oneDNN, several
times faster than dygraph (docs/benchmarks.md). On a GPU dygraph runs it.
"""

import tempfile
from pathlib import Path

import numpy as np
import paddle

from common.errors import raise_on_termination
from models.device import cpu_threads

# Paddle's own handler of SIGTERM writes a C++ dump to stdout, among our results.
raise_on_termination()


# Pictures in one run of the static graph: enough to be fast; more would only need more memory.
AT_ONCE = 8


class Extractor:
    """`network` (a paddle Layer: [B,3,H,W] → list of maps) on `device`, for pictures of `size`."""

    def __init__(self, network: paddle.nn.Layer, size: tuple[int, int], device: str):
        network.eval()
        self._run = _dygraph(network, device) if device != "cpu" else _static(network, size)

    def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        """Normalised pictures float32 [B,3,H,W] → maps, float32."""
        return self._run(np.ascontiguousarray(images, np.float32))


def _dygraph(network: paddle.nn.Layer, device: str):
    paddle.set_device(device)
    network.to(device)

    def run(images):
        with paddle.no_grad():
            return [stage.numpy() for stage in network(paddle.to_tensor(images))]

    return run


def _static(network: paddle.nn.Layer, size: tuple[int, int]):
    from paddle import inference

    spec = [paddle.static.InputSpec([None, 3, *size], "float32", "image")]
    with tempfile.TemporaryDirectory() as folder:
        graph = paddle.jit.to_static(network, full_graph=True, input_spec=spec)
        paddle.jit.save(graph, f"{folder}/network")
        # Paddle 3 writes .json, Paddle 2 .pdmodel.
        model = next(p for p in Path(folder).iterdir() if p.suffix in (".json", ".pdmodel"))
        config = inference.Config(str(model), f"{folder}/network.pdiparams")
        config.disable_gpu()
        config.disable_glog_info()
        config.enable_mkldnn()
        config.set_cpu_math_library_num_threads(cpu_threads())
        predictor = inference.create_predictor(config)
    source = predictor.get_input_handle(predictor.get_input_names()[0])

    outputs = [predictor.get_output_handle(name) for name in predictor.get_output_names()]

    def run(images):
        parts = []
        for start in range(0, len(images), AT_ONCE):
            source.copy_from_cpu(images[start : start + AT_ONCE])
            predictor.run()
            parts.append([output.copy_to_cpu() for output in outputs])
        return [np.concatenate(maps) for maps in zip(*parts, strict=True)]

    return run
