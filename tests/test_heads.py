"""A method is one head and one row of a table: a toy method runs through every script."""

import json
from dataclasses import dataclass

import numpy as np
import paddle
import pytest

from common.errors import WorkError
from inspection import Inspector
from models.engine import Engine
from models.heads import stored
from models.heads.padim import PaDiMHead
from models.layers import constant
from models.methods import METHODS, Method, PaDiMSettings, Settings, setting
from models.open_export import GRAPHS
from tests.conftest import SMALL, call, fails

STAGES = [(3, (4, 4)), (5, (2, 2))]


@dataclass(frozen=True)
class ToySettings(Settings):
    power: float = setting(2.0, "of the distance")


class ToyHead:
    """Distance from the mean map of the finest stage; the image score has a unit of its own."""

    unit = 1.0

    def __init__(self, settings, stages):
        channels, grid = stages[0]
        self.settings, self.n = settings, 0
        self.mean = np.zeros((channels, *grid), np.float32)

    @staticmethod
    def memory(settings, stages, pictures):
        return 10**6

    @staticmethod
    def stored_memory(settings, stages, pictures):
        return 10**6

    def update(self, maps):
        self.n += len(maps[0])
        self.mean += maps[0].sum(axis=0)

    def finish(self):
        self.mean /= self.n

    def score(self, maps):
        distance = np.linalg.norm(maps[0] - self.mean, axis=1) ** self.settings.power
        return 1000 * distance.mean(axis=(1, 2)), distance

    def leave_one_out(self, maps, first=0):
        image, distance = self.score(maps)
        return image * self.n / (self.n - 1), distance * self.n / (self.n - 1)

    def arrays(self, dtype="float32"):
        return {"mean": self.mean.astype(dtype)}

    @classmethod
    def from_arrays(cls, arrays, settings, stages, n):
        head = cls(settings, stages)
        head.n, head.mean = n, arrays["mean"].astype(np.float32)
        return head

    def layer(self):
        class Distance(paddle.nn.Layer):
            def forward(self, maps):
                distance = (maps[0] - self.mean).square().sum(axis=1).sqrt() ** self.power
                return 1000 * distance.mean(axis=[1, 2]), distance

        layer = Distance()
        layer.power = self.settings.power
        layer.register_buffer("mean", constant(self.mean))
        return layer


@pytest.fixture
def toy(monkeypatch):
    row = Method(__name__, "ToyHead", ToySettings, dims=lambda backbone: 12)
    monkeypatch.setitem(METHODS, "toy", row)


@pytest.mark.process
def test_a_toy_method_runs_through_every_script(toy, demo, tmp_path):
    output, deployed = tmp_path / "output", tmp_path / "deployed"
    data = ("--data_path", demo, "--category", "flange", "--save_path", output)
    small = [word for i, word in enumerate(SMALL) if "--dims" not in SMALL[max(0, i - 1) : i + 1]]
    trained = call(
        *("train", *data, *small, "--method", "toy", "--power", "1.5", "--val"),
        *("--save_picture", "--num_pictures", 2, "--log_dir", tmp_path),
    )
    assert trained.code == 0, trained.err
    metrics = json.loads((output / "flange" / "metrics.json").read_text())
    assert metrics["model"]["method"] == "toy"
    assert metrics["model"]["power"] == 1.5
    assert metrics["image"]["threshold"] > 100 * metrics["pixel"]["threshold"]
    validated = call("val", *data, "--save_picture", "False")
    assert validated.lines[-2:] == trained.lines[-2:]
    exported = call("export_model", "--model_path", output / "flange", "--save_dir", deployed)
    assert exported.code == 0, exported.err
    fused = call(
        *("export_model", "--model_path", output / "flange", "--save_dir", tmp_path / "fused"),
        "--fused",
    )
    assert fused.code == 0, fused.err

    pictures = demo / "flange" / "test" / "rust"
    predicted = call(
        *("predict", "--picture_path", pictures, "--model_path", output / "flange"),
        *("--save_path", tmp_path / "sheets"),
    )
    inferred = call(
        *("infer", "-i", pictures, "--model_dir", deployed, "--save_path", tmp_path / "s"),
        *("--threshold_from", "f1"),
    )
    scores = [float(line.split("\t")[1]) for line in predicted.lines]
    assert [float(line.split("\t")[1]) for line in inferred.lines] == pytest.approx(scores, 1e-4)
    assert [line.split("\t")[2] for line in inferred.lines] == ["defective"] * len(scores)
    graph = next(path for path in (tmp_path / "fused").glob("fused.*") if path.suffix in GRAPHS)
    for model in (output / "flange", deployed, graph):
        inspector = Inspector.open(model, Engine(device="cpu"))
        found = [j.score for j in inspector.inspect(sorted(pictures.glob("*.png")))]
        assert found == pytest.approx(scores, rel=1e-4)


def test_a_setting_that_the_method_does_not_have_is_refused(toy, demo, tmp_path):
    data = ("--data_path", demo, "--save_path", tmp_path, "--log_dir", tmp_path)
    fails(call("train", *data, *SMALL, "--power", "1.5"), 2, "--power", "padim")
    fails(call("train", *data, *SMALL, "--epsilon", "-1"), 2, "epsilon -1.0")


def test_leave_one_out_is_exact():
    rng = np.random.default_rng(0)
    maps = [rng.standard_normal((12, c, *grid)).astype(np.float32) for c, grid in STAGES]
    head = PaDiMHead(PaDiMSettings(epsilon=0.1), STAGES)
    head.update(maps)
    head.finish()
    _, found = head.leave_one_out(maps)
    fine = maps[0].reshape(12, 3, 16)
    coarse = maps[1].repeat(2, axis=2).repeat(2, axis=3).reshape(12, 5, 16)
    z = np.concatenate([fine, coarse], axis=1).astype(float)
    for i in range(12):
        others = np.delete(z, i, axis=0)
        for p in range(16):
            x = others[:, :, p] - others[:, :, p].mean(axis=0)
            # The divisor and the regularisation stay those of all 12 pictures.
            covariance = x.T @ x / 11 + 0.1 * np.eye(8)
            delta = z[i, :, p] - others[:, :, p].mean(axis=0)
            expected = np.sqrt(delta @ np.linalg.solve(covariance, delta))
            assert found[i].ravel()[p] == pytest.approx(expected, rel=1e-4)


def test_two_heads_merge_into_one_that_saw_all():
    rng = np.random.default_rng(1)
    maps = [rng.standard_normal((12, c, *grid)).astype(np.float32) for c, grid in STAGES]
    whole, first, second = (PaDiMHead(PaDiMSettings(epsilon=0.01), STAGES) for _ in range(3))
    whole.update(maps)
    first.update([m[:5] for m in maps])
    second.update([m[5:] for m in maps])
    first.merge(second)
    whole.finish()
    first.finish()
    assert first.n == 12
    np.testing.assert_allclose(first.score(maps)[1], whole.score(maps)[1], rtol=1e-4)


def test_values_that_float16_cannot_hold_are_refused():
    array = np.array([1.5, 1e5], np.float32)
    assert stored(array, "float32") is array
    with pytest.raises(WorkError, match="too large for float16; use float32"):
        stored(array, "float16")
