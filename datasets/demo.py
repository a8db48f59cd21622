"""A demo set in MVTec AD's layout, drawn from a seed: a woven cloth and a turned flange.

    python -m datasets.demo --save_path demo/data

Each picture is drawn from its own place in the seed's sequence, so that it stays the same
however many others are made. `demo.json` beside the categories records what was made: a second
call finds it and does nothing.
"""

import argparse
import json
import logging
import secrets
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from common.errors import UsageError, WorkError, run
from common.files import whole_file
from common.logs import start_logging
from common.options import Parser, whole

logger = logging.getLogger(__name__)

# The kinds of defect, in the order that seeds them: add new ones at the end.
CATEGORIES = {
    "weave": ("hole", "missing_thread", "stain", "stray_thread"),
    "flange": ("blocked_hole", "chip", "rust", "scratch"),
}
GOOD = "good"
RECORD = "demo.json"
# A defect may turn out invisible (a scratch over a hole) and is then drawn anew.
ATTEMPTS = 200
# Counts up when the same seed no longer gives the same pixels.
VERSION = 1


@dataclass(frozen=True)
class Settings:
    """What one category was made from; `defective` counts each kind of defect."""

    seed: int = 0
    size: int = 320
    train: int = 64
    good: int = 24
    defective: int = 12
    version: int = VERSION


# Least and most of each; below 64 pixels a thread is thinner than a pixel.
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
    categories: Sequence[str] = tuple(CATEGORIES),
    size: int = DEFAULTS.size,
    train: int = DEFAULTS.train,
    good: int = DEFAULTS.good,
    defective: int = DEFAULTS.defective,
) -> list[Path]:
    """Write the categories below `save_path`, unless they are there already.

    Args:
        save_path: folder to hold one folder for each category; made if missing.
        seed: 0 or more; the same seed gives the same pixels.
        categories: names out of `CATEGORIES`.
        size: edge of a picture in pixels.
        train: good pictures to train on, for each category.
        good: good pictures to test on, for each category.
        defective: defective pictures to test on, for each kind of defect.

    Returns:
        The category folders, in the order asked for.

    Raises:
        UsageError: an option is out of its range, or a category's folder exists that is not
            this very set.
        WorkError: something could not be written.
    """
    settings = Settings(seed, size, train, good, defective)
    check(settings, categories)
    root = Path(save_path)
    if root.exists() and not root.is_dir():
        raise UsageError(f"--save_path {root} is not a folder")
    missing = [name for name in categories if not present(root, name, settings)]
    try:
        for name in missing:
            make(root, name, settings)
    except OSError as error:
        raise WorkError(f"cannot write below {root}: {error.strerror or error}") from error
    return [root / name for name in categories]


def check(settings: Settings, categories: Sequence[str]) -> None:
    """Refuse what cannot be drawn, in the words of the command line."""
    for name, (least, most) in LIMITS.items():
        value = getattr(settings, name)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise UsageError(f"--{name} {value}: expected a whole number from {least} to {most}")
    unknown = [name for name in categories if name not in CATEGORIES]
    if unknown or not categories:
        known = ", ".join(CATEGORIES)
        raise UsageError(f"--categories {','.join(unknown)}: expected some of {known}")
    if len(set(categories)) < len(categories):
        raise UsageError(f"--categories {','.join(categories)}: a name is there twice")


def plan(category: str, settings: Settings) -> Iterator[Picture]:
    """All pictures of a category, in the order of their folders."""
    yield from (Picture("train", None, index) for index in range(settings.train))
    yield from (Picture("test", None, index) for index in range(settings.good))
    for kind in range(len(CATEGORIES[category])):
        yield from (Picture("test", kind, index) for index in range(settings.defective))


def paths(category: str, picture: Picture) -> list[Path]:
    """Where a picture goes below its category's folder, and its mask if it has one."""
    name = f"{picture.index:03d}"
    if picture.kind is None:
        return [Path(picture.split, GOOD, f"{name}.png")]
    kind = CATEGORIES[category][picture.kind]
    return [
        Path(picture.split, kind, f"{name}.png"),
        Path("ground_truth", kind, f"{name}_mask.png"),
    ]


def read_record(root: Path) -> dict[str, Any]:
    """What was made below `root` so far: settings by category; empty if nothing."""
    try:
        record = json.loads((root / RECORD).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise WorkError(f"cannot read {root / RECORD}: {error.strerror}") from error
    except ValueError:
        record = None
    if not isinstance(record, dict):
        raise UsageError(f"{root / RECORD} is no record of a demo set: remove it")
    return record


def present(root: Path, category: str, settings: Settings) -> bool:
    """Whether this very category is there; another in its place is an error, never replaced."""
    folder = root / category
    if not folder.exists():
        return False
    advice = "remove it, or choose another --save_path"
    made = read_record(root).get(category)
    if not isinstance(made, dict):
        raise UsageError(f"{folder} exists and is not recorded as a demo set: {advice}")
    if made != asdict(settings):
        other = ", ".join(f"{key} {value}" for key, value in made.items())
        raise UsageError(f"{folder} is a demo set of other settings ({other}): {advice}")
    files = [path for picture in plan(category, settings) for path in paths(category, picture)]
    lost = sum(not (folder / path).is_file() for path in files)
    if lost:
        raise UsageError(f"{folder} lacks {lost} of its {len(files)} files: {advice}")
    logger.info("%s: already complete, nothing to do", folder)
    return True


def make(root: Path, category: str, settings: Settings) -> None:
    """Draw a category beside its place, then move it there and record it."""
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
    """Draw the pictures into their folders, on two threads: numpy and the encoder let go."""

    def save(picture: Picture) -> None:
        images = draw(category, picture, settings)
        for path, image in zip(paths(category, picture), images, strict=True):
            # Noise hardly compresses: more effort would cost time and save nothing.
            image.save(folder / path, compress_level=1)

    with ThreadPoolExecutor(2) as pool:
        for _ in pool.map(save, pictures):
            pass


def draw(category: str, picture: Picture, settings: Settings) -> list[Any]:
    """The Pillow image of a picture (RGB), followed by that of its mask (grey) if defective."""
    from PIL import Image

    shot = take(category, picture, settings)
    images = [Image.fromarray(shot.camera.record(shot.seen, shot.sensor))]
    return images if shot.mask is None else [*images, Image.fromarray(shot.mask)]


@dataclass(frozen=True)
class Shot:
    """What the camera sees before its sensor adds noise, float32 [S,S,3] of 0..1.

    `sound` is the same piece without the defect, `mask` uint8 [S,S] where the two differ
    (None if there is no defect), `sensor` the generator of the noise.
    """

    seen: Any
    sound: Any
    mask: Any
    camera: Any
    sensor: Any


def take(category: str, picture: Picture, settings: Settings) -> Shot:
    """Lay a piece under the camera, and damage it if the picture is to be defective."""
    # Loaded here so that options are checked, and a finished set is found, without them.
    import importlib

    import numpy as np

    from datasets import demo_draw

    place = ("train", "test").index(picture.split) if picture.kind is None else 2 + picture.kind
    key = [settings.seed, list(CATEGORIES).index(category), place, picture.index]
    # Three sequences, so that the piece and the light are the same with the defect or without.
    scene, lens, harm = map(np.random.default_rng, np.random.SeedSequence(key).spawn(3))

    view = demo_draw.look(scene, settings.size)
    camera = demo_draw.camera(lens, view)
    module = importlib.import_module(f"datasets.demo_{category}")
    piece = module.piece(scene, view)
    sound = camera.see(module.picture(piece, module.Damage()))
    if picture.kind is None:
        return Shot(sound, sound, None, camera, lens)
    kind = CATEGORIES[category][picture.kind]
    for _ in range(ATTEMPTS):
        seen = camera.see(module.picture(piece, module.DEFECTS[kind](harm, piece)))
        mask = demo_draw.changed(seen, sound, view.pixel)
        if demo_draw.shown(mask, view.pixel):
            return Shot(seen, sound, mask, camera, lens)
    raise RuntimeError(f"{category}: no visible {kind} in {ATTEMPTS} attempts")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command line."""
    parser = Parser("Draw a demo set in MVTec AD's layout, for a first try without a download.")
    parser.add_argument("--save_path", required=True, help="folder to write the categories to")
    parser.add_argument(
        "--categories", default=",".join(CATEGORIES), help="what to draw, comma-separated"
    )
    about = {
        "seed": "the same seed gives the same pixels",
        "size": "edge of a picture in pixels",
        "train": "good pictures to train on, for each category",
        "good": "good pictures to test on, for each category",
        "defective": "defective pictures to test on, for each kind of defect",
    }
    for name, text in about.items():
        type_, default = whole(*LIMITS[name]), getattr(DEFAULTS, name)
        parser.add_argument(f"--{name}", type=type_, default=default, help=text)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Generate what the options ask for and print the category folders."""
    options = vars(parse(arguments))
    start_logging()
    categories = [name.strip() for name in options.pop("categories").split(",")]
    for folder in generate(categories=categories, **options):
        print(folder)


if __name__ == "__main__":
    run(main)
