"""Chooses test pictures, keeps them during a validation, and draws a sheet of each."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from common.names import target_names
from common.progress import progress
from common.timing import phase
from datasets.loader import Batch
from datasets.samples import Sample
from datasets.transforms import Transform
from evaluation.pictures import Sheet
from evaluation.scale import Scale
from evaluation.testing import ScoredPicture
from tasks.settings import Drawing


def keeper(transform: Transform, chosen: set[Path]) -> tuple[dict, Callable]:
    """A dict, and a function that adds a batch's pictures in `chosen` to it, uint8 [H,W,3]."""
    pictures = {}

    def keep(batch: Batch) -> None:
        wanted = [i for i, sample in enumerate(batch.samples) if sample.path in chosen]
        kept = transform.denormalize(batch.images[wanted])
        pictures.update(zip((batch.samples[i].path for i in wanted), kept, strict=True))

    return pictures, keep


def chosen_pictures(samples: list[Sample], drawing: Drawing) -> set[Path]:
    """Paths of the pictures to draw: all, or a limited number, in turn from each kind."""
    if not drawing.wanted:
        return set()
    shuffled = np.random.default_rng(drawing.seed).permutation(len(samples))
    kinds: dict[str, list[Path]] = {}
    for i in shuffled:
        kinds.setdefault(samples[i].kind, []).append(samples[i].path)
    turns = [(turn, kind, path) for kind, paths in kinds.items() for turn, path in enumerate(paths)]
    return {path for _, _, path in sorted(turns)[: drawing.limit]}


def draw_sheets(
    pictures: dict[Path, np.ndarray], tested: list[ScoredPicture], scale: Scale, folder: Path
) -> None:
    """A sheet for each of `pictures`, all with the same colours."""
    if not pictures:
        return
    sheet = Sheet(scale, truth=True)
    drawn = [one for one in tested if one.path in pictures]
    names = [Path(f"{one.kind}_{one.path.name}") for one in drawn]
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.png"):
        old.unlink()  # so that sheets of an earlier run are not mistaken for new ones
    with phase("drawing"):
        targets = zip(drawn, target_names(names, ".png"), strict=True)
        for one, target in progress(targets, len(drawn), "draw", size=lambda _: 1):
            name = f"{one.kind}/{one.path.name}"
            seen = pictures[one.path], one.score, one.map, one.mask
            sheet.save(folder / target, name, *seen, one.defective)
