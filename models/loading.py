"""Opens the detectors in checkpoints, and parts of them. Imports Paddle only when it is needed."""

from collections.abc import Callable
from pathlib import Path

from common.errors import UsageError, WorkError
from models import checkpoint, runtime
from models.checkpoint import ModelFile
from models.detector import Detector
from models.engine import Engine
from models.heads import HEAD
from models.memory import require_memory
from models.methods import METHODS
from models.record import Record
from models.roi import Roi

BACKBONE_BYTES = 2**30  # of a network, at most; wide_resnet101_2 has 0.5 GB
HEADER_BYTES = 2**22


def load_detector(
    path: str | Path | ModelFile, engine: Engine | None = None, batch_size: int = 1
) -> Detector:
    """The detector in the checkpoint `path`, ready to score `batch_size` pictures at a time.

    An open file is left open: what has taken its place meanwhile is not read.
    Raises UsageError if there is no such file, WorkError if it is damaged, not of this project, of
    another format version, or needs too much memory.
    """
    if not isinstance(path, ModelFile):
        with ModelFile(path) as file:
            return load_detector(file, engine, batch_size)
    file, path = path, path.path
    arrays, record = file.arrays(_most(path, batch_size)), file.record
    runtime.prepare()
    engine = (engine or Engine()).resolve()
    with checkpoint.reading(path):
        features = load_features(arrays, record, engine)
        head, roi = load_head(arrays, record), load_roi(arrays, record)
        return Detector(features, head, record, str(path), roi, engine.device)


def load_arrays(path: str | Path, batch_size: int = 1) -> tuple[dict, Record]:
    """The arrays and the record of the checkpoint `path`; errors of `load_detector`."""
    return checkpoint.load(path, most=_most(path, batch_size))


def _most(path: str | Path, batch_size: int) -> Callable[[Record], int]:
    def most(record: Record) -> int:
        check_record_memory(record, path, batch_size)
        return BACKBONE_BYTES + head_bytes(record)

    return most


def load_features(arrays: dict, record: Record, engine: Engine):
    """The features of a checkpoint; KeyError or ValueError if arrays and record do not match."""
    from models import features as reductions
    from models.backbones import network
    from models.backbones.sanity import problems

    described, prefix = record.features, reductions.BACKBONE
    state = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
    if wrong := problems(state):
        raise ValueError("; ".join(wrong))
    net = blank_network(record)
    network.set_weights(net, state)
    reducing = reductions.from_arrays(net.stage_channels, arrays)
    features = reductions.Features(net, reducing, record.size, engine, described.patch_size)
    if tuple(features.stages) != described.stages:
        raise ValueError(f"stages {features.stages}, but the record has {described.stages}")
    return features


def load_head(arrays: dict, record: Record):
    """The head of a checkpoint or distribution; KeyError or ValueError if they do not match."""
    head = METHODS[record.method].head_class()
    own = {k.removeprefix(HEAD): v for k, v in arrays.items() if k.startswith(HEAD)}
    return head.from_arrays(own, record.settings, list(record.features.stages), record.pictures)


def load_roi(arrays: dict, record: Record) -> Roi | None:
    """The region of interest of a model; KeyError or ValueError if it does not match."""
    return Roi.from_arrays(arrays, record.size) if record.roi else None


def head_bytes(record: Record) -> int:
    """The bytes of a head's arrays and the region of interest, at most, with a file's header."""
    head, stages = METHODS[record.method].head_class(), record.features.stages
    roi = record.size[0] * record.size[1] // 8 + 1
    return head.stored_memory(record.settings, stages, record.pictures) + roi + HEADER_BYTES


def blank_network(record: Record):
    """The network of a record, without weights."""
    from models.backbones import network

    described = record.features
    variant = described.variant and vars(described.variant)
    return network.build(described.backbone, described.layers, record.size, variant)


def check_record_memory(record: Record, path: Path, batch_size: int) -> None:
    """WorkError if the model of `record`, in the file `path`, needs too much memory to score."""
    described = record.features
    network = described.backbone, described.layers, described.stages
    try:
        numbers = batch_size, record.pictures
        require_memory(record.method, record.settings, *network, record.size, *numbers, True)
    except UsageError as error:
        raise WorkError(f"{path}: {error}") from error
