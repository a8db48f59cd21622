"""The commands that the fault scripts disturb, on a small demo set and small models."""

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
WEIGHTS = ("--pretrained_backbone", "embedded")
SMALL = ("--resize", "64", "--img_size", "64", "--dims", "20", "--batch_size", "4", *WEIGHTS)
MODEL = Path("flange") / "best.pdparams"


@dataclass(frozen=True)
class Command:
    """A command, as a function of the folders of the demo set, the models and the output.

    needs : what is in the output before: folders among the models, and their names there
    """

    name: str
    arguments: tuple[str, ...]
    needs: dict[str, str] = field(default_factory=dict)

    def line(self, place: "Place", out: Path) -> list[str]:
        names = {"demo": place.demo, "models": place.models, "out": out}
        return [sys.executable, *(text.format(**names) for text in self.arguments)]


DATA = ("--data_path", "{demo}", "--category", "flange")
TO = ("--save_path", "{out}", "--log_dir", "{out}/logs")
OF = ("--model_path", "{out}/flange/best.pdparams")
WITH_OLD = {"first/flange": "flange"}
COMMANDS = {
    command.name: command
    for command in (
        Command("train", ("train.py", *DATA, *TO, *SMALL, "--save_every", "4"), WITH_OLD),
        Command(
            "calibrate",
            (
                *("train.py", "--update", "{out}/flange/best.pdparams", *TO),
                *("--calibration_dir", "{demo}/flange/test/good"),
            ),
            WITH_OLD,
        ),
        Command(
            "val",
            ("val.py", *DATA, *OF, "--save_path", "{out}", "--save_picture", "--html"),
            WITH_OLD,
        ),
        Command(
            "export",
            ("export_model.py", *OF, "--save_dir", "{out}/exported", "--fused"),
            WITH_OLD | {"exported": "exported"},
        ),
        Command(
            "update",
            ("train.py", "--update", "{out}/flange/best.pdparams", *DATA, *TO),
            WITH_OLD,
        ),
        Command(
            "merge",
            (
                *("-m", "models.merge", "{models}/first/flange", "{models}/second/flange"),
                *("-o", "{out}/flange"),
            ),
            WITH_OLD,
        ),
        Command(
            "predict",
            (
                *("predict.py", "--picture_path", "{demo}/flange/test", *OF),
                *("--save_path", "{out}/predictions", "--save_map", "{out}/maps"),
            ),
            WITH_OLD,
        ),
        Command(
            "infer",
            (
                *("infer.py", "-i", "{demo}/flange/test", "--model_dir", "{out}/exported"),
                *("--save_path", "{out}/predictions"),
            ),
            {"exported": "exported"},
        ),
    )
}


@dataclass(frozen=True)
class Place:
    """Folders: the demo set, models to start from, for temporary files, and the cache."""

    root: Path

    @property
    def demo(self) -> Path:
        return self.root / "demo"

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def temporary(self) -> Path:
        return self.root / "tmp"

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def swept(self) -> tuple[Path, ...]:
        """Folders beside the output where commands write."""
        return self.temporary, self.home

    def environment(self) -> dict[str, str]:
        """TMPDIR, and a cache of its own."""
        return {
            **os.environ,
            "TMPDIR": str(self.temporary),
            "PADIM_HOME": str(self.home),
            "OMP_WAIT_POLICY": "PASSIVE",
        }

    def start(self, command: Command, out: Path) -> subprocess.Popen:
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        line = command.line(self, out)
        return subprocess.Popen(line, cwd=ROOT, env=self.environment(), text=True, **streams)

    def run(self, command: Command, out: Path) -> subprocess.CompletedProcess:
        line, env = command.line(self, out), self.environment()
        return subprocess.run(line, cwd=ROOT, env=env, capture_output=True, text=True)

    def output(self, command: Command, name: str | Path) -> Path:
        """A new folder, with what `command` needs in it."""
        out = self.root / name
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        for source, target in command.needs.items():
            shutil.copytree(self.models / source, out / target)
        return out


def prepare(root: Path) -> Place:
    """Draw the demo set and make two models and an export; raises RuntimeError if one fails."""
    from demo_set.generate import generate

    place = Place(root)
    place.temporary.mkdir(parents=True)
    generate(place.demo, size=96, train=8, good=4, defective=2)
    for name, folder in (("first", "train/good"), ("second", "test/good")):
        own = ("--normal_dir", f"{{demo}}/flange/{folder}", "--category", "flange")
        to = ("--save_path", f"{{models}}/{name}", "--log_dir", "{models}/logs")
        must(place, Command(name, ("train.py", *own, *to, *SMALL)))
    export = ("export_model.py", "--model_path", "{models}/first/flange/best.pdparams")
    must(place, Command("export", (*export, "--save_dir", "{models}/exported", "--fused")))
    return place


def seconds_of(place: Place, command: Command) -> float:
    """The time that `command` takes: of the second run, when the cache has its graph."""
    for _ in range(2):
        out, start = place.output(command, "out"), time.monotonic()
        must(place, command, out)
        seconds = time.monotonic() - start
    return seconds


def must(place: Place, command: Command, out: Path | None = None) -> None:
    done = place.run(command, place.models if out is None else out)
    if done.returncode != 0:
        raise RuntimeError(f"{command.name} ended with {done.returncode}:\n{done.stderr}")
