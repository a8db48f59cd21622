"""PaDiM: patch distribution modelling (Defard et al. 2020, arXiv 2011.08785)."""

from collections.abc import Iterable
from functools import cached_property

import numpy as np
from paddle import nn

from common.errors import UsageError, WorkError
from common.timing import phase
from models import distribution
from models.backbones import resnet, weights
from models.device import total_memory
from models.embedding import PatchEmbedding
from models.extractor import Engine, Extractor
from models.gaussian import PatchGaussian
from models.graph import Selection
from models.scoring import Scorer, Scores, check_images, score_scale

LAYERS = ("layer1", "layer2", "layer3")


class PaDiM:
    """Detector of the paper: backbone → embedding → Gaussian → anomaly map.

    `record` is what the checkpoint remembers beside the arrays: backbone, weights, picture
    size, and what the entry scripts add (`category`, `preprocessing`, `calibration`).
    """

    method = "padim"

    def __init__(self, network: nn.Layer, embedding: PatchEmbedding, record: dict, engine: Engine):
        self.record = record
        self.embedding = embedding
        self.network = network
        self.engine = engine.resolved()
        self.size = tuple(record["image_size"])
        self.stages = embedding.stages(network.grids(self.size))
        self.gaussian = None

    @classmethod
    def build(
        cls,
        backbone: str = "resnet18",
        pretrained_backbone: str | None = None,
        dims: int = 100,
        seed: int = 7,
        image_size: tuple[int, int] = (224, 224),
        epsilon: float = 0.01,
        sigma: float = 4.0,
        **engine,
    ) -> "PaDiM":
        """A detector for normalised pictures of `image_size` (H,W), before `fit`.

        `dims` channels are drawn by `seed`; `epsilon` regularises the covariance and `sigma`
        (pixels) smooths the map, both as in the paper. `engine`: fields of `Engine`.
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
        return cls(network, embedding, record, Engine(**engine))

    @cached_property
    def extract(self) -> Extractor:
        """Pictures → stage maps. Built at first use: export needs no such thing."""
        with phase("start of the network"):
            return Extractor(Selection(self.network, self.embedding), self.size, self.engine)

    def fit(self, batches: Iterable[np.ndarray]) -> None:
        """Learn from normal pictures, float32 [B,3,H,W] a batch, in one pass."""
        gaussian = None
        for images in batches:
            maps = self._maps(images)
            with phase("statistics"):
                if gaussian is None:
                    self._require_memory()
                    gaussian = PatchGaussian(self.stages, self.record["epsilon"])
                gaussian.update(maps)
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
        self.record["n"] = n
        self._learned(gaussian)

    def _learned(self, gaussian: PatchGaussian) -> None:
        self.gaussian = gaussian
        self._score = Scorer(gaussian, self.size, self.record["sigma"])

    def score(self, images: np.ndarray) -> Scores:
        """Scores of pictures float32 [B,3,H,W]; each depends on its picture alone."""
        maps = self._maps(images)
        with phase("scoring"):
            return self._score(maps)

    def _maps(self, images: np.ndarray) -> list[np.ndarray]:
        check_images(images, self.size)
        extract = self.extract
        with phase("network"):
            return extract(images)

    def _require_memory(self) -> None:
        """Statistics that can never fit are an error now, not a killed process later."""
        need, before = 0, 0
        for channels, (h, w) in reversed(self.stages):
            before += channels
            need += 4 * h * w * channels * before
        there = total_memory()
        if there is not None and need > 0.9 * there:
            raise UsageError(
                f"--img_size {self.size[0]}x{self.size[1]} with --dims {self.embedding.dims} needs "
                f"{need / 1e9:.1f} GB of statistics, there are {there / 1e9:.1f} GB; lower either"
            )

    @property
    def score_scale(self) -> float:
        """√d: the root-mean-square distance of training patches from their own Gaussian."""
        return score_scale(self.embedding.dims)

    def state(self) -> tuple[dict[str, np.ndarray], dict]:
        """Arrays and record for `checkpoint.save`."""
        backbone = {f"backbone.{k}": v for k, v in resnet.get_weights(self.network).items()}
        arrays = {"channels": self.embedding.channels, **distribution.pack(self.gaussian)}
        return {**backbone, **arrays}, self.record

    @classmethod
    def from_state(cls, arrays: dict[str, np.ndarray], record: dict, **engine) -> "PaDiM":
        """The detector that `state` described; KeyError or ValueError where parts are missing."""
        network = resnet.ResNet(record["backbone"], record["layers"])
        prefix = "backbone."
        state = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
        resnet.set_weights(network, state)
        embedding = PatchEmbedding(network.stage_channels, arrays["channels"])
        detector = cls(network, embedding, record, Engine(**engine))
        detector._learned(distribution.unpack(arrays, detector.stages, record["n"]))
        return detector
