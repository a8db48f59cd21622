"""Requests that no honest client sends, from a seed; none of them may do harm to the service.

python -m benchmarks.malformed --model_dir exported --count 1000

With --schemathesis, requests that schemathesis makes of the service's own description follow (it
needs an environment of its own: `python -m venv s && s/bin/pip install schemathesis`):

python -m benchmarks.malformed --model_dir exported --schemathesis s/bin/schemathesis
"""

import io
import random
import socket
import struct
import subprocess
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from benchmarks.http_clients import TOKEN, Picture, Service, load
from common.errors import run
from common.logs import start_logging
from common.options import Parser, whole

MAX_BODY = 2**21  # of the service that is tested, so that bodies beyond it are short
LIMITS = ("--max_body", MAX_BODY, "--max_pixels", 10**6, "--max_pictures", 4, "--timeout", 5)
HEAD = "{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"


def png(width: int, height: int, content: bytes, extra: bytes = b"") -> bytes:
    """A PNG of 8-bit grey with this header, and `content` as its compressed pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = _chunk(b"IHDR", header) + extra + _chunk(b"IDAT", content) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def _chunk(name: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + checksum


def request(
    category: str,
    body: bytes = b"",
    headers: str = "Content-Type: image/png\r\n",
    query: str = "",
    path: str | None = None,
    method: str = "POST",
    length: int | str | None = None,
    token: str = TOKEN,
) -> bytes:
    """The bytes of a request; `length` is a Content-Length that may be wrong."""
    path = path or f"/v1/{category}/inspect{query}"
    length = len(body) if length is None else length
    head = HEAD.format(method=method, path=path, token=token) + headers
    return f"{head}Content-Length: {length}\r\n\r\n".encode("latin-1") + body


def pictures(chance: random.Random, good: bytes) -> list[bytes]:
    """Bodies that are no picture, or too large a one."""
    bomb = zlib.compress(bytes(30_000_000))
    text = _chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(20_000_000)))
    cut = chance.randrange(40, len(good) // 2)
    damaged = bytearray(good)
    for place in range(len(good) // 4, len(good) // 4 + 2000):
        damaged[place] = chance.randrange(256)
    return [
        chance.randbytes(chance.randrange(1, 4000)),
        good[:cut],
        bytes(damaged[: len(good) // 2]),
        png(60000, 60000, bomb),
        png(1001, 1000, zlib.compress(bytes(1002000))),
        png(500, 500, b"no zlib"),
        png(0, 0, b""),
        png(500, 500, zlib.compress(bytes(500)), text),
        b"\xff\xd8\xff\xe0" + chance.randbytes(500),
        b"BM" + struct.pack("<IHHIIiiHHI", 99, 0, 0, 54, 40, 2**30, -(2**30), 1, 24, 0),
        b"II*\0" + struct.pack("<IHHHII", 8, 1, 256, 4, 1, 2**31) + chance.randbytes(200),
        b"RIFF" + struct.pack("<I", 2**31) + b"WEBPVP8L" + chance.randbytes(60),
        b'{"picture": "a.png"}',
        b"<svg xmlns='http://www.w3.org/2000/svg' width='1' height='1'/>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    ]


QUERIES = (
    *("fpr=nan", "fpr=-1", "fpr=0", "fpr=1e9", "fpr=inf", "fpr=a", "fpr=", "map=gif", "map="),
    *("mask=perhaps", "min_area=-1", "min_area=1.5", "min_area=99999999999999999999", "size=3"),
    "fpr=5e-324",
    *("fpr=0.01&path=/etc/passwd", "%00=1", "fpr=%f0%28", "[]=1", "fpr[]=0.1", "map=png&map=gif"),
)
PATHS = (
    *("/", "/v1/", "/v1/../../etc/passwd", "/v1/%2e%2e%2fetc%2fpasswd/inspect", "/v1//inspect"),
    *("/v1/a%00b/inspect", f"/v1/{'a' * 5000}/inspect", "/v1/%ff%fe/inspect", "/docs/../serve.py"),
    *("http://169.254.169.254/latest", "*", "/v1/none/inspect/more", "/v1/%0d%0aX: 1/inspect"),
)
TYPES = (
    *("text/plain", "application/json", "application/x-www-form-urlencoded", "video/mp4", "a/b/c"),
    *("multipart/form-data", "multipart/mixed; boundary=x", "multipart/form-data; boundary="),
    *(f"multipart/form-data; boundary={'x' * 300}", ";;;", "multipart/form-data; boundary=\xe9"),
)


def forms(good: bytes) -> list[bytes]:
    """Bodies of multipart/form-data with the boundary x."""
    file = b'--x\r\nContent-Disposition: form-data; name="a"; filename="a.png"\r\n\r\n'
    return [
        b"--x--\r\n",
        b"--y\r\n\r\n--y--",
        file + good,
        file + good + b"\r\n--x",
        (file + good + b"\r\n") * 5 + b"--x--",
        b"--x\r\n\r\n" * 1000 + b"--x--",
        b'--x\r\nContent-Disposition: form-data; name="fpr"\r\n\r\n0.1\r\n--x--',
        b"--x\r\n" + b"A: " + b"b" * 20000 + b"\r\n\r\n1\r\n--x--",
        b"\r\n--x" * 100_000,
        file.replace(b"a.png", b"../../../a\0.png") + b"no picture\r\n--x--",
        b"--x\r\nContent-Disposition: form-data; filename*=utf-9''%ff%\r\n\r\n1\r\n--x--",
    ]


def streams(chance: random.Random, category: str, good: bytes) -> list[bytes]:
    """What is wrong before the body is a body."""
    plain = request(category, good)
    chunked = HEAD.format(method="POST", path=f"/v1/{category}/inspect", token=TOKEN).encode()
    chunked += b"Transfer-Encoding: chunked\r\n"
    piece = b"%x\r\n" % 65536 + bytes(65536) + b"\r\n"
    return [
        chance.randbytes(chance.randrange(1, 3000)) + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + chance.randbytes(300),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /\r\n\r\n",
        plain[: chance.randrange(1, 100)],
        plain[: chance.randrange(300, len(plain))],
        request(category, good, f"X-Long: {'x' * chance.randrange(17000, 10**6)}\r\n"),
        request(category, good, "X: 1\r\n" * 20000),
        request(category, good, query="?" + "a" * 10**5),
        *(request(category, good, length=n) for n in (-1, 0, "1e3", 2**70, "5, 6", MAX_BODY + 1)),
        request(category, good, "Content-Length: 3\r\nContent-Type: image/png\r\n"),
        request(category, good, "Transfer-Encoding: chunked\r\nContent-Type: image/png\r\n"),
        request(category, good, "Transfer-Encoding: gzip, chunked\r\n"),
        request(category, good, "Expect: 200-nothing\r\n", length=2**40),
        request(category, good, " folded: 1\r\nBad Header: 1\r\n"),
        chunked + b"\r\nzz\r\n" + good,
        chunked + b"\r\n" + piece * (MAX_BODY // 65536 + 2) + b"0\r\n\r\n",
        chunked + b"\r\n" + b"5\r\nab",
        chunked + b"\r\n0\r\n\r\n",
        *(request(category, good, token=t) for t in ("", "x" * 5000, TOKEN[:-1], "\xe9")),
        *(request(category, good, method=m) for m in ("PUT", "DELETE", "GET", "TRACE", "PROPFIND")),
    ]


def malformed(seed: int, category: str, good: bytes) -> Iterator[bytes]:
    """Endless requests, each wrong in a way; `good` is a PNG of more than 1000 bytes."""
    chance = random.Random(seed)
    form = "Content-Type: multipart/form-data; boundary=x\r\n"
    while True:
        found = [request(category, body) for body in pictures(chance, good)]
        found += [request(category, good, query=f"?{query}") for query in QUERIES]
        found += [request(category, good, path=path) for path in PATHS]
        found += [request(category, good, f"Content-Type: {kind}\r\n") for kind in TYPES]
        found += [request(category, body, form) for body in forms(good)]
        found += streams(chance, category, good)
        chance.shuffle(found)
        yield from found


def send(address: tuple[str, int], content: bytes) -> int | None:
    """The status of the answer; None where the service closed the connection without one."""
    try:
        with socket.create_connection(address, 30) as connection:
            try:
                connection.sendall(content)
                connection.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # it answered before it had read everything
            return _status(connection)
    except ConnectionResetError:
        return None


def _status(connection: socket.socket) -> int | None:
    received = b""
    while b"\r\n" not in received and (piece := connection.recv(4096)):
        received += piece
    return int(received.split()[1]) if received.startswith(b"HTTP/1.1 ") else None


EXPECTED = [400, 401, 404, 405, 413, 415, 422]  # schemathesis' own list has no 413
CHECKS = f"[checks]\nnegative_data_rejection.expected-statuses = {EXPECTED}\n"


def schemathesis(program: Path, address: tuple[str, int], seed: int, folder: str) -> int:
    """The worst exit code of schemathesis, which prints what it finds and writes to `folder`."""
    (Path(folder) / "schemathesis.toml").write_text(CHECKS)
    host, port = address
    command = [program.absolute(), "run", f"http://{host}:{port}/openapi.json", "--no-color"]
    command += ["-H", f"Authorization: Bearer {TOKEN}", "--seed", seed, "--request-timeout", 120]
    # The description cannot say which bytes are a picture.
    command += ["--checks", "all", "--exclude-checks", "positive_data_acceptance"]
    reloads = "/v1/reload"  # each takes seconds
    runs = (("--exclude-path", reloads, "-n", 300), ("--include-path", reloads, "-n", 3))
    return max(
        subprocess.run(list(map(str, [*command, *one])), cwd=folder).returncode for one in runs
    )


def parse_options():
    parser = Parser("Send malformed requests to a service; show its answers and its speed after.")
    parser.add_argument("--model_dir", type=Path, required=True, help="folder of one model")
    parser.add_argument("--count", type=whole(1), default=1000, help="malformed requests")
    parser.add_argument("--seed", type=whole(0), default=0, help="seed of the random bytes")
    parser.add_argument(
        "--schemathesis", type=Path, help="this program, to use it too (default: do not)"
    )
    return parser.parse_args()


def main() -> int:
    options = parse_options()
    start_logging()
    import numpy as np
    from PIL import Image

    from inspection import Inspector

    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    good, inspector = file.getvalue(), Inspector.open(options.model_dir)
    picture = Picture(good, next(inspector.inspect([good])).score)
    category = inspector.record.category
    with (
        tempfile.TemporaryDirectory() as folder,
        Service(options.model_dir, Path(folder) / "log", *LIMITS) as service,
    ):
        load(service.address, category, [picture], 100, 1)
        before, memory = load(service.address, category, [picture], 200, 1), service.memory()
        statuses, start = Counter(), time.perf_counter()
        for content, _ in zip(
            malformed(options.seed, category, good), range(options.count), strict=False
        ):
            statuses[send(service.address, content)] += 1
        elapsed, code = time.perf_counter() - start, 0
        if options.schemathesis is not None:
            code = schemathesis(options.schemathesis, service.address, options.seed, folder)
        after = load(service.address, category, [picture], 200, 1)
        print(f"answers in {elapsed:.0f} s: {dict(statuses)} (None: closed without an answer)")
        for name, found in (("before", before), ("after", after)):
            print(
                f"good requests {name}: p50 {1000 * found.quantile(0.5):.1f} ms, {found.statuses}"
            )
        print(f"memory: {memory / 1e6:.0f} MB before, {service.memory() / 1e6:.0f} MB after")
    right = all(status is not None and 400 <= status < 500 for status in statuses)
    return 0 if right and not code and not after.wrong and after.statuses[200] == 200 else 1


if __name__ == "__main__":
    run(main)
