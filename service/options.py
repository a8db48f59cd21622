"""Options of serve.py."""

import os
from pathlib import Path

from common.options import Parser, checked, positive, whole
from models.options import add_engine_options
from service.settings import TOKEN_VARIABLE, http_url
from tasks.verdicts import add_verdict_options


def add_service_options(parser: Parser) -> None:
    parser.add_argument(
        "--model_dir",
        type=Path,
        required=True,
        help="folder of an exported model, or of a checkpoint, or a folder of such folders: one "
        "per category",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; 0.0.0.0 for all, then use --token_file",
    )
    parser.add_argument(
        "--port", type=whole(0, 65535), default=8000, help="port; 0 for any that is free"
    )
    _add_verdicts(parser.add_argument_group("verdicts"))
    _add_engine(parser.add_argument_group("engine"))
    _add_limits(parser.add_argument_group("limits"))
    _add_security(parser.add_argument_group("security"))


def _add_verdicts(group) -> None:
    add_verdict_options(group)
    group.add_argument(
        "--min_area",
        type=whole(0),
        default=0,
        help="leave smaller regions out, in pixels of the picture",
    )
    group.add_argument(
        "--stats",
        type=Path,
        metavar="FILE",
        help="append time, name, score, p-value and verdict of each picture to this file of JSON "
        "lines, for python -m evaluation.drift (default: none)",
    )


def _add_engine(group) -> None:
    group.add_argument(
        *("-b", "--batch_size"), type=whole(1, 1024), default=8, help="most pictures per batch"
    )
    group.add_argument(
        "--batch_window",
        type=whole(0, 10_000),
        default=3,
        help="milliseconds to wait for more pictures before a batch that is not full",
    )
    group.add_argument(
        "--num_workers",
        type=whole(1, 256),
        default=min(8, os.cpu_count() or 1),
        help="threads that decode pictures",
    )
    add_engine_options(group, int8=True)


def _add_limits(group) -> None:
    numbers = {
        "max_body": (2**26, 2**32, "bytes of the body of a request"),
        "max_pictures": (32, 4096, "pictures per request"),
        "max_pixels": (50_000_000, 10**10, "pixels (width x height) per picture"),
        "max_queue": (128, 65536, "pictures accepted and not yet judged; beyond, requests get 503"),
        "max_connections": (256, 65536, "open connections; beyond, they get 503"),
    }
    for name, (default, most, text) in numbers.items():
        group.add_argument(
            f"--{name}", type=whole(1, most), default=default, help=f"largest number of {text}"
        )
    group.add_argument(
        "--timeout",
        type=checked(positive),
        default=30.0,
        help="seconds from the first byte of a request to its answer; beyond, it gets 408 or 504",
    )
    group.add_argument(
        "--grace",
        type=checked(positive),
        default=30.0,
        help="seconds that a stop (SIGTERM) waits until accepted requests are answered",
    )


def _add_security(group) -> None:
    group.add_argument(
        "--token_file",
        type=Path,
        help="file with the token that requests must bear (Authorization: Bearer ...) "
        f"(default: the environment variable {TOKEN_VARIABLE}; without it, no token is needed)",
    )
    group.add_argument(
        "--webhook_url",
        type=checked(http_url),
        help="send a signed report of each defective picture to this address",
    )
    group.add_argument(
        "--webhook_secret_file", type=Path, help="file with the secret that signs the reports"
    )
