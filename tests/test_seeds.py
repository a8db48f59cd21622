"""train.py --seeds: the same figures as separate runs, with one run of the network."""

import csv
import json
import statistics

import numpy as np
import pytest

from common.preprocessing import Preprocessing
from evaluation.figures import Figures
from evaluation.promise import Counts, Promise
from evaluation.seeds import Seeds, row_of
from models import checkpoint
from models.engine import Engine
from models.factory import build_detector
from models.features import Features
from models.kept import MOST, KeptMaps
from models.whole import ReducedMaps, reduced, whole_detector
from tests.conftest import NO_GRAPH, SMALL, call, fails

CPU = Engine(device="cpu", static=False)


@pytest.mark.parametrize("reduction", ["random", "semi_orthogonal"])
@pytest.mark.parametrize("size", [(64, 64), (72, 104)])
def test_reduced_maps_are_those_of_the_network(reduction, size, tmp_path):
    images = np.random.default_rng(0).standard_normal((3, 3, *size)).astype(np.float32)
    one, two = (
        build_detector(
            pretrained_backbone="random",
            backbone="resnet18",
            layers=("layer1", "layer2", "layer3"),
            dims=30,
            reduction=reduction,
            seed=seed,
            patch_size=3,
            preprocessing=Preprocessing(size, size),
            engine=CPU,
        )
        for seed in (1, 2)
    )
    whole = whole_detector(one)
    with KeptMaps(tmp_path) as kept:
        kept.add(whole.maps(images))
        for detector in (one, two):
            again = ReducedMaps(kept, detector.features.reduction)
            assert again.pictures == 3
            (found,) = list(again)
            expected = detector.maps(images)
            assert len(found) == len(expected)
            for stage, wanted in zip(found, expected, strict=True):
                np.testing.assert_allclose(stage, wanted, rtol=1e-4, atol=1e-4)


def test_stages_without_a_chosen_channel_are_left_out():
    detector = build_detector(
        pretrained_backbone="random",
        backbone="resnet18",
        dims=1,
        preprocessing=Preprocessing(64, (64, 64)),
        engine=CPU,
    )
    maps = [np.ones((2, c, 4, 4), np.float32) for c in detector.features.network.stage_channels]
    assert [stage.shape for stage in reduced(maps, detector.features.reduction)] == [(2, 1, 4, 4)]


@pytest.fixture(scope="module")
def repeated(demo, tmp_path_factory):
    """The output folder of two seeds, its result, and the numbers of pictures per network run."""
    output, calls = tmp_path_factory.mktemp("seeds"), []
    original = Features.__call__

    def counted(self, images):
        calls.append(len(images))
        return original(self, images)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Features, "__call__", counted)
        result = call(*command(demo, output), "--seeds", 3, 7, "--audit", "--save_picture")
    assert result.code == 0, result.err
    return output, result, calls


def command(demo, output):
    data = ("--data_path", demo, "--category", "flange", "--save_path", output)
    return ("train", *data, "--log_dir", output, *SMALL, *NO_GRAPH, "--val", "True")


def scores_of(output):
    with (output / "flange" / "scores.csv").open() as file:
        return [[float(row["score"]), float(row["p_value"])] for row in csv.DictReader(file)]


def test_features_are_extracted_once(repeated):
    assert sum(repeated[2]) == 8 + 12


@pytest.mark.process
def test_each_seed_equals_a_separate_run(repeated, demo, tmp_path):
    output = repeated[0]
    found = json.loads((output / "flange" / "seeds.json").read_text())
    assert (found["seeds"], found["saved"]) == ([3, 7], 7)
    for i, seed in enumerate(found["seeds"]):
        separate = tmp_path / str(seed)
        assert call(*command(demo, separate), "--seed", seed).code == 0
        metrics = json.loads((separate / "flange" / "metrics.json").read_text())
        expected = {
            "image AUROC": metrics["image"]["auroc"],
            "pixel AP": metrics["pixel"]["ap"],
            "pixel AUPRO": metrics["pixel"]["aupro"],
            "false-alarm rate": metrics["promise"]["false_alarm_rate"],
            "recall": metrics["promise"]["recall"],
        }
        for name, value in expected.items():
            assert found["figures"][name]["values"][i] == pytest.approx(value, abs=1e-4)
    np.testing.assert_allclose(scores_of(output), scores_of(tmp_path / "7"), rtol=1e-4)
    arrays, record = checkpoint.load(output / "flange" / "best.pdparams")
    others, other = checkpoint.load(tmp_path / "7" / "flange" / "best.pdparams")
    assert record.features == other.features
    assert record.calibration.best_f1.image == pytest.approx(other.calibration.best_f1.image, 1e-4)
    assert record.calibration.normal.image.values == pytest.approx(
        other.calibration.normal.image.values, rel=1e-4
    )
    assert arrays.keys() == others.keys()
    np.testing.assert_array_equal(arrays["channels"], others["channels"])


def test_the_saved_model_has_all_results_and_the_table_is_printed(repeated):
    output, result, _ = repeated
    folder = output / "flange"
    for name in ("metrics.json", "roc.png", "training.csv", "audit.png"):
        assert (folder / name).stat().st_size > 0
    assert len(list((folder / "pictures").glob("*.png"))) == 12
    found = json.loads((folder / "seeds.json").read_text())["figures"]["pixel AUROC"]
    mean, deviation = statistics.fmean(found["values"]), statistics.stdev(found["values"])
    assert (found["mean"], found["standard_deviation"]) == pytest.approx((mean, deviation))
    (line,) = [line for line in result.lines if line.startswith("pixel AUROC")]
    cells = "".join(f" {value:>8.4f}" for value in found["values"])
    assert line.split() == f"pixel AUROC {mean:.4f} ± {deviation:.4f} {cells}".split()
    assert "are kept on the disk: 0.00 GB" in result.err
    assert result.lines[-1].startswith("Class:flange: Pixel AUC: ")
    assert not [path for path in output.rglob("*") if ".tmp" in path.name]


def test_a_figure_that_is_missing_once_has_no_mean():
    seeds = Seeds({1: {"recall": 0.5, "image AP": 0.25}, 2: {"recall": None, "image AP": 0.75}}, 1)
    assert seeds.spread("recall") is None
    assert seeds.spread("image AP") == pytest.approx((0.5, 0.125**0.5))
    assert seeds.record()["figures"]["recall"]["values"] == [0.5, None]
    assert [line.split()[1] for line in seeds.text().splitlines()[1:]] == ["-", "AP"]
    promise = Promise(0.1, 1.0, False, 0.1, Counts(1, 4), Counts(3, 4))
    assert row_of(Figures(None, None, None), promise) == {"false-alarm rate": 0.25, "recall": 0.75}


def test_repetitions_that_cannot_work_are_refused(demo, tmp_path, monkeypatch):
    run = command(demo, tmp_path)
    fails(call(*run[:-1], "False", "--seeds", 1, 2), 2, "--seeds", "--val True")
    for seeds in ((1,), (1, 1)):
        fails(call(*run, "--seeds", *seeds), 2, "--seeds", "at least two seeds, all different")
    fails(call(*run, "--seeds", 1, 2, "--seed", 3), 2, "--seed:", "3 is not among --seeds")
    fails(call(*run, "--seeds", 1, 2, "--folds", 2), 2, "--folds", "--seeds")
    all_channels = (*run, "--dims", 448, "--seeds", 1, 2)
    fails(call(*all_channels), 2, "--seeds", "all 448 channels", "--dims", "--reduction")
    monkeypatch.setattr("models.kept.MOST", 10**5)
    assert MOST > 10**5
    fails(call(*run, "--seeds", 1, 2), 2, "--seeds", "20 pictures need", "--layers", "--save_path")
    assert not (tmp_path / "flange" / "best.pdparams").exists()
