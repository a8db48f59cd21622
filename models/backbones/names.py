"""Translates the tensor names of other libraries to the names used here.

Residual networks have torchvision's names here; timm and Paddle use the same. For EfficientNets,
torchvision, timm and efficientnet_pytorch each use different names.
"""

import re
from collections.abc import Iterable

from models.backbones.catalogue import EFFICIENT, Block, blocks

WRAPPERS = ("module.", "backbone.", "model.", "encoder.", "_orig_mod.")
COUNTERS = ("num_batches_tracked", "n_averaged")
GATES = ("squeeze", "excite")  # modules that EfficientNet-Lite does not have
LEAVES = {"_mean": "running_mean", "_variance": "running_var"}  # Paddle's → PyTorch's


def torch_leaf(key: str) -> str:
    """Paddle's name of a tensor → PyTorch's; PyTorch's own stay as they are."""
    stem, _, last = key.rpartition(".")
    renamed = LEAVES.get(last, last)
    return f"{stem}.{renamed}" if stem else renamed


def unwrapped(keys: Iterable[str]) -> dict[str, str]:
    """Names → names without the prefixes of wrappers (`module.`, `backbone.`).

    Each name is treated on its own: the tensors of a head outside the wrapper have no prefix.
    """
    short = {}
    for key in keys:
        name = key
        while prefix := next((w for w in WRAPPERS if name.startswith(w)), None):
            name = name.removeprefix(prefix)
        short[key] = name
    return short


def scheme_of(backbone: str, keys: Iterable[str]) -> str:
    """The naming scheme of `keys`: a key of SCHEMES, or `ours`."""
    if backbone in EFFICIENT:
        marks = {"torchvision": "features.", "timm": "conv_stem.", "efficientnet_pytorch": "_conv_"}
        for scheme, mark in marks.items():
            if any(key.startswith(mark) for key in keys):
                return scheme
    return "ours"


def renamed(backbone: str, keys: Iterable[str]) -> dict[str, str]:
    """Names in a file → names here, without classifier and counters; unknown names stay."""
    short = {key: torch_leaf(value) for key, value in unwrapped(keys).items()}
    scheme = scheme_of(backbone, short.values())
    drop, found = ("fc.", "classifier."), {}
    if scheme != "ours":
        drop, found = HEADS[scheme], modules(backbone, scheme)
    result = {}
    for key, value in short.items():
        if value.endswith(COUNTERS) or value.startswith(drop):
            continue
        module, _, leaf = value.rpartition(".")
        result[key] = f"{found[module]}.{leaf}" if module in found else value
    return result


def variant_of(
    backbone: str, keys: Iterable[str], file: str, tensorflow: bool | None = None
) -> dict:
    """The padding and epsilon that `efficientnet.EfficientNet` needs for weights named `keys`.

    timm uses the same names for weights trained in PyTorch and in TensorFlow. Where `tensorflow`
    is None, weights count as TensorFlow's if the `file` is named tf_…, and for B6, B7 and Lite.
    """
    if backbone not in EFFICIENT:
        return {}
    scheme = scheme_of(backbone, unwrapped(keys).values())
    if scheme == "efficientnet_pytorch":
        return {"padding": "same_as_trained", "epsilon": 1e-3}
    if tensorflow is None:
        only = EFFICIENT[backbone].lite or backbone[-1] in "67"
        tensorflow = file.startswith("tf_") or only
    if scheme == "timm" and tensorflow:
        return {"padding": "same", "epsilon": 1e-3}
    large = backbone[-1] in "567" and scheme == "torchvision"
    return {"padding": "symmetric", "epsilon": 1e-3 if large else 1e-5}


IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # mean and deviation of [0,1] RGB
INCEPTION = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)  # pixels from −1 to 1
LITE = (127 / 255,) * 3, (128 / 255,) * 3


def normalization_of(backbone: str, file: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of the pixels that weights were trained on, by the name of their file.

    EfficientNet-Lite was trained on (x − 127)/128, AdvProp's weights (Xie et al. 2020; files called
    adv-… or …_ap…) on pixels from −1 to 1, all others on ImageNet's normalisation.
    """
    if backbone in EFFICIENT and EFFICIENT[backbone].lite:
        return LITE
    if backbone in EFFICIENT and re.search(r"(^adv|_ap\b|_ap[-_.]|advprop)", file.lower()):
        return INCEPTION
    return IMAGENET


def modules(backbone: str, scheme: str) -> dict[str, str]:
    """Module names of a scheme → names here, for all modules of an EfficientNet with tensors."""
    named = SCHEMES[scheme]
    found = {theirs: ours for ours, theirs in named(None).items()}
    for block in blocks(backbone):
        for ours, theirs in named(block).items():
            if ours not in GATES or not EFFICIENT[backbone].lite:
                found[theirs] = f"block{block.number}.{ours}"
    return found


def _torchvision(block: Block | None) -> dict[str, str]:
    if block is None:
        return {"stem.conv": "features.0.0", "stem.norm": "features.0.1"}
    root = f"features.{block.stage + 1}.{block.index}.block"
    names, at = {}, 0
    if block.expansion > 1:
        names |= {"expand.conv": f"{root}.0.0", "expand.norm": f"{root}.0.1"}
        at = 1
    names |= {"depthwise.conv": f"{root}.{at}.0", "depthwise.norm": f"{root}.{at}.1"}
    names |= {"squeeze": f"{root}.{at + 1}.fc1", "excite": f"{root}.{at + 1}.fc2"}
    return names | {"project.conv": f"{root}.{at + 2}.0", "project.norm": f"{root}.{at + 2}.1"}


def _timm(block: Block | None) -> dict[str, str]:
    if block is None:
        return {"stem.conv": "conv_stem", "stem.norm": "bn1"}
    root = f"blocks.{block.stage}.{block.index}"
    names = {"squeeze": f"{root}.se.conv_reduce", "excite": f"{root}.se.conv_expand"}
    steps = [("depthwise", "conv_dw"), ("project", "conv_pw")]
    if block.expansion > 1:
        steps = [("expand", "conv_pw"), ("depthwise", "conv_dw"), ("project", "conv_pwl")]
    for i, (ours, theirs) in enumerate(steps, 1):
        names |= {f"{ours}.conv": f"{root}.{theirs}", f"{ours}.norm": f"{root}.bn{i}"}
    return names


def _efficientnet_pytorch(block: Block | None) -> dict[str, str]:
    if block is None:
        return {"stem.conv": "_conv_stem", "stem.norm": "_bn0"}
    root = f"_blocks.{block.number - 1}"
    names = {"squeeze": f"{root}._se_reduce", "excite": f"{root}._se_expand"}
    steps = [("depthwise", 1), ("project", 2)]
    for ours, i in [("expand", 0), *steps] if block.expansion > 1 else steps:
        names |= {f"{ours}.conv": f"{root}._{ours}_conv", f"{ours}.norm": f"{root}._bn{i}"}
    return names


SCHEMES = {
    "torchvision": _torchvision,
    "timm": _timm,
    "efficientnet_pytorch": _efficientnet_pytorch,
}
HEADS = {
    "torchvision": ("features.8.", "classifier."),
    "timm": ("conv_head.", "bn2.", "classifier."),
    "efficientnet_pytorch": ("_conv_head.", "_bn1.", "_fc."),
}
