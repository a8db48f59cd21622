"""The chain of training and inference in test_tipc, and its config."""

import shutil
import sys
from pathlib import Path

import pytest

from tests.tipc import (
    CONFIG,
    GREEN,
    LITE,
    RED,
    ROOT,
    YELLOW,
    bash,
    calls,
    chain,
    change,
    copy_chains,
    results,
)

pytestmark = [pytest.mark.process, pytest.mark.once]


@pytest.fixture
def project(tmp_path) -> Path:
    return copy_chains(tmp_path)


@pytest.mark.parametrize("name", ["", "_default", "_efficientnet_b0", "_patchcore", "_spade"])
def test_the_config_has_tipcs_lines(name):
    lines = (ROOT / CONFIG.replace(".txt", f"{name}.txt")).read_text().splitlines()
    assert len(lines) == 51
    keys = {number: line.partition(":")[0] for number, line in enumerate(lines, 1)}
    places = {2: "model_name", 3: "python", 4: "gpu_list", 5: "Global.use_gpu"}
    places |= {6: "Global.auto_cast", 11: "train_model_name", 12: "train_infer_img_dir"}
    places |= {15: "trainer", 16: "norm_train", 24: "eval", 30: "norm_export", 37: "infer_model"}
    places |= {38: "infer_export", 40: "inference", 41: "--use_gpu", 42: "--enable_mkldnn"}
    places |= {43: "--cpu_threads", 44: "--batch_size", 45: "--use_tensorrt", 46: "--precision"}
    places |= {47: "--model_file", 48: "--input_file", 50: "--enable_benchmark"}
    places |= {51: "--params_file"}
    if name:  # other pictures than whole_infer's, and other devices than the CPU, are not tried
        assert lines[3] == "gpu_list:-1" and lines[36] == "infer_model:null"
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
    assert done.returncode == 2 and "error: config" not in done.stderr, done.stderr
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
        f"export_model.py --model_path={model} --save_dir=test_tipc/output/PaDiM/whole_infer_bottle"
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


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("Global.use_gpu:False|True", "Global.use_gpu:False", ("2 entries", "1")),
        ("Global.use_gpu:False|True", "Global.use_gpu:True|True", ("gpu_list -1", "True")),
        ("Global.use_gpu:False|True", "Global.use_gpu:False|true", ("gpu_list 0", "true")),
        ("Global.auto_cast:fp32", "Global.auto_cast:fp64", ("Global.auto_cast:fp64",)),
        ("--use_gpu:True|False", "--use_gpu:True|false", ("--use_gpu:false",)),
        ("--precision:fp32", "--precision:float", ("--precision:float",)),
        ("trainer:norm_train", "trainer:pact_train", ("pact_train", "no command")),
    ],
)
def test_a_wrong_value_is_named_before_the_first_step(project, old, new, words):
    change(project, (old, new))
    done = chain(project)
    assert done.returncode == 2 and all(word in done.stderr for word in words), done.stderr
    assert not (project / "calls").exists()


def test_the_device_follows_from_gpu_list_where_use_gpu_is_null(project):
    change(project, ("Global.use_gpu:False|True", "Global.use_gpu:null|null"))
    assert chain(project).returncode == 0
    trained = [line for line in calls(project) if line.startswith("train.py")]
    assert len(trained) == 1 and "--device=cpu" in trained[0].split()


def test_a_list_may_depend_on_the_mode(project):
    change(project, ("--batch_size:1|8", f"--batch_size:{LITE}=2|4|whole_infer=8"))
    assert chain(project).returncode == 0
    rows = [line for line in calls(project) if line.startswith("infer.py")]
    sizes = {word for row in rows for word in row.split() if word.startswith("--batch_size")}
    assert sizes == {"--batch_size=2", "--batch_size=4"}


def test_null_leaves_an_option_out(project):
    change(project, ("--params_file:model.pdiparams", "null:null"), ("--enable_mkldnn", "null"))
    assert chain(project).returncode == 0
    rows = [line for line in calls(project) if line.startswith("infer.py")]
    assert rows and not any("params" in row or "null" in row or "mkldnn" in row for row in rows)


def test_an_interrupted_step_ends_the_chain(project):
    script = project / "stand-in"
    script.write_text(script.read_text().replace("exit 3", "exit 130"))
    assert chain(project, fails="val.py").returncode == 130
    assert [line.split()[0] for line in calls(project)] == ["train.py", "val.py"]


def test_a_python_in_a_folder_with_a_space_and_a_cdpath(project, tmp_path):
    (project / "a b").mkdir()
    shutil.copy(project / "stand-in", project / "a b/python")
    (tmp_path / "elsewhere/test_tipc").mkdir(parents=True)
    env = {"PYTHON": str(project / "a b/python"), "CDPATH": str(tmp_path / "elsewhere")}
    assert chain(project, **env).returncode == 0
    assert len(calls(project)) == 11


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
