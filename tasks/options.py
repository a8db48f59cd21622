"""Options for the model that judges pictures, and for its results."""

import argparse
from pathlib import Path

from common.options import add_boolean, checked, folder_name, positive, whole
from tasks.verdicts import add_verdict_options


def add_checkpoint_options(parser: argparse.ArgumentParser) -> None:
    add_model_path(parser, "output", several=False)
    _add_model_category(parser)


def add_ensemble_options(parser: argparse.ArgumentParser) -> None:
    """As add_checkpoint_options, but for one model or several."""
    add_model_path(parser, "output", several=True)
    _add_model_category(parser)


def add_model_path(parser: argparse.ArgumentParser, folder: str, several: bool) -> None:
    """`folder`: of the default model. `several`: the value is a list of models or None."""
    text = f"checkpoint file or its folder (default: {folder}/<category>/best.pdparams)"
    more = {"help": text}
    if several:
        more = {
            "nargs": "+",
            "help": f"{text}; several: the mean of their scaled scores and maps decides",
        }
    parser.add_argument("--model_path", type=Path, **more)


def _add_model_category(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--category",
        type=checked(folder_name),
        help="use the model of this category in ./output (default: the only model there)",
    )


def add_judging_options(group, folder: str, save_picture: bool | None) -> None:
    """`folder` is the name of the default folder in output/<category>. `save_picture`: the default;
    None: only with --save_path."""
    group.add_argument(
        "--save_path",
        type=Path,
        help=f"FILE.png for one picture, otherwise a folder (default: output/<category>/{folder})",
    )
    text = "save one sheet per picture"
    if save_picture is None:
        text += " (default: only with --save_path)"
    add_boolean(group, "--save_picture", save_picture, text)
    group.add_argument(
        "--threshold",
        type=checked(positive),
        help="image score from which a picture is defective (default: see --threshold_from; "
        "without a threshold every verdict is `unknown`)",
    )
    add_verdict_options(group)
    add_boolean(group, "--json", False, "print one JSON object per picture instead of text")
    group.add_argument(
        "--save_map", type=Path, metavar="DIR", help="save raw anomaly maps in this folder, as .npy"
    )
    group.add_argument(
        "--save_mask",
        type=Path,
        metavar="DIR",
        help="save masks in this folder, as .png of the size of the picture: white is defective",
    )
    group.add_argument(
        "--stats",
        type=Path,
        metavar="FILE",
        help="append time, path, score, p-value and verdict of each picture to this file of JSON "
        "lines, for python -m evaluation.drift (default: none)",
    )
    group.add_argument(
        "--min_area",
        type=whole(0),
        default=0,
        help="leave smaller regions out of masks and JSON, in pixels of the picture",
    )


def add_source_options(parser: argparse.ArgumentParser, *names: str) -> None:
    """`names`: of the option for pictures that are there already."""
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument(
        *names,
        type=Path,
        nargs="+",
        metavar=("FILE|DIR|-", "FILE|DIR"),
        help="pictures, or folders: all pictures in them and in their subfolders; -: a list of "
        "paths on stdin, one per line",
    )
    group.add_argument(
        "--watch",
        type=Path,
        metavar="DIR",
        help="judge the pictures that arrive in this folder or its subfolders, until SIGTERM or "
        "Ctrl-C, and print a line of JSON for each; saves sheets only with --save_path",
    )
    parser.add_argument(
        "--watch_interval",
        type=checked(positive),
        default=0.2,
        metavar="SECONDS",
        help="time between two looks at the folder of --watch; a picture is judged when it did not "
        "change from one to the next",
    )
    text = "with --watch: judge the pictures that are there at the start, too"
    add_boolean(parser, "--watch_present", True, text)


def add_seeds(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seeds",
        type=whole(0, 2**63 - 1),
        nargs="+",
        metavar="N",
        help="with --val: repeat the random choice or projection of channels with each of these "
        "seeds, and report the mean and standard deviation of each figure; the model of --seed is "
        "saved, or of the first of them if 7 is not among them (default: no repetition)",
    )


def add_update_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("models that learn on")
    group.add_argument(
        "--update",
        type=Path,
        metavar="MODEL",
        help="add the training pictures to this model (a checkpoint or its folder), without the "
        "pictures that it learned from; network, layers, settings and picture size are those of "
        "the model. With --calibration_dir and no pictures to add: only give it scores of good "
        "pictures",
    )
    group.add_argument(
        "--forget",
        type=Path,
        metavar="DIR",
        help="with --update: take the pictures in this folder out of the model again, in place of "
        "adding some",
    )


def add_state_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("long trainings")
    group.add_argument(
        "--save_every",
        type=whole(1),
        metavar="N",
        help="keep what was learned after every N pictures, in <save_path>/<category>/"
        "training.state, for --resume (default: never)",
    )
    add_boolean(
        group,
        "--resume",
        False,
        "go on where a training with --save_every was ended; pictures and options must be the same",
    )


def add_calibration_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("calibration")
    add_boolean(
        group,
        "--calibrate",
        True,
        "score every training picture as if it had been left out, so that the model can promise a "
        "false-alarm rate; with --val, also save the thresholds of best F1",
    )
    group.add_argument(
        "--calibration_dir",
        type=Path,
        help="score the good pictures in this folder (or in a folder of the category's name in it) "
        "instead of the training pictures",
    )
    group.add_argument(
        "--folds",
        type=whole(2),
        metavar="K",
        help="check the scores of left-out pictures: fit on K - 1 of K parts of the training "
        "pictures and score the part left out; writes folds.png and folds.json (default: no check)",
    )
    add_boolean(group, "--audit", False, "draw the ten most unusual training pictures: audit.png")
    group.add_argument(
        "--exclude",
        type=Path,
        metavar="FILE",
        help="text file with one training picture per line, a path or a name, to leave out",
    )
    group.add_argument(
        "--roi",
        type=Path,
        metavar="MASK.png",
        help="region of interest, a picture with the shape of the training pictures: where it is "
        "black, nothing is learned and nothing scores",
    )
    add_verdict_options(group)
