"""What is fuzzed: readers of files, each with whole files to begin with.

A target reads the bytes that the fuzzer made. Only the errors that readers document may leave it.
"""

import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from common.errors import UsageError, WorkError
from models.record import RecordError
from tests.corpus import readers, samples
from tests.pickle_files import dump, tensor

MOST_MESSAGE = 2000  # characters


@dataclass(frozen=True)
class Target:
    """`seeds` write whole files; `read` gets bytes, and an empty place for a file."""

    read: Callable[[bytes, Path], None]
    seeds: list[Callable[[Path], object]]
    words: list[bytes] = field(default_factory=list)


def checked(target: Target, data: bytes, place: Path) -> None:
    """Read `data`; whatever leaves this function is a defect of the reader."""
    try:
        target.read(data, place)
    except (UsageError, WorkError, RecordError) as error:
        assert len(str(error)) < MOST_MESSAGE, "a message without end"


def of_file(name: str) -> Callable[[bytes, Path], None]:
    """A target's `read` from a reader of files."""

    def read(data: bytes, place: Path) -> None:
        place.write_bytes(data)
        readers.READERS[name](place)

    return read


def in_zip(data: bytes, place: Path) -> None:
    """`data` as the pickle of a whole archive, whose checksums fit."""
    with zipfile.ZipFile(place, "w") as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/data/0", bytes(96))
    readers.read_weights(place)


def pickle_of_zip(path: Path) -> None:
    path.write_bytes(dump({"a": tensor(np.ones(24, "f4"))})[0])


def in_header(data: bytes, place: Path) -> None:
    """`data` as the header of a safetensors file of weights."""
    place.write_bytes(len(data).to_bytes(8, "little") + data + bytes(104))
    readers.read_weights(place)


def header(path: Path) -> None:
    content = samples.safetensors(path).read_bytes()
    path.write_bytes(content[8 : 8 + int.from_bytes(content[:8], "little")])


def record_text(path: Path) -> None:
    path.write_text(json.dumps(samples.contents(samples.model(path))[1]))


def exclude_list(path: Path) -> None:
    path.write_text("000.png\ngood/000.png\n\n")


def changed_model(reader: Callable, make: Callable) -> Callable[[bytes, Path], None]:
    """A target's `read`: bytes say which fields and arrays of a whole file change, digests fit."""
    whole = {}

    def read(data: bytes, place: Path) -> None:
        import atheris

        method = "padim"
        provider = atheris.FuzzedDataProvider(data)
        if make is not samples.state:
            method = provider.PickValueInList(["padim", "patchcore", "spade"])
        if method not in whole:
            arguments = () if make is samples.state else (method,)
            whole[method] = samples.contents(make(place, *arguments))
        arrays, record = dict(whole[method][0]), json.loads(json.dumps(whole[method][1]))
        for _ in range(provider.ConsumeIntInRange(1, 3)):
            if provider.ConsumeBool():
                _change_record(provider, record)
            else:
                _change_arrays(provider, arrays)
        if arrays:
            samples.rewritten(place, arrays, record)
            reader(place)

    return read


def _change_record(provider, record: dict) -> None:
    inner, keys = record, list(record)
    while True:
        key = provider.PickValueInList(keys)
        value = inner[key]
        if not isinstance(value, (dict, list)) or not value or provider.ConsumeProbability() < 0.3:
            break
        inner, keys = value, list(value) if isinstance(value, dict) else list(range(len(value)))
    if isinstance(inner, dict) and provider.ConsumeProbability() < 0.1:
        del inner[key]
    else:
        inner[key] = _value(provider)


def _value(provider, depth: int = 2):
    simple = [
        lambda: None,
        provider.ConsumeBool,
        lambda: provider.ConsumeIntInRange(-(2**31), 2**31),
        lambda: provider.ConsumeIntInRange(0, 70),
        lambda: 2 ** provider.ConsumeIntInRange(0, 70),
        provider.ConsumeRegularFloat,
        lambda: provider.ConsumeUnicodeNoSurrogates(12),
        lambda: provider.PickValueInList(["layer1", "resnet18", "joint", "multiscale", "random"]),
        lambda: [_value(provider, depth - 1) for _ in range(provider.ConsumeIntInRange(0, 4))],
    ]
    return provider.PickValueInList(simple[: None if depth else -1])()


def _change_arrays(provider, arrays: dict) -> None:
    if not arrays:
        return
    name = provider.PickValueInList(sorted(arrays))
    array = arrays.pop(name)
    kind = provider.ConsumeIntInRange(0, 4)
    if kind == 1:
        arrays[name] = array.astype(provider.PickValueInList(["f2", "f8", "i8", "i4", "u1"]))
    elif kind == 2:
        arrays[name] = array.reshape(-1)[: provider.ConsumeIntInRange(0, array.size)]
    elif kind == 3:
        arrays[name] = np.full_like(array, provider.PickValueInList([0, 1, 3, 100]))
    elif kind == 4:
        sides = [provider.ConsumeIntInRange(0, 9) for _ in range(provider.ConsumeIntInRange(0, 4))]
        arrays[name] = np.zeros(sides, array.dtype)


def _choices(path: Path) -> None:
    path.write_bytes(np.random.default_rng(0).bytes(256))


WORDS = [b"numpy.core.multiarray\n_reconstruct\n", b"numpy\ndtype\n", b"torch._utils\n"]
WORDS += [b"_rebuild_tensor_v2\n", b"torch\nFloatStorage\n", b"collections\nOrderedDict\n"]
WORDS += [b"storage", b"cpu", b"\x80\x02}", b"ctorch\nBFloat16Storage\n", b"_codecs\nencode\n"]
NAMES = [b'"dtype"', b'"shape"', b'"data_offsets"', b'"__metadata__"', b'"BF16"', b'"F64"']
LINES = [b'{"line":"model",', b'{"line":"picture",', b'"model":', b'"scores":[', b'"time":"']
TARGETS = {
    "pickle": Target(of_file("weights"), [samples.paddle_pickle, samples.torch_legacy], WORDS),
    "zip": Target(of_file("weights"), [samples.torch_zip], [b"PK\x01\x02", b"PK\x03\x04"]),
    "zip-pickle": Target(in_zip, [pickle_of_zip], WORDS),
    "safetensors": Target(of_file("weights"), [samples.safetensors], NAMES),
    "safetensors-header": Target(in_header, [header], NAMES),
    "record": Target(
        lambda data, place: readers.read_record(data.decode("utf-8", "replace")), [record_text]
    ),
    "checkpoint": Target(of_file("checkpoint"), [samples.model], NAMES),
    "distribution": Target(of_file("distribution"), [samples.distribution], NAMES),
    "state": Target(of_file("state"), [samples.state], NAMES),
    "checkpoint-parts": Target(changed_model(readers.read_checkpoint, samples.model), [_choices]),
    "distribution-parts": Target(
        changed_model(readers.read_distribution, samples.distribution), [_choices]
    ),
    "state-parts": Target(changed_model(readers.read_state, samples.state), [_choices]),
    "scores": Target(of_file("scores"), [samples.score_log], LINES),
    "exclude": Target(of_file("exclude"), [exclude_list]),
}
