"""What the PyTorch peers share: our weights and channels, decoding, scoring loops.

Runs on the peers' interpreters and uses nothing of this project but its weights file.
"""

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

try:
    import torchvision
except RuntimeError:
    # torchvision's compiled part is missing or does not fit this PyTorch. It is not needed here,
    # but importing torchvision fails unless these two operators are declared.
    declared = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        declared.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision
from torchvision import transforms

WEIGHTS = Path(__file__).parent.parent / "models/weights/resnet18_tinyimagenet.safetensors"
BATCH = 32
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PREPARE = transforms.Compose(
    [
        transforms.Resize(256),
        transforms.CenterCrop(224),
        transforms.ToTensor(),
        transforms.Normalize(MEAN, STD),
    ]
)


def channels() -> torch.Tensor:
    """The channels that models/embedding.py chooses for d = 100 and seed 7."""
    return torch.from_numpy(np.sort(np.random.default_rng(7).permutation(448)[:100]))


def load_weights(network: torch.nn.Module) -> None:
    """Put our weights into a ResNet-18 with torchvision's names; layer4 and fc may be missing."""
    there = network.state_dict()
    state = {k: torch.from_numpy(v).float() for k, v in read_arrays(WEIGHTS).items() if k in there}
    unused = ("layer4", "fc", "num_batches_tracked")
    missing = [k for k in there if k not in state and not any(part in k for part in unused)]
    if missing:
        raise ValueError(f"{WEIGHTS} lacks {missing}")
    network.load_state_dict(state, strict=False)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The float16 arrays of a safetensors file; works without the package safetensors."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    arrays = {}
    for name, entry in json.loads(data[8:start]).items():
        if name == "__metadata__":
            continue
        if entry["dtype"] != "F16":
            raise ValueError(f"{path}: {name} is {entry['dtype']}, not F16")
        begin, end = entry["data_offsets"]
        values = np.frombuffer(data[start + begin : start + end], np.float16)
        arrays[name] = values.reshape(entry["shape"])
    return arrays


def picture(path: str) -> torch.Tensor:
    """float32 [3,224,224] of the file, normalised."""
    with Image.open(path) as image:
        return PREPARE(image.convert("RGB"))


class Pictures(Dataset):
    def __init__(self, paths: list[str]):
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        return picture(self.paths[index])


class TorchContender:
    """Everything but `_fitted`, `_scores` and `save`; `workers` processes decode (0: this one).

    The loader is a plain one: on 2 processors the peers' own data sets are not faster.
    """

    def __init__(self, threads: int, workers: int, channels_last: bool):
        torch.set_num_threads(threads)
        self.workers = workers
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.model = None
        versions = f"PyTorch {torch.__version__}, torchvision {torchvision.__version__}"
        layout = "channels-last; " if channels_last else ""
        self.about = f"{versions}; {layout}{workers} processes decode"

    def _loader(self, paths: list[str], batch: int) -> DataLoader:
        return DataLoader(Pictures(paths), batch, num_workers=self.workers)

    def fit(self, paths: list[str]) -> None:
        self.model = None  # frees memory that would otherwise count
        with torch.inference_mode():
            self.model = self._fitted(self._loader(paths, BATCH)).eval()

    def decode(self, paths: list[str]) -> torch.Tensor:
        return torch.stack([picture(path) for path in paths])

    def score_arrays(self, images: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return self._scores(images)

    def score_file(self, path: str) -> torch.Tensor:
        return self.score_arrays(picture(path)[None])

    def score_files(self, paths: list[str], batch: int) -> torch.Tensor:
        return torch.cat([self.score_arrays(images) for images in self._loader(paths, batch)])
