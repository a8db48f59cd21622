"""Malformed requests and slow clients: refusals only, and no harm to the others."""

import os
import socket
import time
from collections import Counter
from itertools import islice

import pytest

from benchmarks.http_clients import TOKEN, Picture, Service, load
from benchmarks.malformed import LIMITS, MAX_BODY, malformed, send
from inspection import Inspector

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def service(exported, tmp_path_factory):
    log = tmp_path_factory.mktemp("service") / "log"
    with Service(exported, log, *LIMITS, "--timeout", 1, "--max_connections", 20) as found:
        yield found


@pytest.fixture(scope="module")
def picture(exported, demo):
    content = (demo / "flange/test/good/000.png").read_bytes()
    return Picture(content, next(Inspector.open(exported).inspect([content])).score)


def test_malformed_requests_are_refused_and_do_no_harm(service, picture):
    count = int(os.environ.get("MALFORMED", 150))
    memory = service.memory()
    statuses = Counter(
        send(service.address, content)
        for content in islice(malformed(0, "flange", picture.content), count)
    )
    answered = {status for status in statuses if status is not None}
    assert answered and all(400 <= status < 500 for status in answered), statuses
    assert statuses[None] == 0
    after = load(service.address, "flange", [picture], 20, 4)
    assert (after.statuses[200], after.wrong, after.lost) == (20, 0, 0)
    assert service.memory() < memory + 2e8
    assert "Traceback" not in service.log.read_text()


@pytest.mark.parametrize("begin", [b"", b"POST /v1/fla", b"POST / HTTP/1.1\r\nHost: x\r\nA: "])
def test_a_slow_head_ends_the_connection(service, begin):
    with socket.create_connection(service.address, 10) as connection:
        connection.sendall(begin)
        start = time.monotonic()
        assert connection.recv(1000).startswith(b"HTTP/1.1 408 " if begin else b"")
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1000) == b""
        assert time.monotonic() - start < 5


def head(length: int | None, token: str = TOKEN, kind: str = "image/png") -> bytes:
    size = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    lines = "Host: x", f"Authorization: Bearer {token}", f"Content-Type: {kind}", size
    return "\r\n".join(("POST /v1/flange/inspect HTTP/1.1", *lines, "", "")).encode()


LONG = 2**24  # bytes, more than all buffers between client and service hold


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (413, head(LONG) + bytes(LONG)),
        (413, head(None) + (b"%x\r\n" % 2**20 + bytes(2**20) + b"\r\n") * 16 + b"0\r\n\r\n"),
        (401, head(LONG, "wrong") + bytes(LONG)),
        (400, head(None) + b"no length\r\n" + bytes(LONG)),
        (400, bytes(LONG)),
    ],
)
def test_a_client_that_sends_everything_first_gets_its_refusal(service, status, content):
    with socket.create_connection(service.address, 10) as connection:
        connection.sendall(content)
        assert connection.recv(1000).startswith(b"HTTP/1.1 %d " % status)


def test_bodies_that_are_only_announced_shut_nobody_out(service, picture):
    waiting = [socket.create_connection(service.address, 10) for _ in range(8)]
    try:
        for connection in waiting:
            connection.sendall(head(MAX_BODY))
        assert load(service.address, "flange", [picture], 4, 2).statuses == {200: 4}
    finally:
        for connection in waiting:
            connection.close()


def test_a_body_that_ends_too_early_is_answered(service):
    with socket.create_connection(service.address, 10) as connection:
        connection.sendall(head(1000) + bytes(10))
        connection.shutdown(socket.SHUT_WR)
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 400 ") and answer.count(b"HTTP/1.1 ") == 1


def test_who_sends_on_after_a_refusal_is_cut_off(service):
    start = time.monotonic()
    with socket.create_connection(service.address, 10) as connection:
        connection.sendall(head(2**40))
        assert connection.recv(1000).startswith(b"HTTP/1.1 413 ")
        with pytest.raises(ConnectionError):
            while True:
                connection.sendall(bytes(1000))
                time.sleep(0.01)
    assert time.monotonic() - start < 5


def test_who_reads_no_answer_is_cut_off(service):
    start = time.monotonic()
    with (
        socket.create_connection(service.address, 10) as connection,
        pytest.raises(ConnectionError),
    ):
        while True:  # /docs.js has 1.4 MB
            connection.sendall(b"GET /docs.js HTTP/1.1\r\nHost: x\r\n\r\n")
    assert time.monotonic() - start < 8


def test_a_slow_body_is_answered_with_408(service):
    with socket.create_connection(service.address, 10) as connection:
        head = "POST /v1/flange/inspect HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n"
        head += f"Content-Type: image/png\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        connection.sendall(head.encode() + b"\x89PNG")
        assert connection.recv(1000).startswith(b"HTTP/1.1 408 ")


def test_too_many_connections_get_503_and_the_others_go_on(service, picture):
    idle = [socket.create_connection(service.address, 10) for _ in range(20)]
    try:
        with socket.create_connection(service.address, 10) as connection:
            connection.sendall(head(LONG) + bytes(LONG))
            answer = connection.recv(1000)
        assert answer.startswith(b"HTTP/1.1 503 ") and b"Retry-After: " in answer
    finally:
        for connection in idle:
            connection.close()
    time.sleep(0.2)
    assert load(service.address, "flange", [picture], 4, 2).statuses == {200: 4}


def test_a_full_queue_is_503_with_retry_after(exported, picture, tmp_path):
    options = ("--max_queue", 1, "--max_pictures", 1, "--batch_window", 200)
    with Service(exported, tmp_path / "log", *options) as service:
        found = load(service.address, "flange", [picture], 40, 8)
    assert found.statuses[503] > 0 and found.statuses[200] > 0
    assert set(found.statuses) == {200, 503} and not found.wrong and not found.lost


def test_what_is_not_judged_in_time_is_504(exported, picture, tmp_path):
    options = ("--batch_window", 5000, "--timeout", 0.5)
    with Service(exported, tmp_path / "log", *options) as service:
        assert load(service.address, "flange", [picture], 2, 2).statuses == {504: 2}
