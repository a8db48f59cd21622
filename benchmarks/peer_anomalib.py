"""anomalib's PaDiM or PatchCore as a contender, an interface described in worker.py."""

from importlib.metadata import version
from pathlib import Path

import torch
from peer_torch import TorchContender, channels, load_weights  # must be imported before torchvision

# isort: split
from anomalib.models.image.padim.torch_model import PadimModel
from anomalib.models.image.patchcore.torch_model import PatchcoreModel


class Contender(TorchContender):
    def __init__(
        self,
        threads: int,
        workers: int,
        channels_last: bool,
        method: str = "padim",
        coreset_ratio: float | None = None,
    ):
        super().__init__(threads, workers, channels_last)
        self.method, self.coreset_ratio = method, coreset_ratio
        name = {"padim": "PadimModel", "patchcore": "PatchcoreModel"}[method]
        self.about = f"{version('anomalib')}, {self.about}; its {name} without the Engine"

    def _fitted(self, loader):
        """The same steps as `Engine.fit`, without the additional time of the Engine."""
        if self.method == "patchcore":
            return self._patchcore(loader)
        model = PadimModel("resnet18", ["layer1", "layer2", "layer3"], False, 100)
        load_weights(model.feature_extractor.feature_extractor)
        model.feature_extractor.feature_extractor.to(memory_format=self.layout)
        model.idx.copy_(channels())
        model.train()
        for images in loader:
            model(images)
        model.fit()
        return model

    def _patchcore(self, loader):
        model = PatchcoreModel(["layer2", "layer3"], "resnet18", pre_trained=False)
        load_weights(model.feature_extractor.feature_extractor)
        model.feature_extractor.feature_extractor.to(memory_format=self.layout)
        model.train()
        model.feature_extractor.eval()
        for images in loader:
            model(images)
        model.subsample_embedding(self.coreset_ratio)
        return model

    def _scores(self, images: torch.Tensor) -> torch.Tensor:
        return self.model(images).pred_score

    def save(self, folder: Path) -> dict[str, Path]:
        """The arrays of its checkpoint, and the file that its `ExportType.TORCH` writes."""
        files = {"saved": folder / "model.ckpt", "deployed": folder / "model.pt"}
        torch.save({"state_dict": self.model.state_dict()}, files["saved"])
        torch.save({"model": self.model}, files["deployed"])
        return files
