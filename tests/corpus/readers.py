"""The readers that rows and fuzz targets call: each reads one input completely."""

from collections.abc import Callable
from pathlib import Path

from common import score_log
from common.errors import UsageError
from common.preprocessing import Preprocessing
from datasets import exclusion
from datasets.samples import Sample, check_masks
from datasets.transforms import Transform, picture_size
from models import checkpoint, deployed, loading, open_export, states
from models.backbones import weights
from models.heads import HEAD
from models.record import Record, decode
from models.same import difference
from tests.corpus import samples

SIZE = 64
PILLOW = Transform(Preprocessing(SIZE, (SIZE, SIZE)))
VIPS = Transform(Preprocessing(SIZE, (SIZE, SIZE), decoder="vips"))


def read_checkpoint(path: Path) -> None:
    """All of a checkpoint but the network."""
    arrays, record = loading.load_arrays(path)
    with checkpoint.reading(path):
        loading.load_head(arrays, record)
        loading.load_roi(arrays, record)


def read_distribution(path: Path) -> None:
    kind = checkpoint.DISTRIBUTION

    def most(record: Record) -> int:
        loading.check_record_memory(record, path, 1)
        return loading.head_bytes(record)

    arrays, record = checkpoint.load(path, kind, most)
    with checkpoint.reading(path, kind):
        loading.load_head(arrays, record)
        loading.load_roi(arrays, record)


def read_exported(folder: Path) -> None:
    """An exported folder as far as it is read before Paddle is started."""
    with open_export.OpenExport(open_export.ExportedFiles.within(folder)) as opened:
        opened.distribution.arrays(lambda record: loading.head_bytes(record))
        deployed._verified(opened)


def read_state(path: Path) -> None:
    """What a training kept, into a new head; UsageError if it is not that of `samples.state`."""
    found = states.State(path)
    if wrong := difference(found.record, samples.state_record()):
        raise UsageError(f"{path}: was of {wrong[0]} {wrong[1]}, not {wrong[2]}", "resume")
    head = samples.blank_head("padim")
    own = {k.removeprefix(HEAD): v for k, v in found.arrays.items() if k.startswith(HEAD)}
    with checkpoint.reading(path, states.STATE):
        head.restore(own, found.record.pictures)


def read_record(text: str) -> None:
    decode(text)


def read_weights(path: Path) -> None:
    weights.metadata(path)
    for array in weights.read(path).values():
        array.ravel()[:1].tolist()


def read_harmless(path: Path) -> None:
    """Of weights; a file `marker` beside them shows that something was executed."""
    try:
        read_weights(path)
    finally:
        assert not (path.parent / "marker").exists(), "executed"


def read_backbone(path: Path) -> None:
    weights.load(path, "resnet18", "a test")


def read_beside(pair: tuple[Path, Path]) -> None:
    """A mask, and its size beside that of its picture."""
    check_masks([Sample(pair[0], "dent", pair[1])])
    PILLOW.mask(pair[1])


def read_exclude(path: Path) -> None:
    exclusion.excluded([Sample(Path("a/good/000.png"), "good", None)], path, False)


READERS: dict[str, Callable] = {
    "pillow": PILLOW.sized_picture,
    "vips": VIPS.sized_picture,
    "mask": PILLOW.mask,
    "size": picture_size,
    "mask beside its picture": read_beside,
    "checkpoint": read_checkpoint,
    "distribution": read_distribution,
    "state": read_state,
    "exported": read_exported,
    "record": read_record,
    "weights": read_weights,
    "harmless weights": read_harmless,
    "variant": weights._written_variant,
    "backbone": read_backbone,
    "scores": score_log.read,
    "exclude": read_exclude,
}
