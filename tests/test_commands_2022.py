"""The commands of the README of 2022, word for word, on a small category."""

import shlex
from pathlib import Path

import numpy as np
import paddle
import pytest
from PIL import Image

from demo_set.generate import generate
from models.backbones import sources
from tests.conftest import call

# The paths of that README are those of its author; `weave` stands for `carpet`.
COMMANDS = """
train.py --data_path=PATH/MVTec/ --category weave  --val=True --save_path=./output --seed 7 --pretrained_backbone=./models/resnet18.pdiparams
val.py --data_path=PATH/MVTec/ --category weave  --model_path=./output/weave/best.pdparams --save_picture=True --save_path=./output --seed 7
predict.py --picture_path=PATH/MVTec/weave/test/stain/000.png --category weave  --model_path=./output/weave/best.pdparams --save_picture=True --save_path=predict.png --seed 7
export_model.py --depth 18 --img_size=224 --model_path=./output/weave/best.pdparams --save_dir=./output
infer.py --model_file=output/model.pdmodel --input_file=PATH/MVTec/weave/test/stain/000.png --params_file=output/model.pdiparams --category=weave  --distribution=./output/distribution --save_path=./output --seed=7
"""  # noqa: E501


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Script → what it printed, and the folder in which all ran."""
    folder, found = tmp_path_factory.mktemp("commands"), {}
    generate(folder / "PATH/MVTec", categories=["weave"], size=96, train=4, good=1, defective=1)
    (folder / "models").mkdir()
    state = sources.find("resnet18", "embedded").state
    tensors = {key: paddle.to_tensor(array.astype(np.float32)) for key, array in state.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        paddle.save(tensors, "models/resnet18.pdiparams")
        for line in COMMANDS.strip().splitlines():
            script, *words = shlex.split(line)
            result = call(Path(script).stem, *words)
            assert result.code == 0, (line, result.err)
            found[Path(script).stem] = result
    return found, folder


def test_the_weights_decide_that_it_is_resnet18(results):
    found, folder = results
    log = (folder / "logs/weave.log").read_text()
    assert "models/resnet18.pdiparams: weights of resnet18" in found["train"].err
    assert "weights: resnet18.pdiparams of resnet18 (given file), SHA-256" in log
    assert (folder / "output/weave/best.pdparams").is_file()


def test_pictures_are_where_they_were(results):
    _, folder = results
    with Image.open(folder / "predict.png") as sheet:
        assert sheet.width > 224
    sheets = sorted((folder / "output/weave/pictures").rglob("*.png"))
    assert len(sheets) == 5, sheets  # one of each kind of defect, one good


def test_the_exported_files_give_the_same_score(results):
    found, _ = results
    scores = [float(found[name].lines[0].split("\t")[1]) for name in ("predict", "infer")]
    assert scores[1] == pytest.approx(scores[0], rel=1e-4)
