"""A model file with a damaged or absurd record: one line and exit code 1 (more in tests.corpus)."""

import pytest

from tests.conftest import fails
from tests.corpus.samples import contents, rewritten
from tests.model_files import predict


@pytest.mark.parametrize(("field", "value"), [("sigma", 1e7), ("method", "../../evil")])
def test_an_absurd_record_is_one_line(field, value, model, demo, tmp_path):
    arrays, record = contents(model)
    path = rewritten(tmp_path / "model.pdparams", arrays, {**record, field: value})
    fails(predict(path, demo, tmp_path), 1, path, "damaged")


@pytest.mark.parametrize("text", ["[" * 10**5, "{}"])
def test_what_is_no_record_is_said(text, model, demo, tmp_path):
    arrays, _ = contents(model)
    path = rewritten(tmp_path / "model.pdparams", arrays, text)
    fails(predict(path, demo, tmp_path), 1, path, "not a checkpoint")
