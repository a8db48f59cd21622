"""Options that say which detector, with which weights, on which device."""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from common.errors import UsageError
from common.options import add_boolean, checked, number, whole
from models.backbones.catalogue import BACKBONES, REDUCTIONS, parse_layers
from models.device import PRECISIONS, parse_device
from models.engine import Engine
from models.methods import DEFAULT_METHOD, METHODS

DISTRIBUTION_DTYPES = ("float32", "float16")
DEPTHS = {int(name[6:]): name for name in BACKBONES if name.startswith("resnet")}


def add_model_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("model")
    group.add_argument(
        "--method", choices=tuple(METHODS), default=DEFAULT_METHOD, help="how defects are found"
    )
    _add_settings(group)
    add_backbone_options(group, "resnet18")
    group.add_argument(
        "--pretrained_backbone",
        metavar="auto|embedded|random|PATH",
        default="auto",
        help="weights: a file (PyTorch's .pth, Paddle's .pdparams or .pdiparams, .safetensors); "
        "auto: models/<backbone>.*, the cache, or torchvision's, downloaded; embedded: those of "
        "resnet18 in this project; random: seeded, for tests",
    )
    group.add_argument(
        "--layers",
        help="layers that the features are made of, comma-separated; of EfficientNets block "
        "numbers, <block>.expand, <block>.depthwise, or first, middle, last (default: "
        "layer1,layer2,layer3; last)",
    )
    group.add_argument(
        "--dims",
        type=whole(1),
        help="number of channels that are kept (default: 100 for resnet18 and 34, 550 for wide "
        "networks, 300 for other residual ones, all for an EfficientNet)",
    )
    group.add_argument(
        "--reduction",
        choices=REDUCTIONS,
        help="how channels are reduced: a random choice, a random projection onto orthonormal "
        "directions, or not at all (default: random, or none where all channels are kept)",
    )
    group.add_argument("--seed", type=whole(0), help="seed of the channel draw (default: 7)")
    add_engine_options(group)


def add_backbone_options(group, default: str) -> None:
    group.add_argument(
        "--backbone", choices=BACKBONES, help=f"the frozen network (default: {default})"
    )
    group.add_argument("--depth", type=whole(1), metavar="N", help="short for --backbone resnetN")


def add_engine_options(group) -> None:
    group.add_argument(
        "--device", type=checked(parse_device), default="auto", help="auto, cpu, gpu or gpu:N"
    )
    add_precision_options(group)
    add_boolean(
        group,
        "--to_static",
        True,
        "run the network as a static graph; False runs it layer by layer, which is slower",
    )


def add_precision_options(group, int8: bool = False) -> None:
    """`int8`: whether quantised graphs can be run, too."""
    group.add_argument(
        "--precision",
        choices=(*PRECISIONS, "int8") if int8 else PRECISIONS,
        default="fp32",
        help="arithmetic of the network: bf16 on processors that have it, fp16 on a GPU"
        + ("; int8 of graphs that were exported with --quantize" if int8 else ""),
    )
    group.add_argument(
        "--cpu_threads",
        type=whole(1, 1024),
        help="threads of the network on a CPU (default: one for each processor)",
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
    """One option per setting of a method. It is None where it was not given."""
    for method, row in METHODS.items():
        for setting in dataclasses.fields(row.settings):
            kind = type(setting.default)
            group.add_argument(
                f"--{setting.name}",
                type={int: whole(0), float: checked(number)}.get(kind, kind),
                help=f"{setting.metadata['help']} ({method}; default: {setting.default})",
            )


def settings_from(options: argparse.Namespace) -> Any:
    """The settings of --method; UsageError where one is given that this method does not have."""
    names = {s.name for row in METHODS.values() for s in dataclasses.fields(row.settings)}
    given = {name: getattr(options, name) for name in names}
    given = {name: value for name, value in given.items() if value is not None}
    kind = METHODS[options.method].settings
    known = {setting.name for setting in dataclasses.fields(kind)}
    if foreign := sorted(given.keys() - known):
        raise UsageError(f"{options.method} has no such setting", foreign[0])
    try:
        return kind(**given)
    except ValueError as error:
        raise UsageError(f"--method {options.method}: {error}") from error


def layers_from(options: argparse.Namespace, backbone: str) -> tuple[str, ...] | None:
    """The layers that --layers names, None for the default ones.

    UsageError where the backbone lacks one.
    """
    try:
        return None if options.layers is None else parse_layers(backbone, options.layers)
    except ValueError as error:
        raise UsageError(f"--layers {options.layers or repr('')}: {error}") from error


def backbone_from(options: argparse.Namespace) -> str:
    """The backbone that --backbone and --depth name together; UsageError where they disagree."""
    if options.depth is None:
        return options.backbone or "resnet18"
    if options.depth not in DEPTHS:
        known = ", ".join(str(depth) for depth in DEPTHS)
        raise UsageError(f"--depth {options.depth}: no such network; known: {known}")
    named = DEPTHS[options.depth]
    if options.backbone not in (None, named):
        raise UsageError(f"--depth {options.depth} and --backbone {options.backbone} disagree")
    return named


def find_model(model_path: Path | None, folder: Path, category: str | None) -> Path:
    """The checkpoint: `model_path`, or that of `category` below `folder`, or the only one there."""
    if model_path is not None:
        return model_path / "best.pdparams" if model_path.is_dir() else model_path
    if category is not None:
        return folder / category / "best.pdparams"
    found = sorted(folder.glob("*/best.pdparams"))
    if len(found) != 1:
        names = ", ".join(path.parent.name for path in found) or "none"
        raise UsageError(
            f"{folder} has models of {names}; choose one with --category or --model_path"
        )
    return found[0]
