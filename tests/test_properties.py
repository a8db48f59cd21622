"""Whatever a file or an option holds: the documented value, or a documented error."""

import contextlib
import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.errors import UsageError, WorkError
from common.options import (
    Parser,
    add_boolean,
    checked,
    folder_name,
    number,
    positive,
    side_or_size,
    whole,
)
from datasets.transforms import BadPictureError
from models.record import RecordError, decode
from tests.corpus import readers, samples
from tests.corpus.bombs import saved

FEW = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
PICTURES = {kind: saved(kind) for kind in ("PNG", "JPEG", "BMP", "TIFF", "WEBP")}
FILES = {
    "checkpoint": samples.model,
    "distribution": samples.distribution,
    "state": samples.state,
    "scores": samples.score_log,
}
WEIGHTS = (samples.torch_zip, samples.torch_legacy, samples.paddle_pickle, samples.safetensors)
CHANGES = st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=4), st.integers(0, 8)), max_size=4)


def changed(content: bytes, changes: list[tuple[float, bytes, int]]) -> bytes:
    """Pieces of `content` replaced: (place from 0 to 1, new bytes, number of old ones)."""
    found = bytearray(content)
    for place, new, old in changes:
        at = int(place * len(found))
        found[at : at + old] = new
    return bytes(found)


@pytest.mark.parametrize("kind", PICTURES)
@FEW
@given(changes=CHANGES, end=st.floats(0, 1))
def test_a_changed_picture_is_a_picture_or_named(kind, changes, end):
    content = changed(PICTURES[kind], changes)
    content = content[: math.ceil(end * len(content))] if end > 0.5 else content
    for transform in (readers.PILLOW, readers.VIPS):
        with contextlib.suppress(BadPictureError):
            picture, size = transform.sized_picture(content)
            assert picture.shape == (64, 64, 3) and picture.dtype == np.uint8
            assert min(size) > 0
    with contextlib.suppress(BadPictureError):
        assert readers.PILLOW.mask(content).shape == (64, 64)


@FEW
@given(content=st.binary(max_size=300), start=st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"BM"]))
def test_bytes_are_a_picture_or_named(content, start):
    for transform in (readers.PILLOW, readers.VIPS):
        with pytest.raises(BadPictureError):
            transform.picture(start + content)


@pytest.fixture(scope="module")
def whole_files(tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("whole")
    return {name: make(folder / name).read_bytes() for name, make in FILES.items()}


@pytest.mark.parametrize("kind", FILES)
@FEW
@given(changes=CHANGES)
def test_a_changed_file_of_ours_is_read_or_named(kind, changes, whole_files, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(changed(whole_files[kind], changes))
    try:
        readers.READERS[kind](path)
    except (UsageError, WorkError) as error:
        assert str(path) in str(error) and len(str(error)) < 1000
    else:  # digests notice every change of a model file
        assert kind == "scores" or path.read_bytes() == whole_files[kind]


@pytest.mark.parametrize("make", WEIGHTS)
@FEW
@given(changes=CHANGES)
def test_changed_weights_are_read_or_named(make, changes, tmp_path):
    path = make(tmp_path / "weights")
    path.write_bytes(changed(path.read_bytes(), changes))
    try:
        readers.read_weights(path)
    except WorkError as error:
        assert str(path) in str(error) and len(str(error)) < 1000


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def record(tmp_path_factory) -> dict:
    return samples.contents(samples.distribution(tmp_path_factory.mktemp("r") / "file"))[1]


@FEW
@given(data=st.data())
def test_a_changed_record_is_a_record_or_named(record, data):
    changed = json.loads(json.dumps(record))
    inner = changed
    while isinstance(inner[key := data.draw(st.sampled_from(sorted(inner)))], dict):
        inner = inner[key]
    inner[key] = data.draw(JSON)
    with contextlib.suppress(RecordError):
        found = decode(json.dumps(changed))
        assert found.pictures >= 1 and math.isfinite(found.unit)


@FEW
@given(text=st.text(max_size=30))
def test_types_of_options_take_a_text_or_raise_what_the_parser_shows(text):
    with contextlib.suppress(ValueError):
        assert math.isfinite(number(text))
    with contextlib.suppress(ValueError):
        assert positive(text) > 0
    with contextlib.suppress(ValueError):
        sides = side_or_size(text)
        assert min(sides if isinstance(sides, tuple) else [sides]) > 0
    with contextlib.suppress(ValueError):
        assert folder_name(text) == text and Path(text).name == text


@FEW
@given(words=st.lists(st.text(max_size=9) | st.sampled_from(["--val", "--no-val", "--count", "3"])))
def test_the_parser_takes_words_or_ends_with_2_and_one_line(words):
    parser = Parser("A parser for tests.")
    add_boolean(parser, "--val", False, "whether to")
    parser.add_argument("--count", type=whole(1, 9), help="how many")
    parser.add_argument("--near", type=checked(positive), help="a number")
    err, out = io.StringIO(), io.StringIO()
    with contextlib.redirect_stderr(err), contextlib.redirect_stdout(out):
        try:
            found = parser.parse_args(words)
        except SystemExit as end:
            assert end.code == (0 if out.getvalue().startswith("usage") else 2)
            assert end.code == 0 or err.getvalue().count("\n") == 1
        else:
            assert found.val in (True, False) and found.count in (None, *range(1, 10))
