"""What bfloat16 costs in accuracy: `python -m benchmarks.bfloat16 --data_path D --category C`.

Float32 emulates the arithmetic, so that any processor can run it. As in oneDNN, weights (including
batch norm), inputs and results of every convolution are rounded to bfloat16, and sums stay in
float32. On a processor with bfloat16, `val.py --precision bf16` measures the real arithmetic.
The emulation is slow: it runs one convolution after the other in dygraph.
"""

from pathlib import Path

import numpy as np
import paddle
import paddle.nn.functional as F  # noqa: N812 - its usual name

from common.errors import run
from common.logs import start_logging
from common.options import Parser
from common.progress import progress
from datasets import mvtec
from datasets.loader import Loader
from datasets.transforms import Transform
from evaluation.figures import measure
from evaluation.report import table
from evaluation.testing import score_all
from models.engine import Engine
from models.factory import build_detector
from models.features import Features


def rounded(x: paddle.Tensor) -> paddle.Tensor:
    """float32 → the nearest bfloat16 (ties to even), as float32."""
    bits = x.numpy().view(np.uint32)
    nearest = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    return paddle.to_tensor(nearest.view(np.float32))


def folded(conv, norm) -> tuple[paddle.Tensor, paddle.Tensor]:
    """Weight and bias of a convolution with its batch norm, the weight rounded."""
    scale = norm.weight / paddle.sqrt(norm._variance + norm._epsilon)
    return rounded(conv.weight * scale.reshape([-1, 1, 1, 1])), norm.bias - norm._mean * scale


class Emulated:
    """The stages of a residual network of basic blocks, float32 [B,3,H,W] → chosen maps."""

    def __init__(self, features: Features):
        self.network, self.reduction = features.network, features.reduction
        self.folded = {}

    def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        network = self.network
        with paddle.no_grad():
            x = self._conv(rounded(paddle.to_tensor(images)), network.conv1, network.bn1)
            x, maps = network.maxpool(rounded(F.relu(x))), []
            for stage in network.computed:
                for block in getattr(network, stage):
                    x = self._block(x, block)
                maps.append(x.numpy())
        return [maps[i][:, self.reduction.by_stage[i]] for i in self.reduction.used]

    def _block(self, x, block):
        y = rounded(F.relu(self._conv(x, block.conv1, block.bn1)))
        if block.downsample is not None:
            x = rounded(self._conv(x, *block.downsample))
        return rounded(F.relu(self._conv(y, block.conv2, block.bn2) + x))

    def _conv(self, x, conv, norm):
        if conv not in self.folded:
            self.folded[conv] = folded(conv, norm)
        weight, bias = self.folded[conv]
        return F.conv2d(x, weight, bias, stride=conv._stride, padding=conv._padding)


def main() -> None:
    parser = Parser(__doc__.partition(":")[0])
    parser.add_argument("--data_path", type=Path, required=True, help="MVTec AD's layout")
    parser.add_argument("--category", required=True, help="a category folder in it")
    options = parser.parse_args()
    start_logging()
    category = mvtec.open_category(options.data_path, options.category)
    for name in ("float32", "bfloat16, emulated"):
        detector = build_detector(pretrained_backbone="embedded", engine=Engine(device="cpu"))
        if name != "float32":
            detector.features = Emulated(detector.features)
        size = {"size": lambda batch: len(batch.samples)}
        transform = Transform(detector.record.preprocessing)
        train = Loader(category.train, transform)
        detector.fit(batch.images for batch in progress(train, len(train), f"fit {name}", **size))
        test = Loader(category.test, transform, masks=True)
        batches = progress(test, len(test), f"validate {name}", **size)
        tested = score_all(detector.score, batches, lambda batch: None)
        print(f"{name}\n{table(measure(tested))}", flush=True)


if __name__ == "__main__":
    run(main)
