"""Options at and beyond their limits; paths that cannot be written."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.corpus import given, samples
from tests.corpus.rows import Row

WHOLE = "expected a whole number"
HUGE = "9" * 400
# Option → values that cannot be, and what is said of them.
TRAIN = {
    "--batch_size": (["0", "-1", "65537", HUGE, "1.5", "", "x", "0x10", " 4", "٣"], WHOLE),
    "--num_workers": (["-1", HUGE, "many", "1e3"], WHOLE),
    "--max_pixels": (["0", "-5", HUGE, "x"], WHOLE),
    "--seed": (["-1", HUGE, "x", "1.0"], WHOLE),
    "--dims": (["0", "-1", "x"], WHOLE),
    "--cpu_threads": (["0", "-1", HUGE, "x"], WHOLE),
    "--folds": (["1", "0", "-1", "x", HUGE], "folds"),
    "--save_every": (["0", "-1", "x"], WHOLE),
    "--num_pictures": (["-1", "x"], WHOLE),
    "--seeds": (["x", "-1", HUGE], WHOLE),
    "--resize": (["0", "-1", "x", "1x2x3", "0x5", "31", "16385", HUGE, "256x", ""], "resize"),
    "--img_size": (["0", "-1", "x", "31", "257", "16385", HUGE, "224x300", ""], "img_size"),
    "--epsilon": (["0", "-1", "nan", "inf", "x", "1e13", "1e999", ""], "epsilon"),
    "--coreset_ratio": (["0", "-1", "1.1", "nan", "inf", "x", "1e999"], "coreset_ratio"),
    "--gallery": (["0", "-1", "10001", "x", HUGE], "gallery"),
    "--kappa": (["0", "1001", "x", HUGE], "kappa"),
    "--fpr": (["0", "-1", "1", "0.6", "nan", "inf", "x", "1e-10", "1e999"], "fpr"),
    "--patch_size": (["0", "2", "9", "x"], "patch_size"),
    "--depth": (["0", "19", "x", "-18", HUGE], "depth"),
    "--backbone": (["", "vgg16", "resnet18 ", "../resnet18"], "backbone"),
    "--device": (["", "tpu", "gpu:-1", "gpu:x", "cpu:0", f"gpu:{HUGE}"], "device"),
    "--precision": (["", "fp64", "int8"], "precision"),
    "--method": (["", "x", "PaDiM"], "method"),
    "--reduction": (["", "x"], "reduction"),
    "--layers": (["", ",", "layer9", "layer1,layer1", "layer2,layer1,x", "x" * 10**4], "layers"),
    "--category": (["..", ".", "a/b", "", "x" * 300, "a\nb", "nowhere"], "category"),
    "--val": (["maybe", "2", ""], "True or False"),
    "--no-val": (["True"], "takes no value"),
    "--threshold_from": (["x", ""], "threshold_from"),
    "--decoder": (["x", ""], "decoder"),
    "--pretrained_backbone": (
        ["nowhere.pth", "/dev/zero", "/"],
        "pretrained_backbone|:",
    ),
    "--data_path": (["nowhere", "/dev/null", "", "x" * 300, "x/" * 3000], "."),
    "--calibration_dir": (["nowhere", "/dev/null", "x" * 300], "calibration_dir"),
    "--exclude": (["nowhere", "/", "/dev/zero", "x" * 300], "exclude"),
    "--roi": (["nowhere", "/", "/dev/zero", "x" * 300], "roi|:"),
    "--update": (["nowhere", "/dev/zero", "x" * 300], "."),
    "--forget": (["nowhere", "/dev/null"], "forget"),
}
OTHERS = {
    "predict": {
        "--threshold": (["nan", "inf", "x", ""], "threshold"),
        "--min_area": (["-1", "x"], "min_area"),
        "--picture_path": (["nowhere", "/dev/null/x"], "."),
        "--model_path": (["nowhere", "/dev/zero", "/"], "."),
        "--watch_interval": (["0", "-1", "nan", "inf", "x"], "watch_interval"),
        "--batch_size": (["0", HUGE], WHOLE),
        "--unknown": (["1"], "unrecognized"),
        "--picture_pat": (["1"], "unrecognized"),
    },
    "val": {
        "--model_path": (["nowhere", "/dev/zero"], "."),
        "--fpr": (["2", "nan"], "fpr"),
        "--seed": (["-1", "x"], WHOLE),
    },
    "infer": {
        "--gpu_mem": (["0", "-1", "x"], "gpu_mem"),
        "--model_dir": (["nowhere", "/dev/null"], "."),
        "--model_file": (["nowhere", "/dev/zero"], "."),
        "--precision": (["x"], "precision"),
        "--use_gpu": (["maybe"], "True or False"),
    },
    "export_model": {
        "--model_path": (["nowhere", "/dev/zero"], "."),
        "--distribution_dtype": (["float64", ""], "distribution_dtype"),
        "--format": (["x"], "format"),
        "--quantize": (["nowhere"], "."),
    },
}
SLOW = {("--device", f"gpu:{HUGE}"), ("--pretrained_backbone", "nowhere.pth")}  # start Paddle
# Each script as it would work, were it not for the option.
BASES: dict[str, Callable[[Path], list]] = {
    "train": lambda folder: [
        *("--data_path", given.demo(), "--category", given.CATEGORY, "--save_path", folder / "out"),
        *("--log_dir", folder / "logs", "--pretrained_backbone", "embedded"),
    ],
    "predict": lambda folder: [
        *("--picture_path", given.picture(), "--model_path", given.model()),
        *("--save_path", folder / "out"),
    ],
    "val": lambda folder: [
        *("--data_path", given.demo(), "--category", given.CATEGORY, "--save_path", folder / "out"),
        *("--model_path", given.model()),
    ],
    "infer": lambda folder: ["-i", given.picture(), "--model_dir", given.exported()],
    "export_model": lambda folder: [
        *("--model_path", given.model(), "--save_dir", folder / "out"),
    ],
}


def refused() -> Iterator[Row]:
    for script, table in {"train": TRAIN, **OTHERS}.items():
        for option, (values, error) in table.items():
            for value in values:

                def make(folder: Path, s=script, o=option, v=value) -> list:
                    return [*BASES[s](folder), f"{o}={v}"]

                shown = value if len(value) < 20 else f"{value[:8]}… of {len(value)}"
                name = f"{option} {shown!r}"
                found = f"(?s)^(?=.*({error})).{{1,600}}$"
                slow = (option, value) in SLOW
                yield Row("options", name, script, make, found, 2, slow=slow)


LONG = {  # options that name what is opened: the system says what is wrong
    "train": ("--pretrained_backbone",),
    "predict": ("--picture_path", "--model_path"),
    "val": ("--model_path",),
    "infer": ("--model_dir",),
    "export_model": ("--model_path",),
}


def long_names() -> Iterator[Row]:
    for script, options in LONG.items():
        for option in options:

            def make(folder: Path, s=script, o=option) -> list:
                return [*BASES[s](folder), f"{o}={'x' * 300}"]

            slow = option == "--pretrained_backbone"
            name = f"{option} of 300 letters"
            yield Row("options", name, script, make, "name too long", slow=slow)


def unwritable(kind: str) -> Callable[[Path], Path]:
    """A path in `folder` that is no folder and cannot become one."""

    def make(folder: Path) -> Path:
        path = folder / "place"
        if kind == "a file":
            path.write_text("keep me")
        elif kind == "below a file":
            path.write_text("keep me")
            path = path / "out"
        elif kind == "a pipe":
            os.mkfifo(path)
        elif kind == "a dangling link":
            path.symlink_to(folder / "none" / "nowhere")
        elif kind == "a link to itself":
            path.symlink_to("place")
        return {"a device": Path("/dev/full"), "the kernel's": Path("/proc/x")}.get(kind, path)

    return make


KINDS = ("a file", "below a file", "a pipe", "a link to itself", "a device", "the kernel's")
PLACES = {  # script → options that name what will be written
    "train": ("--save_path", "--log_dir"),
    "val": ("--save_path",),
    "export_model": ("--save_dir",),
    "predict": ("--save_map", "--save_mask"),
}


def paths() -> Iterator[Row]:
    for script, options in PLACES.items():
        for option in options:
            for kind in KINDS:

                def make(folder: Path, s=script, o=option, k=kind) -> list:
                    return [*BASES[s](folder), f"{o}={unwritable(k)(folder)}"]

                yield Row("paths", f"{option} is {kind}", script, make, option, 2)
    for kind in ("a pipe", "a link to itself", "a device", "the kernel's", "below a file"):

        def stats(folder: Path, kind=kind) -> list:
            return [*BASES["predict"](folder), f"--stats={unwritable(kind)(folder)}"]

        yield Row("paths", f"--stats is {kind}", "predict", stats, "stats", 2, slow=True)


def models() -> Iterator[Row]:
    """Files in place of a model, by the scripts."""
    for script in ("predict", "val", "export_model"):
        for kind in ("a pipe", "a link to itself", "a device"):

            def special(folder: Path, s=script, k=kind) -> list:
                return [*BASES[s](folder), f"--model_path={unwritable(k)(folder)}"]

            yield Row("options", f"--model_path is {kind}", script, special, "no such|links", 2)
        for make in (samples.torch_zip, samples.distribution, samples.score_log):

            def other(folder: Path, s=script, make=make) -> list:
                return [*BASES[s](folder), "--model_path", make(folder / "x.pdparams")]

            title = f"--model_path is a {make.__name__}"
            yield Row("options", title, script, other, "not a checkpoint")


def rows() -> Iterator[Row]:
    yield from refused()
    yield from long_names()
    yield from models()
    yield from paths()
