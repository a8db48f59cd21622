"""The pictures to be judged, and where the results of each are saved."""

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from common.errors import UsageError
from common.files import writable_folder
from common.names import target_names
from datasets.samples import pictures_in
from tasks.owned import owned_folder
from tasks.settings import Answers

logger = logging.getLogger(__name__)

LIST = Path("-")  # stands for the paths on stdin
KINDS = {
    "picture": ("save_path", ".png"),
    "map": ("save_map", ".npy"),
    "mask": ("save_mask", ".png"),
}
NAMES = {"picture": "sheets", "map": "maps", "mask": "masks"}


class Chosen:
    """The pictures at `paths`, the values of option `setting`, without those in `output`.

    A path is that of a picture or of a folder; LIST stands for the paths on stdin, one per line.

    output : file or folder for sheets; `usual`: whether it is the default, which may be changed
    targets : see `targets_for`
    folders : of the results, by their name in messages
    """

    def __init__(self, paths: Sequence[Path], setting: str, output: Path, usual: bool = False):
        self.output, self.usual = output, usual
        self.folders: dict[str, Path] = {}
        given = _listed(setting) if list(paths) == [LIST] else list(paths)
        roots, found = [], []
        for path in given:
            if not path.exists():
                raise UsageError(
                    f"{path}: no such file or folder; expected a picture or a folder of pictures",
                    setting,
                )
            roots.append(path if path.is_dir() else path.parent)
            found += self._below(path, setting) if path.is_dir() else [path]
        self.paths = list(dict.fromkeys(found))
        self.root = Path(os.path.commonpath([root.absolute() for root in roots]))

    def _below(self, folder: Path, setting: str) -> list[Path]:
        paths, ours = pictures_in(folder, recursive=True), self.output.resolve()
        if ours != folder.resolve():
            paths = [p for p in paths if ours not in p.resolve().parents]
        if not paths:
            raise UsageError(f"{folder}: no pictures in this folder or its subfolders", setting)
        return paths

    def targets_for(self, answers: Answers, model: Path | str, digests: Sequence[str]) -> dict:
        """Paths of the sheet (`picture`), `map` and `mask` of each picture, if they are wanted: for
        each of these kinds a dict from pictures to paths.

        UsageError if a folder cannot be written, has results of another model than `model` with
        these `digests`, or a picture to be judged would be overwritten.
        """
        places = {
            "picture": self.output if answers.save_picture else None,
            "map": answers.save_map,
            "mask": answers.save_mask,
        }
        one_file = answers.save_picture and self.output.suffix.lower() == ".png"
        targets = {}
        if one_file:
            targets["picture"] = {self._only(): self.output}
            writable_folder(self.output.parent)
            self.folders["sheet"] = self.output
            del places["picture"]
        for what, folder in places.items():
            if folder is not None:
                setting, suffix = KINDS[what]
                usual = self.usual and what == "picture"
                folder = owned_folder(folder, setting, model, digests, usual)
                self.folders[NAMES[what]] = folder
                targets[what] = self._mirrored(folder, suffix)
        self._spare_pictures(targets)
        return targets

    def _only(self) -> Path:
        if len(self.paths) > 1:
            raise UsageError(
                f"{self.output}: one file name for {len(self.paths)} pictures; give a folder",
                "save_path",
            )
        return self.paths[0]

    def _spare_pictures(self, targets: dict) -> None:
        pictures = {path.resolve() for path in self.paths}
        for what in ("picture", "mask"):
            for target in targets.get(what, {}).values():
                if target.resolve() in pictures:
                    raise UsageError(
                        f"{target} would overwrite a picture to be judged; give another folder",
                        KINDS[what][0],
                    )

    def _mirrored(self, folder: Path, suffix: str) -> dict[Path, Path]:
        """For each picture a path in `folder`, with the same subfolders as below the root."""
        relative = [path.absolute().relative_to(self.root) for path in self.paths]
        places = (folder / name for name in target_names(relative, suffix))
        return dict(zip(self.paths, places, strict=True))

    def say(self) -> None:
        """Name the folders of the results."""
        for what, folder in self.folders.items():
            logger.info("%s: %s", what, folder)


def _listed(setting: str) -> list[Path]:
    """The paths on stdin, one per line; UsageError if there are none."""
    if sys.stdin is None:
        raise UsageError("stdin is closed; expected paths of pictures, one per line", setting)
    binary = getattr(sys.stdin, "buffer", None)
    lines = sys.stdin.read().splitlines() if binary is None else binary.read().split(b"\n")
    paths = [Path(os.fsdecode(line)) for line in lines if line.strip()]
    if not paths:
        raise UsageError("no paths on stdin; expected those of pictures, one per line", setting)
    return paths
