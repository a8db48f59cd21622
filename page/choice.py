"""What a visitor chooses of a model, as the arguments of `inspection.fit`."""

from dataclasses import dataclass, field
from typing import Any

from common.errors import UsageError
from common.options import side_or_size
from common.preprocessing import Preprocessing
from datasets import vips
from models.backbones.catalogue import DEFAULT, parse_layers
from models.methods import DEFAULT_METHOD, METHODS


@dataclass(frozen=True)
class Choice:
    """As the options of train.py; None and empty texts mean the default.

    settings : of the method, by their names
    """

    method: str = DEFAULT_METHOD
    backbone: str = DEFAULT
    settings: dict[str, Any] = field(default_factory=dict)
    pretrained_backbone: str = "auto"
    layers: str = ""
    dims: int | None = None
    reduction: str | None = None
    seed: int | None = None
    patch_size: int | None = None
    resize: str = "256"
    img_size: str = "224"
    batch_size: int = 32
    min_area: int = 0

    @property
    def preprocessing(self) -> Preprocessing:
        """UsageError if the sizes make no sense."""
        try:
            size = side_or_size(self.img_size)
            crop = (size, size) if isinstance(size, int) else size
            return Preprocessing(side_or_size(self.resize), crop, decoder=vips.best())
        except ValueError as error:
            raise UsageError(error, "img_size") from error

    def arguments(self) -> dict[str, Any]:
        """For `inspection.fit`; UsageError if values contradict each other."""
        try:
            layers = parse_layers(self.backbone, self.layers) if self.layers.strip() else None
            settings = METHODS[self.method].settings(**self.settings)
        except ValueError as error:
            raise UsageError(error) from error
        return {
            **{"method": self.method, "settings": settings, "backbone": self.backbone},
            **{"pretrained_backbone": self.pretrained_backbone, "layers": layers},
            **{"dims": self.dims, "reduction": self.reduction, "seed": self.seed},
            **{"patch_size": self.patch_size, "preprocessing": self.preprocessing},
            "batch_size": self.batch_size,
        }
