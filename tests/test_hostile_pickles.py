"""What weight files may not hide, and how the converter names it (more in tests.corpus)."""

import pickle
import sys

import pytest

from common.errors import run
from models.backbones import weights
from tests.corpus.pickles import ATTACKS, name, of_tensor, text
from tests.pickle_files import write_zip


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_the_attacks_of_the_corpus_work_on_the_standard_unpickler(tmp_path, attack):
    pickle.loads(pickle.dumps(attack(tmp_path / "marker"), protocol=2))
    assert (tmp_path / "marker").exists()


def test_attributes_of_a_dictionary_do_not_hide_its_methods(tmp_path):
    evil = dict.fromkeys(("get", "items", "__class__"), 5)
    attributes = pickle.dumps(evil, 2)[2:-1]
    content = name("collections", "OrderedDict") + b")R" + attributes + b"b" + text("a") + b"Ns."
    (tmp_path / "a.pdparams").write_bytes(b"\x80\x02" + content)
    assert weights.read(tmp_path / "a.pdparams") == {}


def test_the_converter_prints_one_line_and_ends_with_1(tmp_path, monkeypatch, capsys):
    path = write_zip(tmp_path / "a.pth", of_tensor(tmp_path))
    command = ["weights", "convert", str(path), str(tmp_path / "out.safetensors")]
    monkeypatch.setattr(sys, "argv", command)
    monkeypatch.setattr(weights, "start_logging", lambda: None)
    with pytest.raises(SystemExit) as ended:
        run(weights.main)
    error = capsys.readouterr().err
    assert ended.value.code == 1 and error.startswith("error: ") and error.count("\n") == 1
    assert [file.name for file in tmp_path.iterdir()] == ["a.pth"]
