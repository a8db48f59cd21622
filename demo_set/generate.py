"""Generates the demo set from a seed: a woven cloth, a flange, and a flange that lies anywhere.

Each picture has its own random sequence, so its pixels do not depend on how many other pictures
are drawn. The file `demo.json` beside the categories records their settings: a second call with
the same settings draws nothing.
"""

import importlib
import json
import logging
import secrets
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from common.errors import UsageError, WorkError
from common.files import whole_file
from common.progress import progress

logger = logging.getLogger(__name__)

# The kinds of defect. The order of both decides their seeds: add new ones at the end.
CATEGORIES = {
    "weave": ("hole", "missing_thread", "stain", "stray_thread"),
    "flange": ("blocked_hole", "chip", "rust", "scratch"),
    "loose_flange": ("blocked_hole", "chip", "rust", "scratch"),
}
USUAL = ("weave", "flange")  # what is drawn unless others are named
GOOD = "good"
RECORD = "demo.json"
# A defect may be invisible (a scratch over a hole); it is then drawn again.
ATTEMPTS = 200
# Increase it when the same seed no longer gives the same pixels.
VERSION = 1


@dataclass(frozen=True)
class Settings:
    """What one category was drawn from; `defective` is the number per kind of defect."""

    seed: int = 0
    size: int = 320
    train: int = 64
    good: int = 24
    defective: int = 12
    version: int = VERSION


# Smallest and largest value of each. Below 64 pixels a thread is thinner than a pixel.
LIMITS = {
    "seed": (0, 2**32 - 1),
    "size": (64, 2048),
    "train": (1, 1000),
    "good": (1, 1000),
    "defective": (1, 1000),
}
DEFAULTS = Settings()


@dataclass(frozen=True)
class Picture:
    """One picture to draw: `kind` is an index into the category's defects, or None."""

    split: str
    kind: int | None
    index: int


def generate(
    save_path: str | Path,
    seed: int = DEFAULTS.seed,
    categories: Sequence[str] = USUAL,
    size: int = DEFAULTS.size,
    train: int = DEFAULTS.train,
    good: int = DEFAULTS.good,
    defective: int = DEFAULTS.defective,
) -> list[Path]:
    """Draw the categories into folders below `save_path`, unless they exist already.

    Args:
        save_path: folder that holds one folder per category; created if missing.
        seed: 0 or more; the same seed gives the same pixels.
        categories: names from `CATEGORIES`.
        size: width and height of a picture in pixels.
        train: good training pictures per category.
        good: good test pictures per category.
        defective: defective test pictures per kind of defect.

    Returns:
        The category folders, in the order of `categories`.

    Raises:
        UsageError: a setting is out of its range, or a category's folder exists with other
            content.
        WorkError: a file cannot be written.
    """
    settings = Settings(seed, size, train, good, defective)
    check(settings, categories)
    root = Path(save_path)
    if root.exists() and not root.is_dir():
        raise UsageError(f"{root} is not a folder", "save_path")
    missing = [name for name in categories if not present(root, name, settings)]
    try:
        for name in missing:
            make(root, name, settings)
    except OSError as error:
        raise WorkError(f"cannot write below {root}: {error.strerror or error}") from error
    return [root / name for name in categories]


def check(settings: Settings, categories: Sequence[str]) -> None:
    """UsageError where a setting is out of its range or a category does not exist."""
    for name, (least, most) in LIMITS.items():
        value = getattr(settings, name)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise UsageError(f"expected a whole number from {least} to {most}, got {value}", name)
    unknown = [name for name in categories if name not in CATEGORIES]
    if unknown or not categories:
        known = ", ".join(CATEGORIES)
        raise UsageError(f"expected some of {known}, got {','.join(unknown)!r}", "categories")
    if len(set(categories)) < len(categories):
        raise UsageError(f"{','.join(categories)} repeats a name", "categories")


def plan(category: str, settings: Settings) -> Iterator[Picture]:
    """All pictures of a category, in the order of their folders."""
    yield from (Picture("train", None, index) for index in range(settings.train))
    yield from (Picture("test", None, index) for index in range(settings.good))
    for kind in range(len(CATEGORIES[category])):
        yield from (Picture("test", kind, index) for index in range(settings.defective))


def paths(category: str, picture: Picture) -> list[Path]:
    """Path of a picture below its category's folder, then of its mask if it is defective."""
    name = f"{picture.index:03d}"
    if picture.kind is None:
        return [Path(picture.split, GOOD, f"{name}.png")]
    kind = CATEGORIES[category][picture.kind]
    return [
        Path(picture.split, kind, f"{name}.png"),
        Path("ground_truth", kind, f"{name}_mask.png"),
    ]


def read_record(root: Path) -> dict[str, Any]:
    """Settings of the categories below `root`, by name; empty where nothing was drawn."""
    try:
        record = json.loads((root / RECORD).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise WorkError(f"cannot read {root / RECORD}: {error.strerror}") from error
    except ValueError:
        record = None
    if not isinstance(record, dict):
        raise UsageError(f"{root / RECORD} does not describe a demo set: remove it")
    return record


def present(root: Path, category: str, settings: Settings) -> bool:
    """Whether the category exists with these settings; a folder with others is a UsageError."""
    folder = root / category
    if not folder.exists():
        return False
    advice = "remove it, or choose another --save_path"
    made = read_record(root).get(category)
    if not isinstance(made, dict):
        raise UsageError(f"{folder} exists and is not recorded as a demo set: {advice}")
    if made != asdict(settings):
        other = ", ".join(f"{key} {value}" for key, value in made.items())
        raise UsageError(f"{folder} is a demo set with other settings ({other}): {advice}")
    files = [path for picture in plan(category, settings) for path in paths(category, picture)]
    lost = sum(not (folder / path).is_file() for path in files)
    if lost:
        raise UsageError(f"{folder} lacks {lost} of its {len(files)} files: {advice}")
    logger.info("%s: already complete, nothing to do", folder)
    return True


def make(root: Path, category: str, settings: Settings) -> None:
    """Draw a category into a temporary folder, then rename that and record the settings."""
    root.mkdir(parents=True, exist_ok=True)
    part = root / f".{category}-{secrets.token_hex(4)}.part"
    part.mkdir()
    try:
        pictures = list(plan(category, settings))
        for folder in {path.parent for picture in pictures for path in paths(category, picture)}:
            (part / folder).mkdir(parents=True, exist_ok=True)
        draw_all(part, category, pictures, settings)
        part.rename(root / category)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    record = read_record(root) | {category: asdict(settings)}
    with whole_file(root / RECORD) as draft:
        draft.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def draw_all(folder: Path, category: str, pictures: list[Picture], settings: Settings) -> None:
    """Draw the pictures into their folders, in two threads.

    numpy and the PNG encoder release Python's lock.
    """

    def save(picture: Picture) -> None:
        images = draw(category, picture, settings)
        for path, image in zip(paths(category, picture), images, strict=True):
            # Noise hardly compresses: a higher level takes longer and saves nothing.
            image.save(folder / path, compress_level=1)

    # Closing the results cancels what is not drawn yet, so that the pool ends at once.
    with ThreadPoolExecutor(2) as pool, closing(pool.map(save, pictures)) as drawn:
        for _ in progress(drawn, len(pictures), f"draw {category}", size=lambda _: 1):
            pass


def draw(category: str, picture: Picture, settings: Settings) -> list[Any]:
    """The Pillow image of a picture (RGB), then of its mask (grey) if it is defective."""
    from PIL import Image

    shot = take(category, picture, settings)
    images = [Image.fromarray(shot.camera.record(shot.seen, shot.sensor))]
    return images if shot.mask is None else [*images, Image.fromarray(shot.mask)]


@dataclass(frozen=True)
class Shot:
    """A scene as the lens shows it, before the sensor adds noise: float32 [S,S,3] in 0..1.

    `seen` has the defect, `sound` is the same piece without it. `mask` (uint8 [S,S]) marks where
    they differ, None without a defect. `sensor` generates the noise.
    """

    seen: Any
    sound: Any
    mask: Any
    camera: Any
    sensor: Any


def take(category: str, picture: Picture, settings: Settings) -> Shot:
    """Draw the scene of a picture, with its defect if it is to be defective."""
    # Imported here: checking settings and finding an existing set need neither numpy nor scipy.
    import numpy as np

    from demo_set.draw import REFERENCE, camera_for, changed, is_visible, view_for

    place = ("train", "test").index(picture.split) if picture.kind is None else 2 + picture.kind
    key = [settings.seed, list(CATEGORIES).index(category), place, picture.index]
    # Three sequences, so that the piece and the light are the same with and without the defect.
    scene, lens, harm = map(np.random.default_rng, np.random.SeedSequence(key).spawn(3))

    module = importlib.import_module(f"demo_set.{category}")
    # A category may have a view of its own; the others lie in a fixture.
    view = getattr(module, "view", view_for)(scene, settings.size)
    camera = camera_for(lens, settings.size)
    pixel = REFERENCE / settings.size
    piece = module.piece(scene, view)
    sound = camera.see(module.picture(piece, module.Damage()))
    if picture.kind is None:
        return Shot(sound, sound, None, camera, lens)
    kind, found = CATEGORIES[category][picture.kind], []
    for _ in range(ATTEMPTS):
        seen = camera.see(module.picture(piece, module.DEFECTS[kind](harm, piece)))
        mask = changed(seen, sound, pixel)
        if is_visible(mask, pixel):
            found.append((seen, mask))
        if len(found) == getattr(module, "DRAWS", 1):
            seen, mask = max(found, key=lambda drawn: np.count_nonzero(drawn[1]))
            return Shot(seen, sound, mask, camera, lens)
    raise RuntimeError(f"{category}: no visible {kind} in {ATTEMPTS} attempts")
