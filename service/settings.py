"""The options of serve.py as typed values. Imports nothing heavy."""

import argparse
import ipaddress
import logging
import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from common.errors import UsageError
from models.engine import Engine
from models.options import engine_from
from tasks.verdicts import Wanted, wanted_from

TOKEN_VARIABLE = "SERVE_TOKEN"
FEWEST_CHARACTERS, MOST_CHARACTERS = 16, 1024  # of a token or secret

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """What a request, and all requests together, may cost.

    body : bytes of one request's body
    pictures : pictures of one request
    pixels : of one picture
    queue : pictures that were accepted and are not yet judged, of all requests
    connections : open connections
    seconds : from the first byte of a request to its answer
    """

    body: int
    pictures: int
    pixels: int
    queue: int
    connections: int
    seconds: float


@dataclass(frozen=True)
class Webhook:
    """Where to report defective pictures, and the secret that signs the reports."""

    url: str
    secret: bytes = field(repr=False)


@dataclass(frozen=True)
class Settings:
    """
    window : seconds to wait for more pictures before a batch that is not full
    workers : threads that decode pictures
    stats : file of scores to append to (common.score_log), or None
    grace : seconds that a stop waits for accepted requests
    token : that requests must bear, or None
    """

    model_dir: Path
    host: str
    port: int
    engine: Engine
    wanted: Wanted
    min_area: int
    stats: Path | None
    batch_size: int
    window: float
    workers: int
    limits: Limits
    grace: float
    token: bytes | None = field(repr=False)
    webhook: Webhook | None


def settings_from(options: argparse.Namespace) -> Settings:
    """Raises UsageError if an option makes no sense, or a file that it names cannot be read."""
    limits = Limits(
        options.max_body,
        options.max_pictures,
        options.max_pixels,
        options.max_queue,
        options.max_connections,
        options.timeout,
    )
    if limits.queue < limits.pictures:
        raise UsageError(
            f"{limits.queue}: expected at least the {limits.pictures} of --max_pictures",
            "max_queue",
        )
    token = _token(options.token_file)
    if token is None and not _is_loopback(options.host):
        logger.warning(
            "everyone who reaches %s can use this service: give --token_file", options.host
        )
    return Settings(
        options.model_dir,
        options.host,
        options.port,
        engine_from(options),
        wanted_from(options),
        options.min_area,
        options.stats,
        options.batch_size,
        options.batch_window / 1000,
        options.num_workers,
        limits,
        options.grace,
        token,
        _webhook(options.webhook_url, options.webhook_secret_file),
    )


def _token(path: Path | None) -> bytes | None:
    if path is not None:
        return _secret(path, "token_file")
    text = os.environ.get(TOKEN_VARIABLE)
    return None if text is None else _checked(os.fsencode(text), f"${TOKEN_VARIABLE}", None)


def _webhook(url: str | None, secret_file: Path | None) -> Webhook | None:
    if url is None:
        if secret_file is not None:
            raise UsageError("has no effect without --webhook_url", "webhook_secret_file")
        return None
    if secret_file is None:
        raise UsageError(
            "needs --webhook_secret_file, so that the receiver can check who sent a report",
            "webhook_url",
        )
    return Webhook(url, _secret(secret_file, "webhook_secret_file"))


def _secret(path: Path, setting: str) -> bytes:
    """The content of a file without the white space around it."""
    try:
        with path.open("rb") as file:
            content = file.read(MOST_CHARACTERS + 2)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})", setting) from error
    return _checked(content.strip(), str(path), setting)


def _checked(secret: bytes, name: str, setting: str | None) -> bytes:
    printable = all(33 <= byte <= 126 for byte in secret)
    if not printable or not FEWEST_CHARACTERS <= len(secret) <= MOST_CHARACTERS:
        raise UsageError(
            f"{name}: expected {FEWEST_CHARACTERS} to {MOST_CHARACTERS} printable ASCII characters "
            "without spaces, for example of `openssl rand -hex 32`",
            setting,
        )
    return secret


def http_url(text: str) -> str:
    """A type for argparse, with `checked`: an http or https address with a host."""
    try:
        found = urlsplit(text)
        right = found.scheme in ("http", "https") and found.hostname and found.port != 0
    except ValueError:
        right = False
    if not right or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(f"expected an address http://… or https://…, got {text!r}")
    return text


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
