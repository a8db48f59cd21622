"""What rows of scripts are run on: demo pictures, a small trained model, an exported one."""

from pathlib import Path

FOLDER: Path | None = None
CATEGORY = "flange"


def use(folder: Path, make: bool) -> None:
    """Use the contents of `folder`; `make` them before."""
    global FOLDER
    FOLDER = folder
    if make:
        _make(folder)


def demo() -> Path:
    return FOLDER / "demo"


def picture() -> Path:
    return demo() / CATEGORY / "test" / "good" / "000.png"


def model() -> Path:
    return FOLDER / "trained" / CATEGORY / "best.pdparams"


def exported() -> Path:
    return FOLDER / "exported"


def _make(folder: Path) -> None:
    """In processes of their own: this one has to stay small."""
    import subprocess
    import sys

    root = Path(__file__).parents[2]
    small = ["--resize", "64", "--img_size", "64", "--dims", "20", "--batch_size", "4"]
    train = ["train.py", "--data_path", folder / "demo", "--category", CATEGORY]
    train += ["--save_path", folder / "trained", "--log_dir", folder / "logs", *small]
    demo = "from pathlib import Path; from demo_set.generate import generate; "
    demo += f"generate(Path({str(folder / 'demo')!r}), size=96, train=8, good=4, defective=2)"
    export = ["export_model.py", "--model_path", folder / "trained" / CATEGORY]
    for command in (
        ["-c", demo],
        [*train, "--pretrained_backbone", "embedded"],
        [*export, "--save_dir", folder / "exported"],
    ):
        command = [sys.executable, *map(str, command)]
        subprocess.run(command, cwd=root, check=True, stdout=subprocess.DEVNULL)
