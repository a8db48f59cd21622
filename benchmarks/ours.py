"""This project as a contender, an interface described in worker.py."""

from pathlib import Path

import numpy as np
import paddle

from common.errors import UsageError
from common.preprocessing import Preprocessing
from datasets import vips
from datasets.loader import Loader
from datasets.samples import Sample
from datasets.transforms import Transform
from models import checkpoint
from models.engine import Engine
from models.factory import build_detector
from models.methods import METHODS

BATCH = 32  # the default of train.py


class Contender:
    """`threads` compute and as many decode; NotImplementedError if `precision` is impossible.

    `model` has settings of models.factory.plan that are not the defaults, `settings` those of
    `method`.
    """

    def __init__(self, threads: int, precision: str, model: dict, method: str, settings: dict):
        self.threads, self.precision = threads, precision
        self.model = model | {"method": method, "settings": METHODS[method].settings(**settings)}
        self.detector = None
        try:
            record = self._build().record
        except UsageError as error:
            raise NotImplementedError(str(error)) from error
        self.transform = Transform(record.preprocessing)
        name = f"Paddle {paddle.__version__}, {method}, {record.features.backbone}"
        self.about = f"{name}; decoder {vips.best()}; deployed: graph and float16 distribution"

    def _build(self):
        engine = Engine(device="cpu", precision=self.precision, threads=self.threads)
        settings = {"category": "bench", "batch_size": BATCH, **self.model}
        preprocessing = Preprocessing(decoder=vips.best())  # as train.py
        return build_detector(engine=engine, preprocessing=preprocessing, **settings)

    def _batches(self, paths: list[str], size: int):
        samples = [Sample(Path(path)) for path in paths]
        loader = Loader(samples, self.transform, size, self.threads)
        return (batch.images for batch in loader)

    def fit(self, paths: list[str]) -> None:
        self.detector = None  # frees memory that would otherwise count
        detector = self._build()
        detector.fit(self._batches(paths, BATCH))
        self.detector = detector

    def decode(self, paths: list[str]) -> np.ndarray:
        prepare = self.transform
        return np.stack([prepare.normalize(prepare.picture(Path(path))) for path in paths])

    def score_arrays(self, images: np.ndarray) -> np.ndarray:
        return self.detector.score(images).image

    def score_file(self, path: str) -> np.ndarray:
        return self.score_arrays(self.decode([path]))

    def score_files(self, paths: list[str], batch: int) -> np.ndarray:
        return np.concatenate([self.score_arrays(images) for images in self._batches(paths, batch)])

    def save(self, folder: Path) -> dict[str, Path]:
        """The checkpoint of train.py, and the exported files of export_model.py."""
        path, deployed = folder / "best.pdparams", folder / "deployed"
        deployed.mkdir()
        from models.export import export

        checkpoint.save(path, self.detector.arrays(), self.detector.record)
        export(self.detector, deployed, dtype="float16")
        return {"saved": path, "deployed": deployed}
