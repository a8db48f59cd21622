"""PaDiM: patch distribution modelling (Defard et al. 2020, arXiv 2011.08785)."""

import logging
from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np
from paddle import nn

from common.errors import UsageError, WorkError
from common.timing import phase
from models import distribution
from models import embedding as embeddings
from models.backbones import catalogue, network, sources
from models.device import total_memory
from models.extractor import Engine, Extractor
from models.gaussian import PatchGaussian
from models.graph import selection
from models.scoring import Scorer, Scores, check_images, score_scale

logger = logging.getLogger(__name__)

SEED = 7  # of the channel draw, where none is given


class PaDiM:
    """Detector of the paper: backbone → embedding → Gaussian → anomaly map.

    `record` is what the checkpoint remembers beside the arrays: backbone, weights, picture
    size, and what the entry scripts add (`category`, `preprocessing`, `calibration`).
    """

    method = "padim"

    def __init__(self, network: nn.Layer, embedding, record: dict, engine: Engine):
        self.record = record
        self.embedding = embedding
        self.network = network
        self.engine = engine.resolved()
        self.size = tuple(record["image_size"])
        self.stages = embedding.stages(network.grids)
        self.gaussian = None

    @classmethod
    def build(
        cls,
        backbone: str = "resnet18",
        pretrained_backbone: str | None = None,
        layers: Sequence[str] | None = None,
        dims: int | None = None,
        reduction: str | None = None,
        seed: int | None = None,
        image_size: tuple[int, int] = (224, 224),
        epsilon: float = 0.01,
        sigma: float = 4.0,
        **engine,
    ) -> "PaDiM":
        """A detector for normalised pictures of `image_size` (H,W), before `fit`.

        `layers` feed the embedding, and `dims` of their channels are kept, drawn by `seed`, in the
        way of `reduction` (one of catalogue.REDUCTIONS); None for each is the default.
        `epsilon` regularises the covariance and `sigma` (pixels) smooths the map, both as in the
        paper. `engine`: fields of `Engine`.
        """
        engine = Engine(**engine).resolved()  # what is wrong is told before anything is downloaded
        layers = catalogue.default_layers(backbone) if layers is None else tuple(layers)
        total = sum(catalogue.channels(backbone, layer) for layer in layers)
        dims, reduction = _reduced(backbone, total, dims, reduction)
        seed = _drawn_by(seed, reduction)
        found = sources.find(backbone, pretrained_backbone)
        net = network.build(backbone, layers, image_size, found.variant)
        network.set_weights(net, found.state)
        embedding = embeddings.draw(reduction, net.stage_channels, dims, seed)
        record = {
            "method": cls.method,
            "backbone": backbone,
            "layers": list(layers),
            "variant": found.variant,
            "weights": {"name": found.name, "sha256": found.sha256, "origin": found.origin},
            "reduction": reduction,
            "dims": dims,
            "seed": seed,
            "image_size": list(image_size),
            "epsilon": epsilon,
            "sigma": sigma,
            "calibration": None,
        }
        return cls(net, embedding, record, engine)

    @cached_property
    def extract(self) -> Extractor:
        """Pictures → stage maps. Built at first use: export needs no such thing."""
        with phase("start of the network"):
            return Extractor(selection(self.network, self.embedding), self.size, self.engine)

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
        self.record |= {"n": n, "epsilon": gaussian.epsilon}
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
            need += 2 * 4 * h * w * channels * before  # the second time while they are saved
        there = total_memory()
        if there is not None and need > 0.9 * there:
            raise UsageError(
                f"--img_size {self.size[0]}x{self.size[1]} with --dims {self.embedding.dims} needs "
                f"{need / 1e9:.1f} GB for statistics, there are {there / 1e9:.1f} GB; lower "
                "it, or keep fewer channels (--dims, --layers)"
            )

    @property
    def score_scale(self) -> float:
        """√d: the root-mean-square distance of training patches from their own Gaussian."""
        return score_scale(self.embedding.dims)

    def state(self) -> tuple[dict[str, np.ndarray], dict]:
        """Arrays and record for `checkpoint.save`."""
        backbone = {f"backbone.{k}": v for k, v in network.get_weights(self.network).items()}
        arrays = {**self.embedding.arrays, **distribution.pack(self.gaussian)}
        return {**backbone, **arrays}, self.record

    @classmethod
    def from_state(cls, arrays: dict[str, np.ndarray], record: dict, **engine) -> "PaDiM":
        """The detector that `state` described; KeyError or ValueError where parts are missing."""
        net = blank(record)
        prefix = "backbone."
        state = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
        network.set_weights(net, state)
        embedding = embeddings.from_arrays(net.stage_channels, arrays)
        detector = cls(net, embedding, record, Engine(**engine))
        detector._learned(distribution.unpack(arrays, detector.stages, record["n"]))
        return detector


def blank(record: dict) -> nn.Layer:
    """The network of a model's `record`, without weights."""
    size = tuple(record["image_size"])
    return network.build(record["backbone"], record["layers"], size, record.get("variant"))


def _reduced(backbone: str, total: int, dims: int | None, reduction: str | None) -> tuple[int, str]:
    """How many of `total` channels are kept, and in which way; a draw of all is none."""
    if reduction == "none":
        if dims not in (None, total):
            raise UsageError(f"--reduction none keeps all {total} channels; leave out --dims")
        return total, "none"
    if dims is not None and dims > total:
        logger.warning("--dims %d: these layers have %d channels, no more", dims, total)
    wanted = (catalogue.default_dims(backbone) or total) if dims is None else dims
    dims = min(wanted, total)
    if reduction in (None, "random"):
        reduction = "none" if dims == total else "random"
    return dims, reduction


def _drawn_by(seed: int | None, reduction: str) -> int | None:
    """The seed of the draw, None where nothing is drawn."""
    if reduction != "none":
        return SEED if seed is None else seed
    if seed is not None:
        logger.warning("--seed %d has no effect: all channels are kept", seed)
    return None
