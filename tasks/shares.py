"""What each of several processes does with its share of the pictures."""

import hashlib
from collections.abc import Callable, Iterator
from functools import reduce
from operator import or_
from pathlib import Path

import msgspec
import numpy as np

from common.looks import Looks
from datasets.loader import Loader
from datasets.samples import Sample
from evaluation.testing import ScoredPicture
from inspection.normal import NormalPictures, left_out
from models.detector import Detector
from models.heads import Head
from models.kept import KeptMaps
from tasks.processes import packed, processes, unpacked


def own_share(samples: list[Sample], what: str) -> list[Sample]:
    """The pictures of this process; UsageError if the others see other pictures. `what` they are:
    for the message."""
    if processes().count == 1:
        return samples
    paths = "\n".join(str(sample.path) for sample in samples)
    digest = hashlib.sha256(paths.encode("utf-8", "surrogateescape")).hexdigest()
    processes().require_same(digest, what)
    return list(processes().share(samples))


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
    return normal_together(left_out(detector, kept, samples, rest, begin, (begin, sum(counts))))


def normal_together(own: NormalPictures) -> NormalPictures:
    """The good pictures of all processes in their order; `own`: of this one."""
    if processes().count == 1:
        return own
    found = NormalPictures(own.source)
    for part in processes().gathered(_packed(own)):
        found.join(_unpacked(part, own.source))
    return found


def tested_together(own: list[ScoredPicture], samples: list[Sample]) -> list[ScoredPicture]:
    """The scored pictures of all processes in their order, for rank 0; nothing for the others.

    `own`: of this one. `samples`: those of all; rank 0 has their paths.
    """
    if processes().count == 1:
        return own
    if processes().first:
        _, *others = processes().collected(b"")
        return own + [one for part in others for one in _unpacked_tested(part, samples)]
    number = {sample.path: i for i, sample in enumerate(samples)}
    processes().collected(_packed_tested(own, number))
    return []


def pictures_together(own: dict[Path, np.ndarray], samples: list[Sample]) -> dict[Path, np.ndarray]:
    """The kept pictures uint8 [H,W,3] of all processes, for rank 0; nothing for the others."""
    if processes().count == 1:
        return own
    if processes().first:
        _, *others = processes().collected(b"")
        arrays = [pair for part in others for pair in unpacked(part).items()]
        return own | {samples[int(number)].path: pixels for number, pixels in arrays}
    number = {sample.path: i for i, sample in enumerate(samples)}
    processes().collected(packed({str(number[path]): pixels for path, pixels in own.items()}))
    return {}


def sum_of(number: int) -> int:
    """The sum over all processes."""
    return sum(map(int, processes().gathered(b"%d" % number)))


def _packed_tested(tested: list[ScoredPicture], number: dict[Path, int]) -> bytes:
    known = [one.mask is not None for one in tested]
    masks = [np.packbits(one.mask) for one in tested if one.mask is not None]
    arrays = {
        "index": np.array([number[one.path] for one in tested], np.int64),
        "score": np.array([one.score for one in tested], float),
        "known": np.array(known, bool),
        "maps": np.stack([one.map for one in tested]) if tested else np.zeros(0, np.float32),
        "masks": np.stack(masks) if masks else np.zeros(0, np.uint8),
    }
    return packed(arrays)


def _unpacked_tested(data: bytes, samples: list[Sample]) -> Iterator[ScoredPicture]:
    arrays = unpacked(data)
    masks = iter(arrays["masks"])
    known = zip(*(arrays[name] for name in ("index", "score", "known", "maps")), strict=True)
    for index, score, has_mask, pixels in known:
        sample, mask = samples[index], None
        if has_mask:
            bits = np.unpackbits(next(masks), count=pixels.size)
            mask = bits.view(bool).reshape(pixels.shape)
        truth = sample.path, sample.kind, sample.defective
        yield ScoredPicture(*truth, float(score), pixels, mask)


def _packed(found: NormalPictures) -> bytes:
    names = b"\0".join(
        str(sample.path).encode("utf-8", "surrogateescape") for sample in found.samples
    )
    arrays = {name: np.array(getattr(found, name), float) for name in ("image", "peak", "usual")}
    score, index, pixels = zip(*found.unusual, strict=True) if found.unusual else ((), (), ())
    arrays |= {"score": np.array(score, float), "index": np.array(index, np.int64)}
    arrays |= {f"map{i}": one for i, one in enumerate(pixels)}
    return packed(arrays | {"names": np.frombuffer(names, np.uint8)})


def _unpacked(data: bytes, source: str) -> NormalPictures:
    arrays = unpacked(data)
    names = arrays["names"].tobytes()
    paths = [Path(one.decode("utf-8", "surrogateescape")) for one in names.split(b"\0") if one]
    values = (arrays[name].tolist() for name in ("image", "peak", "usual"))
    found = NormalPictures(source, [*map(Sample, paths)], *values)
    pairs = enumerate(zip(arrays["score"].tolist(), arrays["index"].tolist(), strict=True))
    found.unusual = [(score, index, arrays[f"map{i}"]) for i, (score, index) in pairs]
    return found
