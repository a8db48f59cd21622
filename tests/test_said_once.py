"""What a run says, it says once; times go to the log file."""

import pytest

from tests.conftest import SMALL, call


@pytest.fixture(scope="module")
def told(demo, tmp_path_factory):
    """The result of `train.py --val True`, and the text of its log file."""
    folder = tmp_path_factory.mktemp("told")
    result = call(
        *("train", "--data_path", demo, "--category", "flange", "--save_path", folder, *SMALL),
        *("--val", "True", "--html", "False", "--log_dir", folder / "logs"),
    )
    assert result.code == 0, result.err
    return result, (folder / "logs" / "flange.log").read_text()


def test_the_table_is_printed_once(told):
    result, log = told
    assert (result.out + result.err).count("AUPRO") == 1
    assert result.out.count("Class:flange: Image AUC") == 1


def test_times_are_in_the_log_file_only(told):
    result, log = told
    assert "seconds:" not in result.out + result.err
    assert log.count("seconds:") >= 1


@pytest.mark.process
def test_exported_files_are_listed_once(trained, tmp_path):
    result = call("export_model", "--model_path", trained / "flange", "--save_dir", tmp_path)
    assert result.code == 0, result.err
    for name in ("distribution", "model.pdiparams"):
        assert (result.out + result.err).count(str(tmp_path / name)) == 1, result.out + result.err
