"""compare_results.py of test_tipc: whether logs of inference print the expected scores."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
pytestmark = [pytest.mark.process, pytest.mark.once]


@pytest.fixture
def project(tmp_path) -> Path:
    (tmp_path / "test_tipc").mkdir()
    shutil.copy(ROOT / "test_tipc/compare_results.py", tmp_path / "test_tipc")
    return tmp_path


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


def test_each_precision_uses_its_reference_or_fp32_with_larger_tolerance(logs):
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


def test_every_pattern_must_find_something(logs):
    done = compare(logs, *FILES, "nothing.log")
    assert done.returncode == 2 and "nothing.log" in done.stderr


@pytest.mark.parametrize("line", ["c/0.png\t3,5", "c/0.png\tinf", "a/0.png\t9.0", "c/0.png 3.5"])
def test_a_damaged_reference_is_no_reference(logs, line):
    with (logs / "results/one_fp32.txt").open("a") as file:
        file.write(line + "\n")
    done = compare(logs, *FILES)
    assert done.returncode == 2 and "one_fp32.txt" in done.stderr


def test_two_references_of_the_same_pictures_are_one_too_many(logs):
    shutil.copy(logs / "results/one_fp32.txt", logs / "results/other_fp32.txt")
    done = compare(logs, *FILES)
    assert done.returncode == 2 and "other_fp32.txt" in done.stderr


def test_a_picture_with_two_scores_fails(logs):
    with (logs / "python_precision_fp32_batchsize_1.log").open("a") as file:
        file.write("a/0.png\t10.000000\tgood\n")
    done = compare(logs, *FILES)
    assert done.returncode == 1 and "several scores" in done.stdout


def test_defaults_are_those_beside_the_script(logs):
    (logs / "test_tipc/output/PaDiM/gpu").mkdir(parents=True)
    shutil.move(logs / "results", logs / "test_tipc/results")
    source = logs / "python_precision_fp32_batchsize_1.log"
    for place in ("", "gpu/"):
        name = "python_infer_cpu_precision_fp32_batchsize_1.log"
        shutil.copy(source, logs / f"test_tipc/output/PaDiM/{place}{name}")
    done = compare(logs)
    assert done.returncode == 0 and "2 passed, 0 failed" in done.stdout
