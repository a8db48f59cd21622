"""What each of several processes does with its share of the training pictures."""

from collections.abc import Callable
from functools import reduce
from operator import or_
from pathlib import Path

import msgspec
import numpy as np

from common.calibration import LEFT_OUT
from common.looks import Looks
from datasets.loader import Loader
from datasets.samples import Category, Sample
from inspection.normal import NormalPictures, left_out, pictures_digest
from models.detector import Detector
from models.heads import Head
from models.kept import KeptMaps
from tasks.processes import packed, processes, unpacked


def own_share(category: Category) -> list[Sample]:
    """The training pictures of this process; UsageError if the others see other pictures."""
    processes().require_same(pictures_digest(category.train), "training pictures")
    return list(processes().share(category.train))


def join(detector: Detector) -> Callable[[Head], Head] | None:
    """Merges the heads of all processes; None where there is one."""
    if processes().count == 1:
        return None
    return lambda head: processes().merged(head, detector.blank)


def looks_together(looks: Looks | None) -> Looks | None:
    """Of the training pictures of all processes; `looks`: of those of this one."""
    parts = processes().gathered(msgspec.json.encode(looks))
    known = [msgspec.json.decode(part, type=Looks | None) for part in parts]
    return reduce(or_, filter(None, known)) if any(known) else None


def left_out_together(
    detector: Detector, kept: KeptMaps, samples: list[Sample], rest: Loader
) -> NormalPictures:
    """As `left_out`, of the pictures of all processes in their order: each scores its `samples`."""
    group = processes()
    counts = [int(count) for count in group.gathered(b"%d" % len(samples))]
    begin = sum(counts[: group.rank])
    own = left_out(detector, kept, samples, rest, begin, (begin, sum(counts)))
    found = NormalPictures(LEFT_OUT)
    for part in group.gathered(_packed(own)):
        found.join(_unpacked(part))
    return found


def _packed(found: NormalPictures) -> bytes:
    names = b"\0".join(
        str(sample.path).encode("utf-8", "surrogateescape") for sample in found.samples
    )
    arrays = {name: np.array(getattr(found, name), float) for name in ("image", "peak", "usual")}
    score, index, pixels = zip(*found.unusual, strict=True) if found.unusual else ((), (), ())
    arrays |= {"score": np.array(score, float), "index": np.array(index, np.int64)}
    arrays |= {f"map{i}": one for i, one in enumerate(pixels)}
    return packed(arrays | {"names": np.frombuffer(names, np.uint8)})


def _unpacked(data: bytes) -> NormalPictures:
    arrays = unpacked(data)
    names = arrays["names"].tobytes()
    paths = [Path(one.decode("utf-8", "surrogateescape")) for one in names.split(b"\0") if one]
    values = (arrays[name].tolist() for name in ("image", "peak", "usual"))
    found = NormalPictures(LEFT_OUT, [*map(Sample, paths)], *values)
    pairs = enumerate(zip(arrays["score"].tolist(), arrays["index"].tolist(), strict=True))
    found.unusual = [(score, index, arrays[f"map{i}"]) for i, (score, index) in pairs]
    return found
