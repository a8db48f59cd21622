"""The chains of test_tipc, with a stand-in for Python that only notes what it was asked for."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CONFIG = "test_tipc/configs/PaDiM/train_infer_python.txt"
LITE = "lite_train_lite_infer"
RED, GREEN, YELLOW = ("\033[31m", "\033[32m", "\033[33m")

# Notes its arguments and prints a score; fails where one argument is $FAILS; lacks what $MISSING
# says; leaves the script $REAL to $REAL_PYTHON.
STAND_IN = """#!/usr/bin/env bash
if [ "$1 $2" = "-m test_tipc.machine" ]; then
    for what in $MISSING; do printf '%s\\tno %s here\\n' "$what" "$what"; done
    exit
fi
[ "$1" != "${REAL-}" ] || exec "$REAL_PYTHON" "$@"
printf '%s\\n' "$*" >> "$CALLS"
printf 'a/000.png\\t12.500000\\tgood\\n'
for argument; do [ "$argument" != "$FAILS" ] || exit 3; done
"""


@pytest.fixture
def project(tmp_path) -> Path:
    """A copy of the chains in a folder of their own."""
    ignore = shutil.ignore_patterns("data", "output", "__pycache__")
    shutil.copytree(ROOT / "test_tipc", tmp_path / "test_tipc", ignore=ignore)
    stand_in = tmp_path / "stand-in"
    stand_in.write_text(STAND_IN)
    stand_in.chmod(0o755)
    return tmp_path


def bash(project: Path, script: str, *arguments, missing="gpu tensorrt bf16", fails="", **env):
    env = {**os.environ, "MISSING": missing, "FAILS": fails, "CALLS": str(project / "calls"), **env}
    command = ["bash", f"test_tipc/{script}", *arguments]
    python = {"PYTHON": str(project / "stand-in")}
    done = subprocess.run(
        command, cwd=project, env={**python, **env}, capture_output=True, text=True
    )
    assert "unbound variable" not in done.stderr
    return done


def chain(project: Path, mode: str = LITE, **settings):
    return bash(project, "test_train_inference_python.sh", CONFIG, mode, **settings)


def calls(project: Path) -> list[str]:
    return (project / "calls").read_text().splitlines()


def results(project: Path) -> list[str]:
    return (project / "test_tipc/output/PaDiM/results_python.log").read_text().splitlines()


def change(project: Path, *pairs: tuple[str, str]) -> None:
    path = project / CONFIG
    text = path.read_text()
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)


def test_the_config_has_tipcs_lines():
    lines = (ROOT / CONFIG).read_text().splitlines()
    assert len(lines) == 51
    keys = {number: line.partition(":")[0] for number, line in enumerate(lines, 1)}
    places = {2: "model_name", 3: "python", 4: "gpu_list", 5: "Global.use_gpu"}
    places |= {6: "Global.auto_cast", 11: "train_model_name", 12: "train_infer_img_dir"}
    places |= {15: "trainer", 16: "norm_train", 24: "eval", 30: "norm_export", 37: "infer_model"}
    places |= {38: "infer_export", 40: "inference", 41: "--use_gpu", 42: "--enable_mkldnn"}
    places |= {43: "--cpu_threads", 44: "--batch_size", 45: "--use_tensorrt", 46: "--precision"}
    places |= {47: "--model_file", 48: "--input_file", 50: "--enable_benchmark"}
    places |= {51: "--params_file"}
    assert {number: keys[number] for number in places} == places


def test_a_machine_without_gpu_or_bf16_runs_every_fp32_row(project):
    done = chain(project)
    assert done.returncode == 0, done.stderr
    lines = results(project)
    ran = [line for line in lines if "Run successfully with command - PaDiM - " in line]
    skipped = [line for line in lines if "Run skipped with command - PaDiM - " in line]
    assert len(ran) + len(skipped) == len(lines)
    assert all(line.startswith(GREEN) for line in ran)
    assert all(line.startswith(YELLOW) for line in skipped)
    scripts = [line.split()[0] for line in calls(project)]
    assert scripts == ["train.py", "val.py", "export_model.py", *["infer.py"] * 8]
    logs = {p.name for p in (project / "test_tipc/output/PaDiM").glob("python_infer_*")}
    assert logs == {
        f"python_infer_cpu_usemkldnn_{m}_threads_{t}_precision_fp32_batchsize_{b}.log"
        for m in ("True", "False")
        for t in (1, 2)
        for b in (1, 8)
    }
    assert done.stdout.splitlines()[-1] == f"{len(ran)} passed, 0 failed, {len(skipped)} skipped"
    # 8 rows of bf16, 6 of the GPU (fp16 with TensorRT only), 1 training on the GPU
    assert len(skipped) == 15
    reasons = [line.rsplit(" - ", 1)[1] for line in skipped]
    assert sum("no gpu here" in reason for reason in reasons) == 7
    assert sum("no bf16 here" in reason for reason in reasons) == 4
    assert sum("oneDNN" in reason for reason in reasons) == 4


def test_a_machine_that_can_do_all_runs_all_rows_after_both_trainings(project):
    done = chain(project, missing="")
    assert done.returncode == 0, done.stderr
    rows = [line for line in calls(project) if line.startswith("infer.py")]
    # CPU: 8 of fp32 and 4 of bf16 with oneDNN; GPU: fp32 with and without TensorRT, fp16 with it.
    assert len(rows) == 2 * (12 + 6)
    first = project / "test_tipc/output/PaDiM"
    second = first / "norm_train_gpus_0_autocast_fp32"
    name = "python_infer_gpu_usetrt_True_precision_fp16_batchsize_8.log"
    assert (first / name).exists() and (second / name).exists()
    assert "--device=gpu:0" in calls(project)[21]


def test_the_commands_carry_the_configs_options(project):
    chain(project)
    train, val, export, *rows = calls(project)
    save = "test_tipc/output/PaDiM/norm_train_gpus_-1_autocast_fp32"
    for option in ("--device=cpu", "--precision=fp32", "--batch_size=8", f"--save_path={save}"):
        assert option in train.split()
    assert "--data_path=./test_tipc/data/lite" in train.split()
    assert f"--model_path={save}/weave/best.pdparams" in val.split()
    assert f"--save_dir={save}/inference" in export.split()
    assert {"--use_gpu=False", "--enable_mkldnn=True", "--cpu_threads=1", "--batch_size=1"} < set(
        rows[0].split()
    )
    for option in ("--precision=fp32", "--enable_benchmark=True"):
        assert option in rows[0].split()
    assert f"--model_file={save}/inference/model.json" in rows[0].split()
    assert f"--params_file={save}/inference/model.pdiparams" in rows[0].split()
    assert "--input_file=./test_tipc/data/lite/weave/test" in rows[0].split()


def test_each_failed_step_is_red_and_counts(project):
    done = chain(project, fails="--cpu_threads=2")
    assert done.returncode == 4
    red = [line for line in results(project) if line.startswith(RED)]
    assert len(red) == 4
    assert all("Run failed with command - PaDiM - " in line for line in red)
    assert all("--cpu_threads=2" in line for line in red)
    assert all(line in done.stdout for line in red)
    assert "7 passed, 4 failed, 15 skipped" in done.stdout


def test_an_option_that_infer_does_not_know_makes_the_rows_fail(project):
    """With the real infer.py; the stand-in trains."""
    for name in ("infer.py", "common", "datasets", "models", "tasks"):
        (project / name).symlink_to(ROOT / name)
    change(project, ("--cpu_threads:1|2", "--cpu_thread:1"), ("--batch_size:1|8", "--batch_size:1"))
    done = chain(project, REAL="infer.py", REAL_PYTHON=sys.executable)
    assert done.returncode == 2
    red = [line for line in results(project) if line.startswith(RED)]
    assert len(red) == 2 and all("--cpu_thread=1" in line for line in red)
    assert "unrecognized arguments: --cpu_thread=1" in done.stdout


def test_a_failed_training_fails_even_if_an_older_model_is_there(project):
    old = project / "test_tipc/output/PaDiM/norm_train_gpus_-1_autocast_fp32/weave/best.pdparams"
    old.parent.mkdir(parents=True)
    old.touch()
    stale = project / "test_tipc/output/PaDiM/python_infer_cpu_stale.log"
    stale.touch()
    assert chain(project, fails="train.py").returncode == 1
    assert not old.exists() and not stale.exists()


def test_whole_infer_exports_a_model_and_runs_the_rows(project):
    done = chain(project, "whole_infer")
    assert done.returncode == 0, done.stderr
    export, *rows = calls(project)
    model = "./test_tipc/data/model/bottle/best.pdparams"
    assert export == (
        f"export_model.py --model_path={model} --save_dir=test_tipc/output/PaDiM/whole_infer"
    )
    assert len(rows) == 8
    assert all("--input_file=./test_tipc/data/whole/bottle/test" in row.split() for row in rows)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), ("usage", "MODE")),
        ((CONFIG,), ("usage", "MODE")),
        (("nothing.txt", LITE), ("nothing.txt", "no such config")),
        ((CONFIG, "lite"), ("mode lite", "whole_infer")),
    ],
)
@pytest.mark.parametrize("script", ["prepare.sh", "test_train_inference_python.sh"])
def test_wrong_use_is_named(project, script, arguments, words):
    done = bash(project, script, *arguments)
    assert done.returncode == 2
    assert all(word in done.stderr for word in words), done.stderr
    assert not (project / "calls").exists()


def test_a_shifted_line_is_an_error(project):
    change(project, ("gpu_list:-1|0\n", ""))
    done = chain(project)
    assert done.returncode == 2 and "line 15" in done.stderr and "trainer" in done.stderr


def test_a_python_that_is_not_there_is_named(project):
    done = chain(project, PYTHON="no-such-python")
    assert done.returncode == 2 and "no-such-python" in done.stderr


def test_windows_line_ends_are_no_matter(project):
    path = project / CONFIG
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert chain(project).returncode == 0


def test_nothing_run_is_no_success(project):
    change(project, ("gpu_list:-1|0", "gpu_list:0"), ("use_gpu:False|True", "use_gpu:True"))
    done = chain(project)
    assert done.returncode == 1 and "0 passed, 0 failed, 1 skipped" in done.stdout


def test_prepare_draws_the_lite_pictures(project):
    done = bash(project, "prepare.sh", CONFIG, LITE)
    assert done.returncode == 0, done.stderr
    (drawn,) = calls(project)
    assert drawn.startswith("-m datasets.demo --save_path ./test_tipc/data/lite ")
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
    assert train.startswith("train.py --data_path ./test_tipc/data/whole --category bottle ")
    assert "--save_path ./test_tipc/data/model" in train
    assert bash(project, "prepare.sh", CONFIG, "whole_infer", MVTEC_PATH=root).returncode == 0
    assert len(list((root / "bottle/train/good").iterdir())) == 50


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


def test_prepare_writes_nowhere_else(project):
    change(project, ("=./test_tipc/data/lite/weave/test", "=./lite/weave/test"))
    (project / "lite").mkdir()
    done = bash(project, "prepare.sh", CONFIG, LITE)
    assert done.returncode == 2 and "./test_tipc/data" in done.stderr
    assert (project / "lite").exists()


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
    assert done.returncode == 0 and "2 passed, 0 failed, 1 skipped" in done.stdout
    assert "no onnx here" in done.stdout


def test_the_int8_chain_compares_all_rows_with_float32(project):
    done = other_chain(project, "test_ptq_inference_python.sh", "ptq_infer")
    assert done.returncode == 0, done.stderr
    rows = [line for line in calls(project) if "--precision=int8" in line]
    assert len(rows) == 4 and "11 passed, 0 failed, 0 skipped" in done.stdout
    (quantized,) = [line for line in calls(project) if "--quantize=" in line]
    assert "--quantize=./test_tipc/data/lite/weave/train/good" in quantized
    assert calls(project)[-1].startswith("test_tipc/compare_results.py")


def test_without_int8_its_half_is_skipped(project):
    done = other_chain(project, "test_ptq_inference_python.sh", "ptq_infer", missing="int8")
    assert done.returncode == 0 and "5 passed, 0 failed, 5 skipped" in done.stdout
    assert "no int8 here" in done.stdout


def test_the_dynamic_chain_compares_both_ways(project):
    script = "test_train_dy2static_python.sh"
    done = other_chain(project, script, "train_dy2static", fails="--to_static=False")
    assert done.returncode == 2  # dynamic training and prediction
    ways = [re.findall("--to_static=(\\w+)", line) for line in calls(project)]
    assert ways == [["False"], ["False"], ["True"], ["True"], []]


def compare(project: Path, *arguments):
    return subprocess.run(
        [sys.executable, "test_tipc/compare_results.py", *arguments],
        cwd=project,
        capture_output=True,
        text=True,
    )


@pytest.fixture
def logs(project) -> Path:
    """A log beside a reference of its own, and a second reference of other pictures."""
    (project / "results").mkdir()
    (project / "results/one_fp32.txt").write_text("a/0.png\t10.000000\nb c/1.png\t2.500000\n")
    (project / "results/two_fp32.txt").write_text("a/0.png\t7.0\n")
    (project / "results/one_int8.txt").write_text("a/0.png\t11.0\nb c/1.png\t2.5\n")
    text = "weights: x\na/0.png\t10.000001\tgood\nb c/1.png\t2.500000\tdefective\ndata_num: 2\n"
    (project / "python_precision_fp32_batchsize_1.log").write_text(text)
    return project


FILES = ("--gt_file", "results/*.txt", "--log_file", "python_*.log")


def test_scores_of_the_reference_pass(logs):
    done = compare(logs, *FILES)
    assert done.returncode == 0 and "1 passed, 0 failed" in done.stdout
    assert "one_fp32.txt" in done.stdout and "2 scores" in done.stdout


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("10.000000", "10.100000"),  # by 1 %
        ("2.500000", "2.475000"),
        ("2.500000", "nan"),
        ("b c/1.png", "b c/2.png"),
        ("b c/1.png\t2.500000\n", ""),
    ],
)
def test_any_other_number_or_name_fails(logs, old, new):
    path = logs / "results/one_fp32.txt"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    done = compare(logs, *FILES)
    assert done.returncode == 1 and "0 passed, 1 failed" in done.stdout


def test_tolerances_can_be_given(logs):
    assert compare(logs, *FILES, "--atol", "0", "--rtol", "1e-8").returncode == 1
    assert compare(logs, *FILES, "--atol", "0", "--rtol", "1e-6").returncode == 0


def test_each_precision_has_its_reference_or_fp32s_with_more_room(logs):
    log = logs / "python_precision_fp32_batchsize_1.log"
    other = logs / "python_precision_int8_batchsize_1.log"
    other.write_text(log.read_text().replace("10.000001", "11.5"))
    log.write_text(log.read_text().replace("10.000001", "10.3"))
    log.rename(logs / "python_precision_bf16_batchsize_1.log")
    done = compare(logs, *FILES)
    assert done.returncode == 0, done.stdout
    assert "bf16_batchsize_1.log and results/one_fp32.txt" in done.stdout
    assert "int8_batchsize_1.log and results/one_int8.txt" in done.stdout


def test_a_log_without_scores_fails(logs):
    (logs / "python_precision_fp32_batchsize_8.log").write_text("error: no such model\n")
    done = compare(logs, *FILES)
    assert done.returncode == 1 and "batchsize_8.log has no scores" in done.stdout


@pytest.mark.parametrize("option", ["--gt_file", "--log_file"])
def test_a_pattern_that_finds_nothing_is_wrong_use(logs, option):
    done = compare(logs, *FILES, option, "nothing/*.txt")
    assert done.returncode == 2 and "nothing/*.txt" in done.stderr
