"""Stop, reload and reports of serve.py."""

import json
import os
import re
import shutil
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from benchmarks.http_clients import ROOT, Picture, Service, load, post
from inspection import Inspector
from service.webhook import signature
from tests.conftest import call, fails

pytestmark = pytest.mark.process
RELOADS = int(os.environ.get("RELOADS", 2))


@pytest.fixture(scope="module")
def pictures(exported, demo):
    contents = [path.read_bytes() for path in sorted((demo / "flange/test").rglob("*.png"))]
    judged = Inspector.open(exported).inspect(contents)
    return [Picture(found.source, found.score) for found in judged]


def background(function, *arguments, **settings):
    """Run a function in a thread; returns a function that waits for its result."""
    results = []
    thread = threading.Thread(target=lambda: results.append(function(*arguments, **settings)))
    thread.start()

    def wait():
        thread.join()
        return results[0]

    return wait


def test_sigterm_answers_what_was_accepted(exported, pictures, tmp_path):
    with Service(exported, tmp_path / "log") as service:

        def after(number: int) -> None:
            if number == 60:
                service.process.send_signal(signal.SIGTERM)

        found = load(service.address, "flange", pictures, 100_000, 16, after=after)
        assert service.process.wait(60) == 0
    assert found.statuses[200] >= 60 - 16 and set(found.statuses) == {200}, found.errors
    assert (found.lost, found.wrong) == (0, 0), found.errors
    assert found.refused > 0
    assert "every accepted request was answered" in service.log.read_text()


def test_reloads_under_load_lose_no_request(exported, pictures, tmp_path):
    models = tmp_path / "models"
    shutil.copytree(exported, models / "flange")
    with Service(models, tmp_path / "log") as service:
        stop, sent = threading.Event(), []

        def fire():
            while not stop.is_set():
                sent.append(load(service.address, "flange", pictures, 100, 8))

        wait = background(fire)
        for _ in range(RELOADS):
            assert post(service.address, "/v1/reload") == 200
        service.process.send_signal(signal.SIGHUP)
        end = time.monotonic() + 60
        while service.log.read_text().count("reloaded: flange") <= RELOADS:
            assert time.monotonic() < end
            time.sleep(0.1)
        (models / "flange" / "distribution").write_bytes(b"damaged")
        assert post(service.address, "/v1/reload") == 409
        stop.set()
        wait()
        assert {status for found in sent for status in found.statuses} == {200}
        assert not any(found.lost or found.wrong for found in sent)
        assert "the former models stay" in service.log.read_text()
        end = time.monotonic() + 20  # networks of former models end
        while len(service.processes()) > 3:
            assert time.monotonic() < end, service.processes()
            time.sleep(0.1)


def test_a_crash_of_the_networks_is_said_and_mended(exported, pictures, tmp_path):
    with Service(exported, tmp_path / "log") as service:
        before = service.processes()
        assert load(service.address, "flange", pictures[:1], 1, 1).statuses == {200: 1}
        largest = max(before, key=service.resident)
        os.kill(largest, signal.SIGKILL)
        time.sleep(0.3)
        found = load(service.address, "flange", pictures, 20, 1)
        assert found.statuses[200] >= 19 and set(found.statuses) <= {200, 500}


class Receiver(BaseHTTPRequestHandler):
    received: list

    def do_POST(self):  # noqa: N802 - its name
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.received.append((dict(self.headers), body))
        self.send_response(503 if len(self.received) == 1 else 204)
        self.end_headers()

    def log_message(self, *_):
        pass


def test_defective_pictures_are_reported_with_a_signature(exported, pictures, tmp_path):
    secret = "a secret of this test".replace(" ", "-")
    (tmp_path / "secret").write_text(secret + "\n")
    handler = type("Handler", (Receiver,), {"received": []})
    receiver = HTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    options = ("--webhook_url", f"http://127.0.0.1:{receiver.server_port}/defects", "--fpr", 0.5)
    options += ("--webhook_secret_file", tmp_path / "secret")
    with Service(exported, tmp_path / "log", *options) as service:
        load(service.address, "flange", pictures, len(pictures), 1)
        service.process.terminate()
        assert service.process.wait(30) == 0
    receiver.shutdown()
    rule = Inspector.open(exported, fpr=0.5).rule
    defective = [picture.score for picture in pictures if picture.score >= rule.threshold]
    bodies = [json.loads(body) for _, body in handler.received[1:]]  # the first was not accepted
    assert defective and [body["score"] for body in bodies] == pytest.approx(defective, rel=1e-4)
    document = (ROOT / "docs/service.md").read_text(encoding="utf-8")
    receiving = {}
    exec(re.search(r"```python\n(.*?)```", document, re.DOTALL)[1], receiving)
    for headers, body in handler.received:
        expected = signature(secret.encode(), headers["X-Timestamp"], body)
        assert headers["X-Signature"] == f"sha256={expected}"
        assert receiving["is_genuine"](secret.encode(), headers, body)
        assert not receiving["is_genuine"](secret.encode(), headers, body + b" ")
    assert bodies[0]["category"] == "flange" and bodies[0]["regions"]


def test_wrong_options_are_said_at_once(exported, trained, tmp_path, monkeypatch):
    monkeypatch.delenv("SERVE_TOKEN", raising=False)
    (tmp_path / "short").write_text("short")
    url = ("--webhook_url", "http://localhost/")
    for options, words in (
        (("--model_dir", tmp_path / "none"), ("--model_dir", "none")),
        (("--model_dir", tmp_path), ("--model_dir", "neither a model nor")),
        (("--model_dir", exported, "--max_queue", 1), ("--max_queue", "32")),
        (("--model_dir", exported, "--token_file", tmp_path / "none"), ("--token_file", "none")),
        (("--model_dir", exported, "--token_file", tmp_path / "short"), ("--token_file", "16 to")),
        (("--model_dir", exported, *url), ("--webhook_url", "--webhook_secret_file")),
        (("--model_dir", exported, "--webhook_url", "file:///etc/passwd"), ("http",)),
        (("--model_dir", exported, "--host", "256.0.0.1"), ("--host", "256.0.0.1")),
    ):
        fails(call("serve", *options), 2, *words)
    both = tmp_path / "both"
    shutil.copytree(exported, both / "one")
    shutil.copytree(exported, both / "two")
    fails(call("serve", "--model_dir", both, "--port", 0), 2, "--model_dir", "category flange")
    (both / "two" / "model.pdiparams").write_bytes(b"damaged")
    fails(call("serve", "--model_dir", both / "two", "--port", 0), 1, "model.pdiparams")
