"""PaDiM: patch distribution modelling (Defard et al. 2020, arXiv 2011.08785)."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import paddle
from paddle import nn

from common.errors import UsageError, WorkError
from common.timing import phase
from models.anomaly_map import AnomalyMap, image_scores
from models.backbones import resnet, weights
from models.device import choose_device, total_memory
from models.embedding import PatchEmbedding
from models.extractor import Extractor
from models.gaussian import PatchGaussian

LAYERS = ("layer1", "layer2", "layer3")


@dataclass(frozen=True)
class Scores:
    """`image` float32 [B]: one score a picture; `map` float32 [B,H,W]: one a pixel."""

    image: np.ndarray
    map: np.ndarray


class PaDiM:
    """Detector of the paper: backbone → embedding → Gaussian → anomaly map.

    `record` is what the checkpoint remembers beside the arrays: backbone, weights, picture
    size, and what the entry scripts add (`category`, `preprocessing`, `calibration`).
    """

    method = "padim"

    def __init__(self, network: nn.Layer, embedding: PatchEmbedding, record: dict, device: str):
        self.record = record
        self.embedding = embedding
        self.network = network
        self.size = tuple(record["image_size"])
        self._extract = Extractor(_Selection(network, embedding), self.size, device)
        self.grid = network.grid(self.size)
        self._to_map = AnomalyMap(self.grid, self.size, record["sigma"])
        self.gaussian = None

    @classmethod
    def build(
        cls,
        backbone: str = "resnet18",
        pretrained_backbone: str | None = None,
        dims: int = 100,
        seed: int = 7,
        image_size: tuple[int, int] = (224, 224),
        device: str = "auto",
        epsilon: float = 0.01,
        sigma: float = 4.0,
    ) -> "PaDiM":
        """A detector for normalised pictures of `image_size` (H,W), before `fit`.

        `dims` channels are drawn by `seed`; `epsilon` regularises the covariance and `sigma`
        (pixels) smooths the map, both as in the paper.
        """
        found = weights.find(backbone, pretrained_backbone)
        network = resnet.ResNet(backbone, LAYERS)
        resnet.set_weights(network, found.state)
        try:
            embedding = PatchEmbedding.draw(network.stage_channels, dims, seed)
        except ValueError as error:
            raise UsageError(f"--dims {dims}: {error}") from error
        record = {
            "method": cls.method,
            "backbone": backbone,
            "layers": list(LAYERS),
            "weights": {"name": found.name, "sha256": found.sha256, "origin": found.origin},
            "dims": dims,
            "seed": seed,
            "image_size": list(image_size),
            "epsilon": epsilon,
            "sigma": sigma,
            "calibration": None,
        }
        return cls(network, embedding, record, choose_device(device))

    def fit(self, batches: Iterable[np.ndarray]) -> None:
        """Learn from normal pictures, float32 [B,3,H,W] a batch, in one pass."""
        gaussian = None
        for images in batches:
            embedding = self._embed(images)
            with phase("statistics"):
                if gaussian is None:
                    self._require_memory()
                    gaussian = PatchGaussian(*embedding.shape[1:], self.record["epsilon"])
                gaussian.update(embedding)
        n = gaussian.n if gaussian else 0
        if n < 2:
            raise UsageError(f"training needs at least 2 good pictures, there were {n}")
        with phase("inversion"):
            try:
                gaussian.finalize()
            except (FloatingPointError, np.linalg.LinAlgError) as error:
                name = self.record["weights"]["name"]
                raise WorkError(
                    f"the embeddings have no covariance ({error}); are {name} the right weights?"
                ) from error
        self.gaussian = gaussian
        self.record["n"] = n

    def score(self, images: np.ndarray) -> Scores:
        """Scores of pictures float32 [B,3,H,W]; each depends on its picture alone."""
        embedding = self._embed(images)
        with phase("scoring"):
            distance = self.gaussian.mahalanobis(embedding)
            maps = self._to_map(distance.reshape(len(images), *self.grid))
            scores = Scores(image_scores(maps), maps)
        if not np.isfinite(scores.image).all():
            raise WorkError("scores are not finite: the model is damaged; train it again")
        return scores

    def _embed(self, images: np.ndarray) -> np.ndarray:
        if images.ndim != 4 or images.shape[1:] != (3, *self.size) or images.dtype != np.float32:
            raise ValueError(
                f"expected normalised float32 pictures [B,3,{self.size[0]},{self.size[1]}], "
                f"got {images.dtype} {images.shape}"
            )
        with phase("network"):
            maps = self._extract(images)
        with phase("embedding"):
            return self.embedding.assemble(maps, self.grid)

    def _require_memory(self) -> None:
        """Statistics that can never fit are an error now, not a killed process later."""
        h, w = self.grid
        need, there = 4 * h * w * self.embedding.dims**2, total_memory()
        if there is not None and need > 0.9 * there:
            raise UsageError(
                f"--img_size {self.size[0]}x{self.size[1]} with --dims {self.embedding.dims} needs "
                f"{need / 1e9:.1f} GB of statistics, there are {there / 1e9:.1f} GB; lower either"
            )

    @property
    def score_scale(self) -> float:
        """√d: the root-mean-square distance of training patches from their own Gaussian."""
        return float(np.sqrt(self.embedding.dims))

    def state(self) -> tuple[dict[str, np.ndarray], dict]:
        """Arrays and record for `checkpoint.save`."""
        backbone = {f"backbone.{k}": v for k, v in resnet.get_weights(self.network).items()}
        arrays = {
            "channels": self.embedding.channels,
            "mean": self.gaussian.mean,
            "precision": self.gaussian.precision,
        }
        return {**backbone, **arrays}, self.record

    @classmethod
    def from_state(cls, arrays: dict[str, np.ndarray], record: dict, device: str) -> "PaDiM":
        """The detector that `state` described; KeyError or ValueError where parts are missing."""
        network = resnet.ResNet(record["backbone"], record["layers"])
        prefix = "backbone."
        state = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
        resnet.set_weights(network, state)
        embedding = PatchEmbedding(network.stage_channels, arrays["channels"])
        detector = cls(network, embedding, record, choose_device(device))
        mean, precision = arrays["mean"], arrays["precision"]
        shape = (detector.grid[0] * detector.grid[1], embedding.dims)
        if mean.shape != shape or precision.shape != (*shape, embedding.dims):
            found = f"mean {mean.shape} and precision {precision.shape}"
            raise ValueError(f"{found} do not fit {shape[0]} positions and {shape[1]} channels")
        detector.gaussian = PatchGaussian.from_arrays(record["n"], mean, precision)
        return detector


class _Selection(nn.Layer):
    """The frozen graph: backbone, then the chosen channels of each stage it gives."""

    def __init__(self, network: nn.Layer, embedding: PatchEmbedding):
        super().__init__()
        self.network = network
        self.used = [i for i, channels in enumerate(embedding.by_stage) if len(channels)]
        for i in self.used:
            self.register_buffer(f"channels{i}", paddle.to_tensor(embedding.by_stage[i]))

    def forward(self, images):
        maps = self.network(images)
        return [maps[i].index_select(getattr(self, f"channels{i}"), axis=1) for i in self.used]
