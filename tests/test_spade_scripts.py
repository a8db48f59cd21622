"""SPADE through all scripts."""

import json

import numpy as np
import pytest

from inspection import Inspector
from models.engine import Engine
from models.open_export import GRAPHS
from tests.conftest import NO_GRAPH, WEIGHTS, call, fails

SMALL = ("--resize", 64, "--img_size", 64, "--batch_size", 4, *WEIGHTS)


@pytest.fixture(scope="module")
def fitted(demo, tmp_path_factory):
    """The output of train.py with --val for the flange."""
    output = tmp_path_factory.mktemp("spade")
    trained = call(
        *("train", "--data_path", demo, "--category", "flange", "--save_path", output, *SMALL),
        *("--method", "spade", "--gallery", 5, "--val", "--log_dir", output, "--no-save_picture"),
    )
    assert trained.code == 0, trained.err
    return output / "flange"


@pytest.fixture(scope="module")
def pictures(demo):
    return demo / "flange" / "test" / "rust"


@pytest.fixture(scope="module")
def predicted(fitted, pictures):
    return _scores("predict", "--picture_path", pictures, "--model_path", fitted)


def _scores(script, *options) -> dict[str, float]:
    result = call(script, *options, "--json", "--no-save_picture")
    assert result.code == 0, result.err
    return {row["path"]: row["score"] for row in map(json.loads, result.lines)}


@pytest.mark.process
def test_a_model_is_validated_and_described(fitted):
    metrics = json.loads((fitted / "metrics.json").read_text())
    assert metrics["model"]["method"] == "spade"
    assert (metrics["model"]["gallery"], metrics["model"]["kappa"]) == (5, 1)
    assert metrics["pixel"]["auroc"] > 0.7


@pytest.fixture(scope="module")
def judged(fitted, predicted):
    """The judgements of `predicted`, each picture alone."""
    inspector = Inspector.open(fitted, Engine(device="cpu", static=False))
    return [judgement for path in predicted for judgement in inspector.inspect([path])]


@pytest.mark.process
def test_alone_or_in_a_batch_a_picture_has_the_same_score(judged, predicted):
    assert len(predicted) == 2
    for alone in judged:
        assert alone.score == pytest.approx(predicted[alone.source], rel=1e-5)


@pytest.mark.process
@pytest.mark.parametrize("options", [(), ("--format", "onnx")])
def test_exported_graphs_give_the_same_scores(
    options, fitted, pictures, predicted, judged, tmp_path
):
    export = ("--model_path", fitted, "--save_dir", tmp_path, "--fused", *options)
    exported = call("export_model", *export)
    assert exported.code == 0, exported.err
    found = _scores("infer", "-i", pictures, "--model_dir", tmp_path)
    assert found == pytest.approx(predicted, rel=1e-4)
    graph = next(path for path in tmp_path.glob("fused.*") if path.suffix in GRAPHS)
    fused = Inspector.open(graph, Engine(device="cpu")).inspect(list(predicted))
    for ours, theirs in zip(fused, judged, strict=True):
        assert ours.score == pytest.approx(theirs.score, rel=1e-4)
        np.testing.assert_allclose(ours.map, theirs.map, rtol=1e-4)


@pytest.mark.process
def test_a_wrong_value_is_an_error_of_its_option(demo, tmp_path):
    data = ("--data_path", demo, "--category", "flange", "--save_path", tmp_path)
    options = (*data, *SMALL, "--log_dir", tmp_path, *NO_GRAPH)
    fails(call("train", *options, "--method", "spade", "--gallery", 0), 2, "spade", "gallery 0")
    fails(call("train", *options, "--kappa", 2), 2, "--kappa", "omit it")
