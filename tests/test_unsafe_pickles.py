"""Pickles that ask for code are refused, and nothing in them is executed."""

import os
import pathlib
import pickle

import numpy as np
import pytest

from common.errors import WorkError
from models.backbones import weights
from tests.pickle_files import EVERY_WRITER, dump, read, tensor, write_legacy


class Call:
    """Pickles as a call, which the standard unpickler carries out."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


ATTACKS = {
    "os.system": lambda marker: Call(os.system, f"touch '{marker}'"),
    "open": lambda marker: Call(open, str(marker), "w"),
    "pathlib": lambda marker: Call(pathlib.Path.touch, marker),
    "eval": lambda marker: Call(eval, f"open({str(marker)!r}, 'w')"),
    "exec": lambda marker: Call(exec, f"open({str(marker)!r}, 'w')"),
    "numpy": lambda marker: Call(np.ndarray.tofile, np.zeros(1), str(marker)),
}


EVERY_ATTACK = pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)


@EVERY_ATTACK
def test_the_attacks_do_work_on_the_standard_unpickler(tmp_path, attack):
    pickle.loads(pickle.dumps(attack(tmp_path / "marker"), protocol=2))
    assert (tmp_path / "marker").exists()


@EVERY_WRITER
@EVERY_ATTACK
def test_pickles_that_call_functions_are_refused_unexecuted(tmp_path, write, attack):
    state = {"x": attack(tmp_path / "marker")}
    with pytest.raises(WorkError, match=r"state\.pth: refused: asks for .*nothing was executed"):
        read(write, tmp_path, state)
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("place", ["system", "keys"])
def test_the_other_pickles_of_the_old_format_are_refused_too(tmp_path, place):
    state = {"w": tensor(np.ones(2, "f4"))}
    attack = {place: ATTACKS["os.system"](tmp_path / "marker")}
    with pytest.raises(WorkError, match="refused"):
        weights.read(write_legacy(tmp_path / "a.pth", state, **attack))
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("name", ["builtins getattr", "torch load", "numpy load", "os getcwd"])
def test_names_that_tensors_do_not_need_are_refused_even_uncalled(tmp_path, name):
    module, _, function = name.partition(" ")
    path = tmp_path / "a.pdparams"
    path.write_bytes(b"\x80\x02}X\x01\x00\x00\x00xc" + f"{module}\n{function}\n".encode() + b"s.")
    with pytest.raises(WorkError, match=f"refused: asks for {module}.{function}"):
        weights.read(path)


def test_nothing_outside_the_file_is_looked_up(tmp_path):
    (tmp_path / "a.pdparams").write_bytes(dump({"w": tensor(np.ones(2, "f4"))})[0])
    with pytest.raises(WorkError, match="refused.*outside the file"):
        weights.read(tmp_path / "a.pdparams")


@pytest.mark.parametrize(
    "evil",
    [
        Call(np.ndarray, (1,), "u1"),
        Call(tuple, Call(np.ndarray, (1,), "O", b"AAAAAAAA")),
        Call(np.dtype, "O"),
        Call(np.dtype, "V8"),
        np.array([{}], object),
        np.zeros(2, [("a", "i4")]),
    ],
)
def test_arrays_that_could_point_anywhere_are_refused(tmp_path, evil):
    path = tmp_path / "evil.pdparams"
    path.write_bytes(pickle.dumps({"w": evil}, 4))
    with pytest.raises(WorkError, match="refused"):
        weights.read(path)
