"""Parts of the service, without a process: bodies, batches, settings, reports."""

import asyncio
import socket
import sys
import threading
from multiprocessing import Pipe
from pathlib import Path
from types import SimpleNamespace

import pytest

from common.errors import WorkError
from service import memory
from service.batching import Batcher
from service.body import Budget, Part, pictures_in
from service.listening import listen, refuse
from service.networks import Networks
from service.refusals import RefusedRequestError
from service.settings import http_url
from service.webhook import signature

FORM = "multipart/form-data; boundary=XX"


def part(name: str, content: bytes, head: str = "") -> bytes:
    disposition = f'Content-Disposition: form-data; name="p"; filename="{name}"'
    return f"--XX\r\n{disposition}\r\n{head}\r\n".encode() + content + b"\r\n"


def test_pictures_of_a_form_come_out_as_they_went_in():
    contents = [b"", b"\r\n", b"\r\n--X", b"\r\n--XY--\r\n\r\n", bytes(range(256))]
    body = b"preamble\r\n" + b"".join(part("a b.png", c) for c in contents) + b"--XX--\r\nend"
    assert pictures_in(body, FORM, 6) == [Part("a b.png", content) for content in contents]
    typed = part("ü.png", b"1", "Content-Type: image/png\r\n") + b"--XX--"
    assert pictures_in(typed, f'{FORM[:-2]}"XX"; charset=utf-8', 1) == [Part("ü.png", b"1")]


def test_any_other_body_is_one_picture():
    for kind in ("image/png", "IMAGE/JPEG; q=1", "application/octet-stream", None):
        assert pictures_in(b"1", kind, 1) == [Part(None, b"1")]


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (413, part("a", b"1") * 3 + b"--XX--", FORM),
        (400, part("a", b"1"), FORM),
        (400, b"--XX--", FORM),
        (400, b"", FORM),
        (400, part("a", b"1") + b"--XX--", "multipart/form-data"),
        (400, b"--XX\r\nno end of the headers\r\n--XX--", FORM),
        (422, b"--XX\r\nContent-Disposition: form-data; name=p\r\n\r\n1\r\n--XX--", FORM),
        (415, b"1", "text/html"),
    ],
)
def test_wrong_bodies_are_refused(status, body, kind):
    with pytest.raises(RefusedRequestError) as refused:
        pictures_in(body, kind, 2)
    assert refused.value.status == status


def test_a_budget_is_given_back():
    budget = Budget(3)
    with budget.holding(2, "full"):
        with pytest.raises(RefusedRequestError, match="full"), budget.holding(2, "full"):
            pass
        assert budget.taken == 2
    assert budget.taken == 0 and budget.take(3) and not budget.take(1)


class Doubling:
    """In place of an inspector: judges numbers; a batch with `bad` fails."""

    batch_size = 3

    def __init__(self, bad: int | None = None):
        self.bad, self.batches, self.free = bad, [], threading.Event()

    def judge(self, numbers):
        self.free.wait(10)
        self.batches.append(numbers)
        if self.bad in numbers:
            raise ValueError("bad")
        return [2 * number for number in numbers]


def batched(inspector: Doubling, numbers, cancelled=()):
    """What a Batcher makes of `numbers`, all there before the first batch ends."""

    async def run():
        batcher = Batcher(inspector, 0.05, lambda size: None, lambda: None)
        tasks = [asyncio.ensure_future(batcher.judge(number)) for number in numbers]
        await asyncio.sleep(0)
        for place in cancelled:
            tasks[place].cancel()
        inspector.free.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        batcher.stop()
        assert batcher.join(10)
        return results

    return asyncio.run(run())


def test_pictures_are_judged_in_batches_and_in_order():
    inspector = Doubling()
    assert batched(inspector, range(8)) == [0, 2, 4, 6, 8, 10, 12, 14]
    assert sum(inspector.batches, []) == list(range(8))
    assert max(map(len, inspector.batches)) == 3 and len(inspector.batches) <= 4


def test_a_failed_batch_fails_its_own_pictures_and_the_next_go_on():
    results = batched(Doubling(bad=1), range(6))
    assert [type(result) for result in results] == [ValueError] * 3 + [int] * 3


def test_a_cancelled_picture_is_not_judged():
    inspector = Doubling()
    results = batched(inspector, range(6), cancelled=(4,))
    assert isinstance(results[4], asyncio.CancelledError)
    assert sum(inspector.batches, []) == [0, 1, 2, 3, 5]


def test_free_memory_is_given_back_again_and_again(monkeypatch):
    calls = []
    library = SimpleNamespace(malloc_trim=calls.append)
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: library)
    monkeypatch.setattr(memory, "TRIM_SECONDS", 0.001)

    async def run():
        task = asyncio.ensure_future(memory.trim_often())
        while len(calls) < 3:
            await asyncio.sleep(0.001)
        task.cancel()

    asyncio.run(asyncio.wait_for(run(), 10))
    assert set(calls) == {0}


class Process:
    killed = False

    def kill(self):
        self.killed = True

    def join(self, seconds):
        assert self.killed


def test_networks_that_do_not_answer_are_ended():
    networks = Networks([(Path("m"), SimpleNamespace(size=(8, 8)))], None, 1)
    networks._connection, other = Pipe()
    networks._process = Process()
    with pytest.raises(WorkError, match="did not answer for 0 s"):
        networks._answer(0.01)
    assert networks._process.killed
    other.close()


@pytest.mark.parametrize("text", ["", "ftp://a/", "http://", "http:///a", "http://a:99999/", "a b"])
def test_a_webhook_needs_an_address_of_http(text):
    with pytest.raises(ValueError, match="http"):
        http_url(text)


def test_signatures_are_hmac_sha256():
    # Computed with: printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac key
    expected = "a438e398bfafc57e4396bb7fc2304422f0f768e965d073ca313cb52e22e6ad03"
    assert signature(b"key", "1700000000", b'{"a":1}') == expected
    assert signature(b"key", "1700000001", b'{"a":1}') != expected


@pytest.mark.skipif(sys.platform != "linux", reason="needs the filters of Linux")
def test_a_stop_refuses_new_connections_and_keeps_those_that_wait():
    with listen("127.0.0.1", 0) as listening:
        listening.listen(5)
        with socket.create_connection(listening.getsockname(), 5) as waiting:
            refuse(listening)
            with pytest.raises(TimeoutError):
                socket.create_connection(listening.getsockname(), 0.2)
            accepted, _ = listening.accept()
            waiting.sendall(b"request")
            assert accepted.recv(7) == b"request"
            accepted.close()
