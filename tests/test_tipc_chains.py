"""test_tipc's preparation, and its chains of the default, the other methods, ONNX, int8 and dynamic
to static."""

import re
from pathlib import Path

import pytest

from tests.tipc import CONFIG, LITE, ROOT, bash, calls, change, copy_chains

pytestmark = [pytest.mark.process, pytest.mark.once]


@pytest.fixture
def project(tmp_path) -> Path:
    return copy_chains(tmp_path)


def test_prepare_draws_the_lite_pictures(project):
    done = bash(project, "prepare.sh", CONFIG, LITE)
    assert done.returncode == 0, done.stderr
    (drawn,) = calls(project)
    assert drawn.startswith("-m demo_set --save_path ./test_tipc/data/lite ")
    assert "--categories weave" in drawn


def mvtec(tmp_path: Path) -> Path:
    for part in ("train/good", "test/good", "ground_truth/broken"):
        (tmp_path / "mvtec/bottle" / part).mkdir(parents=True)
    for i in range(50):
        (tmp_path / f"mvtec/bottle/train/good/{i:03}.png").touch()
    return tmp_path / "mvtec"


def test_prepare_links_whole_pictures_and_fits_what_it_does_not_train(project, tmp_path):
    root = mvtec(tmp_path)
    assert bash(project, "prepare.sh", CONFIG, "whole_infer", MVTEC_PATH=root).returncode == 0
    assert (project / "test_tipc/data/whole/bottle").resolve() == root / "bottle"
    (train,) = calls(project)
    assert train.startswith("train.py --backbone=resnet18 --pretrained_backbone=./models/weights/")
    assert "--data_path ./test_tipc/data/whole --category bottle " in train
    assert "--save_path ./test_tipc/data/model" in train
    assert bash(project, "prepare.sh", CONFIG, "whole_infer", MVTEC_PATH=root).returncode == 0
    assert len(list((root / "bottle/train/good").iterdir())) == 50


@pytest.mark.parametrize(
    ("config", "backbone"),
    [
        ("ptq_infer_python", "resnet18"),
        ("paddle2onnx_infer_python", "resnet18"),
        ("ptq_infer_python_efficientnet_lite0", "efficientnet_lite0"),
    ],
)
def test_prepare_trains_with_the_configs_command(project, config, backbone):
    done = bash(project, "prepare.sh", f"test_tipc/configs/PaDiM/{config}.txt", LITE)
    assert done.returncode == 0, done.stderr
    _, train = calls(project)
    assert train.startswith(f"train.py --backbone={backbone} ")
    model = next(word for word in train.split() if word.startswith("./test_tipc/data/model"))
    assert f"{model}/weave/best.pdparams" in done.stdout


def test_prepare_takes_few_of_the_whole_training_pictures(project, tmp_path):
    root = mvtec(tmp_path)
    done = bash(project, "prepare.sh", CONFIG, "lite_train_whole_infer", MVTEC_PATH=root)
    assert done.returncode == 0, done.stderr
    few = project / "test_tipc/data/few/bottle"
    assert len(list((few / "train/good").iterdir())) == 40
    assert (few / "test").resolve() == root / "bottle/test"
    assert (few / "ground_truth").resolve() == root / "bottle/ground_truth"


@pytest.mark.parametrize(("root", "word"), [(None, "set MVTEC_PATH"), ("nowhere", "nowhere")])
def test_prepare_names_pictures_that_are_missing(project, tmp_path, root, word):
    where = str(tmp_path / root) if root else ""
    done = bash(project, "prepare.sh", CONFIG, "whole_train_whole_infer", MVTEC_PATH=where)
    assert done.returncode == 2 and word in done.stderr and "bottle" in done.stderr


@pytest.mark.parametrize("place", [".", "./test_tipc/data/../.."])
def test_prepare_writes_nowhere_else(project, place):
    change(project, ("=./test_tipc/data/lite/weave/test", f"={place}/lite/weave/test"))
    (project / "lite/weave").mkdir(parents=True)
    done = bash(project, "prepare.sh", CONFIG, LITE)
    assert done.returncode == 2 and "below test_tipc/data" in done.stderr
    assert (project / "lite/weave").exists()


def other_chain(project: Path, script: str, config: str, **settings):
    return bash(project, script, f"test_tipc/configs/PaDiM/{config}_python.txt", LITE, **settings)


def test_the_onnx_chain_compares_both_graphs(project):
    done = other_chain(project, "test_paddle2onnx.sh", "paddle2onnx_infer")
    assert done.returncode == 0, done.stderr
    scripts = [line.split()[0] for line in calls(project)]
    pairs = ["export_model.py", "infer.py"] * 2
    assert scripts == [*pairs, "test_tipc/compare_results.py"]
    assert "--format=onnx" in calls(project)[2] and "onnx/model.onnx" in calls(project)[3]
    assert "5 passed, 0 failed, 0 skipped" in done.stdout


def test_without_onnx_its_half_is_skipped(project):
    done = other_chain(project, "test_paddle2onnx.sh", "paddle2onnx_infer", missing="onnx")
    assert done.returncode == 0 and "2 passed, 0 failed, 3 skipped" in done.stdout
    assert "no onnx here" in done.stdout


def test_the_int8_chain_compares_all_rows_with_float32(project):
    done = other_chain(project, "test_ptq_inference_python.sh", "ptq_infer")
    assert done.returncode == 0, done.stderr
    rows = [line for line in calls(project) if "--precision=int8" in line]
    assert len(rows) == 4 and "11 passed, 0 failed, 0 skipped" in done.stdout
    (quantized,) = [line for line in calls(project) if "--quantize=" in line]
    assert "--quantize=./test_tipc/data/lite/weave/train/good" in quantized
    assert calls(project)[-1].startswith("test_tipc/compare_results.py")


def test_the_int8_chain_of_lite_does_the_same_once(project):
    config = "test_tipc/configs/PaDiM/ptq_infer_python_efficientnet_lite0.txt"
    done = bash(project, "test_ptq_inference_python.sh", config, LITE)
    assert done.returncode == 0, done.stderr
    assert "5 passed, 0 failed, 0 skipped" in done.stdout
    models = [w for line in calls(project) for w in line.split() if w.startswith("--model_path=")]
    assert set(models) == {
        "--model_path=./test_tipc/data/model_efficientnet_lite0/weave/best.pdparams"
    }


def test_without_int8_its_half_is_skipped(project):
    done = other_chain(project, "test_ptq_inference_python.sh", "ptq_infer", missing="int8")
    assert done.returncode == 0 and "5 passed, 0 failed, 6 skipped" in done.stdout
    assert "no int8 here" in done.stdout


@pytest.mark.parametrize(
    ("script", "config", "key"),
    [
        ("test_paddle2onnx.sh", "paddle2onnx_infer", "--model_path"),
        ("test_ptq_inference_python.sh", "ptq_infer", "--quantize"),
        ("test_train_dy2static_python.sh", "train_dy2static", "predict"),
    ],
)
def test_a_missing_line_or_a_foreign_folder_is_named(project, script, config, key):
    path = project / f"test_tipc/configs/PaDiM/{config}_python.txt"
    text = path.read_text()
    path.write_text("".join(ln for ln in text.splitlines(True) if not ln.startswith(f"{key}:")))
    done = other_chain(project, script, config)
    assert done.returncode == 2 and f"`{key}:" in done.stderr
    (project / "output").mkdir()
    path.write_text(re.sub("--save_(dir|path):.*", "--save_\\1:./output", text))
    done = other_chain(project, script, config)
    assert done.returncode == 2 and "below test_tipc/output" in done.stderr
    assert (project / "output").exists() and not (project / "calls").exists()


def test_the_dynamic_chain_trains_in_any_case(project):
    config = "test_tipc/configs/PaDiM/train_dy2static_python.txt"
    done = bash(project, "test_train_dy2static_python.sh", config, "whole_infer")
    assert done.returncode == 2 and "this chain trains" in done.stderr


def test_the_dynamic_chain_compares_both_ways(project):
    script = "test_train_dy2static_python.sh"
    done = other_chain(project, script, "train_dy2static", fails="--to_static=False")
    assert done.returncode == 2  # dynamic training and prediction
    ways = [re.findall("--to_static=(\\w+)", line) for line in calls(project)]
    assert ways == [["False"], ["False"], ["True"], ["True"], []]


def test_only_the_chain_of_the_default_leaves_the_backbone_out(project):
    configs = sorted((project / "test_tipc/configs/PaDiM").glob("*.txt"))
    assert len(configs) == 9
    for path in configs:
        trains = re.findall(r"(?m)^\w*train:train\.py.*", path.read_text())
        assert len(trains) == 1, path
        assert ("--backbone=" in trains[0]) != path.stem.endswith("_default"), path


@pytest.mark.parametrize(("missing", "rows"), [("", 8), ("bf16", 4)])
def test_the_chain_of_the_default(project, missing, rows):
    config = CONFIG.replace(".txt", "_default.txt")
    script = "test_train_inference_python.sh"
    done = bash(project, script, config, LITE, missing=missing)
    assert done.returncode == 0, done.stderr
    train, _, export, *others = calls(project)
    assert len(others) == rows and f"{3 + rows} passed, 0 failed, {8 - rows} skipped" in done.stdout
    assert "backbone=" not in train.replace("--pretrained_backbone=auto", "")
    pictures = "--input_file=./test_tipc/data/default/weave/test"
    assert all(pictures in row.split() for row in others)
    logs = {p.name for p in (project / "test_tipc/output/PaDiM_default").glob("python_infer_*")}
    precisions = ("fp32",) if missing else ("fp32", "bf16")
    assert logs == {
        f"python_infer_cpu_usemkldnn_True_threads_{t}_precision_{p}_batchsize_{b}.log"
        for t in (1, 2)
        for p in precisions
        for b in (1, 8)
    }


@pytest.mark.parametrize("method", ["patchcore", "spade"])
def test_each_other_method_has_a_chain(project, method):
    config = CONFIG.replace(".txt", f"_{method}.txt")
    done = bash(project, "test_train_inference_python.sh", config, LITE)
    assert done.returncode == 0, done.stderr
    train, _, export, *others = calls(project)
    assert f"--method={method}" in train and "export_model.py" in export
    assert len(others) == 2 and "5 passed, 0 failed, 0 skipped" in done.stdout


def test_the_reference_of_the_default_names_pictures_of_its_own():
    """Otherwise compare_results.py could not tell which reference a log belongs to."""
    names = {
        path.name: {line.split("\t")[0] for line in path.read_text().splitlines()}
        for path in (ROOT / "test_tipc/results").glob("*.txt")
    }
    default = names.pop("PaDiM_default_fp32.txt")
    assert len(default) == 18 and all(
        name.startswith("test_tipc/data/default/") for name in default
    )
    assert not any(default & others for others in names.values())
