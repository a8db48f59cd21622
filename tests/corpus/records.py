"""Every field of a record with every absurd value."""

import json
from collections.abc import Iterator

from tests.corpus import samples
from tests.corpus.changed_files import content_of
from tests.corpus.rows import Row

ABSURD = [
    *(None, True, -1, 0, 1e7, 1e300, 10**30, "x", "x" * 5000, [], {}, [1, 2, 3], [[]]),
    [None] * 3,
    ["layer1"] * 5000,
]
MISSING = object()
NUMBERS = [-1, 0, 1e7, 1e300, 10**30]
FINE = {  # what is absurd elsewhere, and right here
    "settings.epsilon": [1e7],
    "features.variant": [None],
    "features.seed": [None, 0],
    "features.weights.name": ["x"],
    "features.weights.sha256": ["x"],
    "features.weights.origin": ["x"],
    "category": ["x"],
    "unit": [1e7, 1e300, 10**30],
    "roi": [True],
    "calibration.normal": [None],
    "calibration.normal.usual": NUMBERS,
    "calibration.best_f1": [None],
    "calibration.best_f1.image": NUMBERS,
    "calibration.best_f1.peak": NUMBERS,
    "calibration.best_f1.pixel": NUMBERS,
    "calibration.best_f1.usual": NUMBERS,
    "calibration.best_f1.source": ["x"],
    "looks": [None, MISSING],
    "exported": [None],
    "exported.graphs": [[]],
    "exported.probe_embedding": [[1, 2, 3]],
    "exported.probe_map": [[1, 2, 3]],
    "exported.probe_image": [[1, 2, 3]],
    "preprocessing.mean": [[1, 2, 3]],
    "preprocessing.std": [[1, 2, 3]],
}


def fields(record: dict, before: str = "") -> Iterator[str]:
    """`a`, `a.b`, … of all fields."""
    for key, value in record.items():
        yield f"{before}{key}"
        if isinstance(value, dict):
            yield from fields(value, f"{before}{key}.")


def without(record: dict, name: str, value) -> str:
    """The JSON of `record` with another value of a field, or without it."""
    changed = json.loads(json.dumps(record))
    *parents, last = name.split(".")
    inner = changed
    for parent in parents:
        inner = inner[parent]
    if value is MISSING:
        del inner[last]
    else:
        inner[last] = value
    return json.dumps(changed)


def whole() -> dict:
    """A record with all its parts."""
    content = content_of(samples.distribution)
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return json.loads(header["__metadata__"]["record"])


def rows() -> Iterator[Row]:
    record = whole()
    yield Row("records", "whole", "record", lambda folder: json.dumps(record))
    for name in fields(record):
        if name in ("format", "version"):
            continue
        for value in (*ABSURD, MISSING):
            fine = any(value == one and type(value) is type(one) for one in FINE.get(name, []))
            text = without(record, name, value)
            shown = "missing" if value is MISSING else f"{json.dumps(value):.14s}"
            if not isinstance(value, (str, list)) or len(value) < 100:
                title = f"{name} is {shown}"
            else:
                title = f"{name} is {shown} of {len(value)}"
            yield Row(
                *("records", title, "record", lambda folder, t=text: t),
                None if fine else "(?s)^.{1,400}$",
            )
    for number in ("NaN", "Infinity", "-Infinity", "1e999"):
        text = json.dumps(record).replace('"sigma": 4.0', f'"sigma": {number}')
        yield Row("records", f"sigma {number}", "record", lambda folder, t=text: t, "JSON|sigma")
    for text in ("", "null", "3", "[]", '"x"', "[" * 10**5, '{"a":' * 10**5, "{}", "x" * 2**21):
        yield Row(
            "records", f"{text[:12]!r}", "record", lambda folder, t=text: t, "JSON|record|method"
        )
