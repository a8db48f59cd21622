"""Which weight file is used: the one asked for, one in models/, or the embedded one."""

import numpy as np
import pytest

from common.errors import UsageError, WorkError
from models.backbones import network, sources

pytestmark = pytest.mark.usefixtures("shapes_once")


def test_embedded_weights_take_the_place_of_the_official_ones(tmp_path, monkeypatch, caplog):
    """The fixture no_network is in force."""
    monkeypatch.setattr(sources, "MODELS", tmp_path)
    found = sources.find("resnet18")
    for word in ("resnet18-f37072fd.pth", "no network", str(tmp_path / "resnet18.pth")):
        assert word in caplog.text
    assert found.origin == "embedded" and found.name == sources.EMBEDDED["resnet18"].name
    shapes = {key: array.shape for key, array in found.state.items()}
    assert shapes == network.full_shapes("resnet18")


def test_a_file_in_models_wins_over_the_embedded_one(tmp_path, monkeypatch, full, full_file):
    monkeypatch.setattr(sources, "MODELS", tmp_path)
    (tmp_path / "resnet18.pdiparams").write_bytes(full_file.read_bytes())
    found = sources.find("resnet18")
    assert found.origin == "found at models/resnet18.pdiparams"
    assert np.array_equal(found.state["conv1.weight"], full["conv1.weight"])


def test_a_broken_file_in_models_is_an_error_not_a_fallback(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "MODELS", tmp_path)
    (tmp_path / "resnet18.pdiparams").write_bytes(b"broken")
    with pytest.raises(WorkError, match=r"resnet18\.pdiparams"):
        sources.find("resnet18")


def test_the_file_asked_for_wins_over_all(tmp_path, monkeypatch, full_file):
    monkeypatch.setattr(sources, "MODELS", tmp_path)
    (tmp_path / "resnet18.pdiparams").write_bytes(b"broken")
    assert sources.find("resnet18", str(full_file)).origin == "given file"


@pytest.mark.parametrize("name", ["gone.pth", ""])
def test_a_weight_file_that_is_not_there_is_wrong_use(tmp_path, name):
    with pytest.raises(UsageError, match="no such weight file") as error:
        sources.find("resnet18", str(tmp_path / name))
    assert error.value.setting == "pretrained_backbone"
