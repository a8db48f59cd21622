"""The record of a model file: damaged or absurd values give one clear error."""

import json

import pytest

from models.record import RecordError, decode
from tests.conftest import fails
from tests.model_files import contents, predict, write

ABSURD = [
    *(None, True, -1, 0, 1e7, 1e300, 10**30, "x", "x" * 5000, [], {}, [1, 2, 3], [[]]),
    [None] * 3,
    ["layer1"] * 5000,
]


FINE = {  # what is absurd elsewhere, and right here
    "settings.epsilon": [1e7],
    "features.variant": [None],
    "features.seed": [None, 0],
    "features.weights.name": ["x"],
    "features.weights.sha256": ["x"],
    "features.weights.origin": ["x"],
    "category": ["x"],
    "unit": [1e7, 1e300, 10**30],
    "calibration.normal": [None],
    "calibration.normal.usual": [-1, 0, 1e7, 1e300, 10**30],
    "calibration.best_f1": [None],
    "calibration.best_f1.image": [-1, 0, 1e7, 1e300, 10**30],
    "calibration.best_f1.peak": [-1, 0, 1e7, 1e300, 10**30],
    "calibration.best_f1.pixel": [-1, 0, 1e7, 1e300, 10**30],
    "calibration.best_f1.usual": [-1, 0, 1e7, 1e300, 10**30],
    "calibration.best_f1.source": ["x"],
    "exported": [None],
}


FREE = {"preprocessing", "sigma"}  # of values near the right ones, tested below


def fields(record: dict, before: str = "") -> list[str]:
    """`a`, `a.b`, … of all fields."""
    names = []
    for key, value in record.items():
        names.append(f"{before}{key}")
        if isinstance(value, dict):
            names += fields(value, f"{before}{key}.")
    return names


def test_no_field_of_a_record_takes_an_absurd_value(model):
    _, record = contents(model)
    names = [name for name in fields(record) if name not in ("format", "version")]
    assert len(names) > 30
    for name in names:
        *parents, last = name.split(".")
        for value in ABSURD:
            changed = json.loads(json.dumps(record))
            inner = changed
            for parent in parents:
                inner = inner[parent]
            inner[last] = value
            text = json.dumps(changed)
            if name == "roi" and isinstance(value, bool):
                decode(text)
                continue
            if value in FINE.get(name, []) and not isinstance(value, bool):
                decode(text)
                continue
            if name.partition(".")[0] in FREE and not isinstance(value, bool):
                try:
                    decode(text)
                except RecordError:
                    continue
                assert value in (0, -1, [1, 2, 3]), (name, value)  # a mean of 0 may be meant
                continue
            with pytest.raises(RecordError) as error:
                decode(text)
            assert len(str(error.value)) < 400, name
            del inner[last]
            with pytest.raises(RecordError):
                decode(json.dumps(changed))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sigma", 1e7),
        ("preprocessing", {"resize": 10**5, "crop": [10**5, 10**5]}),
        ("preprocessing", {"resize": None}),
        ("preprocessing", {"resize": -1}),
        ("preprocessing", {"crop": [8, 8]}),
        ("preprocessing", {"std": [0.1, 0.0, 0.1]}),
        ("layers", ["layer1"] * 5000),
        ("method", "../../evil"),
    ],
)
def test_an_absurd_record_is_one_line(field, value, model, demo, tmp_path):
    arrays, record = contents(model)
    inner = record["features"] if field == "layers" else record
    inner[field] = value
    path = write(tmp_path / "model.pdparams", arrays, record)
    fails(predict(path, demo, tmp_path), 1, path, "damaged")


@pytest.mark.parametrize(
    "text",
    ["", "null", "3", "[]", '"x"', "[" * 10**5, "{" * 10**5, '{"a":' * 10**5, "{}", "x" * 2**21],
)
def test_what_is_no_record_is_said(text, model, demo, tmp_path):
    arrays, _ = contents(model)
    path = write(tmp_path / "model.pdparams", arrays, text)
    fails(predict(path, demo, tmp_path), 1, path, "not a checkpoint")


def test_infinite_and_missing_numbers_are_no_json(model):
    _, record = contents(model)
    for number in ("NaN", "Infinity", "-Infinity", "1e999"):
        text = json.dumps(record).replace('"sigma": 4.0', f'"sigma": {number}')
        with pytest.raises(RecordError):
            decode(text)
