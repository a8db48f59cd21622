"""Every exported form runs in every precision of a CPU, or is refused with what to do."""

from pathlib import Path

import numpy as np
import pytest

from common.preprocessing import Preprocessing
from datasets.samples import pictures_in
from inspection import Inspector, fit
from models.deployed import ExportedFiles
from models.engine import Engine, has_bfloat16
from models.methods import METHODS
from tests.conftest import call, fails

pytestmark = pytest.mark.process
KINDS = {
    "joint": ("padim", {"gaussians": "joint"}),
    "multiscale": ("padim", {"gaussians": "multiscale"}),
    "patchcore": ("patchcore", {}),
    "spade": ("spade", {"gallery": 3}),
}
WITH_BFLOAT16 = pytest.mark.skipif(not has_bfloat16(), reason="the processor has no bfloat16")
PRECISIONS = ["fp32", pytest.param("bf16", marks=WITH_BFLOAT16)]
FORMS = ("model", "fused", "float16")
# bfloat16 has 8 binary digits; relative to the scores, and to the range of a map.
TOLERANCES = {"fp32": (2e-3, 4e-3), "bf16": (0.1, 0.12)}
ROI = np.zeros((64, 64), bool)
ROI[:, 8:] = True


@pytest.fixture(scope="module")
def pictures(demo) -> list[Path]:
    return pictures_in(demo / "flange/test/chip")


@pytest.fixture(scope="module", params=KINDS)
def exported(request, demo, pictures, tmp_path_factory):
    """The folder of a method's exports, and the judgements of the model itself."""
    method, settings = KINDS[request.param]
    fitted = fit(
        pictures_in(demo / "flange/train/good")[:4],
        Engine(device="cpu"),
        roi=ROI if request.param == "joint" else None,
        method=method,
        settings=METHODS[method].settings(**settings),
        backbone="resnet18",
        pretrained_backbone="embedded",
        dims=20,
        preprocessing=Preprocessing(64, (64, 64)),
    )
    folder, inspector = tmp_path_factory.mktemp(request.param), fitted.inspector()
    inspector.export(folder, fused=True)
    inspector.export(folder / "half", dtype="float16")
    return folder, list(inspector.inspect(pictures))


def files(folder: Path, form: str) -> ExportedFiles:
    if form == "float16":
        return ExportedFiles.within(folder / "half")
    graph = next(p for s in (".json", ".pdmodel") if (p := folder / f"{form}{s}").exists())
    return ExportedFiles.beside(graph)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("form", FORMS)
def test_every_form_runs_in_every_precision(exported, pictures, form, precision, capfd):
    folder, expected = exported
    engine = Engine(device="cpu", precision=precision)
    found = list(Inspector.open_exported(files(folder, form), engine).inspect(pictures))
    assert len(found) == len(expected) == 2
    scores, maps = TOLERANCES[precision]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.score == pytest.approx(theirs.score, rel=scores)
        assert np.abs(ours.map - theirs.map).max() < maps * np.ptp(theirs.map)
    assert capfd.readouterr().out == ""  # there are only results
    if precision == "bf16":  # or it was float32
        assert any(abs(a.score / b.score - 1) > 1e-4 for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_what_cannot_run_is_refused(exported, demo, precision):
    """For ONNX and int8 graphs: tests.test_deployment, tests.test_quantization."""
    folder, _ = exported
    graph = files(folder, "fused").model
    options = ("--model_file", graph, "-i", demo / "flange/test/chip", "--precision", precision)
    fails(call("infer", *options), 2, f"--precision: {precision}")
