"""AnomaVision's PaDiM as a contender, an interface described in worker.py."""

from importlib.metadata import version
from pathlib import Path

import torch
from peer_torch import TorchContender, channels, load_weights  # must be imported before torchvision

# isort: split
import anomavision
from anomavision.algorithm.common import feature_extraction
from anomavision.utils import adaptive_gaussian_blur


class Contender(TorchContender):
    def __init__(self, threads: int, workers: int, channels_last: bool):
        super().__init__(threads, workers, channels_last)
        # Remove its own weights: it would download them.
        build, _ = feature_extraction.BACKBONES["resnet18"]
        feature_extraction.BACKBONES["resnet18"] = build, None
        form = "the deployed form is in half precision, and without the network"
        self.about = f"{version('anomavision')}, {self.about}; {form}"

    def _fitted(self, loader):
        model = anomavision.Padim(
            "resnet18", channel_indices=channels(), layer_indices=[0, 1, 2], feat_dim=100
        )
        load_weights(model.embeddings_extractor.backbone)
        model.embeddings_extractor.backbone.to(memory_format=self.layout)
        model.fit(loader)
        return model

    def _scores(self, images: torch.Tensor) -> torch.Tensor:
        """Image scores are of the unsmoothed map. Smoothing counts too: it is what users see."""
        scores, maps = self.model.predict(images)
        adaptive_gaussian_blur(maps, kernel_size=33, sigma=4)
        return scores

    def save(self, folder: Path) -> dict[str, Path]:
        """Both files that its train.py writes: the model, and statistics in half precision."""
        files = {"saved": folder / "model.pt", "deployed": folder / "model.pth"}
        torch.save(self.model, files["saved"])
        self.model.save_statistics(str(files["deployed"]), half=True)
        return files
