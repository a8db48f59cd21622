"""serve.py as a process: what it answers, and what it refuses."""

import base64
import io
import json
import re
import shutil
import socket
import subprocess
import time

import numpy as np
import pytest
from PIL import Image

from benchmarks.http_clients import ROOT, TOKEN, Service
from common.score_log import read
from inspection import Inspector
from models.engine import Engine
from tests.conftest import rows
from tests.service_calls import ask, form, inspect, refused
from tests.test_readme_code import shown

pytestmark = pytest.mark.process
LIMITS = ("--max_body", 2**20, "--max_pictures", 5, "--max_pixels", 10**5)


@pytest.fixture(scope="module")
def service(exported, tmp_path_factory):
    log = tmp_path_factory.mktemp("service") / "log"
    with Service(exported, log, *LIMITS, "--stats", log.with_name("scores")) as found:
        yield found


@pytest.fixture(scope="module")
def inspector(exported):
    return Inspector.open(exported, Engine(device="cpu"))


@pytest.fixture(scope="module")
def rust(demo):
    return (demo / "flange/test/rust/000.png").read_bytes()


@pytest.fixture(scope="module")
def worst(demo, inspector):
    """The picture with the highest score; the small model calls few pictures defective."""
    contents = [path.read_bytes() for path in (demo / "flange/test").rglob("*.png")]
    return max(inspector.inspect(contents), key=lambda found: found.score).source


def test_scores_are_those_of_the_scripts(service, exported, trained, demo):
    folder = demo / "flange" / "test"
    paths = sorted(folder.rglob("*.png"))
    found = []
    for path in paths:
        found += inspect(service, path.read_bytes())["pictures"]
    for script, *options in (
        ("predict", "--picture_path", folder, "--model_path", trained / "flange"),
        ("infer", "-i", folder, "--model_dir", exported),
    ):
        told = rows(script, *options, "--save_picture", "False")
        assert [row["path"] for row in told] == list(map(str, paths))
        for row, picture in zip(told, found, strict=True):
            for key in ("score", "p_value", "normalised"):
                assert picture[key] == pytest.approx(row[key], rel=1e-4, abs=1e-6)
            assert picture["verdict"] == row["verdict"]
            assert [r["box"] for r in picture["regions"]] == [r["box"] for r in row["regions"]]


def test_several_pictures_are_answered_in_their_order(service, demo):
    paths = [
        demo / "flange/test" / name for name in ("rust/000.png", "good/000.png", "chip/001.png")
    ]
    contents = [(f"{i} ü.png", path.read_bytes()) for i, path in enumerate(paths)]
    body, kind = form(*contents)
    found = inspect(service, body, kind=kind)["pictures"]
    assert [picture["name"] for picture in found] == [name for name, _ in contents]
    alone = [inspect(service, content)["pictures"][0]["score"] for _, content in contents]
    assert [picture["score"] for picture in found] == pytest.approx(alone, rel=1e-5)
    assert [(p["width"], p["height"]) for p in found] == [(96, 96)] * 3


def test_a_request_chooses_its_false_alarm_rate_and_smallest_region(service, inspector, worst):
    plain, strict = inspect(service, worst), inspect(service, worst, "?fpr=0.5")
    assert (plain["fpr"], plain["extrapolated"]) == (0.01, True)
    expected = inspector.record.calibration.rule(0.5, "fpr")
    assert (strict["threshold"], strict["fpr"]) == (expected.threshold, 0.5)
    picture = strict["pictures"][0]
    assert picture["verdict"] == "defective"
    assert picture["normalised"] == pytest.approx(expected.normalised(picture["score"]))
    area = picture["regions"][0]["area"]
    assert inspect(service, worst, f"?fpr=0.5&min_area={area + 1}")["pictures"][0]["regions"] == []


def test_map_and_mask_are_those_of_the_inspector(service, inspector, worst):
    expected = next(inspector.inspect([worst])).under(
        inspector.record.calibration.rule(0.5, "fpr"), inspector.record.unit
    )
    raw = inspect(service, worst, "?map=npy&mask=true&fpr=0.5")["pictures"][0]
    found = np.load(io.BytesIO(base64.b64decode(raw["map"])))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected.map, rtol=1e-4)
    mask = np.asarray(Image.open(io.BytesIO(base64.b64decode(raw["mask"]))))
    assert mask.any() and (mask == expected.mask).all()
    drawn = inspect(service, worst, "?map=png&fpr=0.5")["pictures"][0]
    colours = np.asarray(Image.open(io.BytesIO(base64.b64decode(drawn["map"]))))
    assert np.abs(colours.astype(int) - expected.heat_map).max() <= 2
    assert "mask" not in drawn and "map" not in inspect(service, worst)["pictures"][0]


def test_wrong_requests_are_refused_with_a_reason(service, rust):
    large = io.BytesIO()
    Image.new("L", (400, 300)).save(large, "PNG")
    many, kind = form(*[("a.png", rust)] * 6)
    field = b'--XX\r\nContent-Disposition: form-data; name="fpr"\r\n\r\n1\r\n--XX--'
    for status, body, words, settings in (
        (400, b"", "empty", {}),
        (401, rust, "Authorization", {"token": None}),
        (401, rust, "Authorization", {"token": TOKEN[:-1]}),
        (404, rust, "no such address", {"path": "/v1/..%2f..%2fetc/inspect"}),
        (404, rust, "no such category", {"path": "/v1/weave/inspect"}),
        (405, None, "not allowed", {}),
        (413, bytes(2**20 + 1), "1048576 bytes", {}),
        (413, [bytes(2**19)] * 3, "1048576 bytes", {}),
        (413, many, "5 pictures", {"kind": kind}),
        (413, large.getvalue(), "picture 1: 400×300 pixels", {}),
        (415, rust, "Content-Type", {"kind": "text/plain"}),
        (422, rust[:3000], "picture 1: does not decode", {}),
        (422, b"GIF89a" + rust, "picture 1: not a PNG", {}),
        (422, rust, "fpr: ", {"path": "/v1/flange/inspect?fpr=0.6"}),
        (422, rust, "fpr: ", {"path": "/v1/flange/inspect?fpr=5e-324"}),
        (422, rust, "map: ", {"path": "/v1/flange/inspect?map=gif"}),
        (422, rust, "size: unknown", {"path": "/v1/flange/inspect?size=3"}),
        (422, field, "not a file", {"kind": kind}),
        (431, rust, "head", {"X-Long": "x" * 20000}),
    ):  # fmt: skip
        refused(service, status, body, words, **settings)
    assert refused(service, 405, None, "not allowed")["Allow"] == "POST"


def test_a_bad_picture_fails_its_own_request_only_and_is_named(service, rust):
    body, kind = form(("a.png", rust), ("b\x07.png", b"no picture"))
    refused(service, 422, body, "picture 2 (b\x07.png): not a PNG", kind=kind)
    assert inspect(service, rust)["pictures"][0]["verdict"] != "unknown"


def test_a_body_needs_a_length(service):
    with socket.create_connection(service.address) as connection:
        connection.sendall(
            b"POST /v1/flange/inspect HTTP/1.1\r\nHost: x\r\n"
            + f"Authorization: Bearer {TOKEN}\r\n\r\n".encode()
        )
        assert connection.recv(1000).startswith(b"HTTP/1.1 411 ")


def test_state_is_open_and_the_rest_needs_the_token(service):
    for path, word in (("/healthz", b"alive"), ("/readyz", b"ready"), ("/docs", b"swagger")):
        status, content, headers = ask(service, path, token=None)
        assert status == 200 and word in content
        assert headers["X-Content-Type-Options"] == "nosniff"
    for path in ("/v1/models", "/metrics"):
        headers = refused(service, 401, None, "token", path=path, token=None)
        assert headers["WWW-Authenticate"] == "Bearer"


def test_models_are_listed(service, inspector):
    listed = json.loads(ask(service, "/v1/models")[1])["models"]
    assert [model["category"] for model in listed] == ["flange"]
    assert listed[0]["threshold"] == inspector.threshold
    assert listed[0]["smallest_fpr"] == pytest.approx(1 / 9)
    assert listed[0]["size"] == [64, 64]


def counted(service, line: str) -> float:
    found = re.search(rf"^{re.escape(line)} (\S+)$", ask(service, "/metrics")[1].decode(), re.M)
    return float(found[1]) if found else 0.0


def test_requests_verdicts_and_scores_are_counted(service, rust):
    names = [
        'requests_total{code="200",method="POST",path="/v1/{category}/inspect"}',
        'requests_total{code="404",method="other",path="other"}',
        'inspect_seconds_count{category="flange"}',
        'normalised_score_count{category="flange"}',
        'batch_pictures_sum{category="flange"}',
    ]
    before = [counted(service, name) for name in names]
    inspect(service, rust)
    with socket.create_connection(service.address) as connection:
        head = f"BREW /{'x' * 50} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 404 ")
    after = [counted(service, name) for name in names]
    assert [b - a for a, b in zip(before, after, strict=True)] == [1] * 5
    assert counted(service, "queue_pictures") == 0


def test_answers_are_in_the_file_of_scores(service, rust):
    path, name = service.log.with_name("scores"), f"{time.monotonic()} ü.png"
    body, kind = form((name, rust))
    told = inspect(service, body, kind=kind)["pictures"][0]
    end = time.monotonic() + 10
    while not (found := [one for one in read(path).pictures if one.path == name]):
        assert time.monotonic() < end  # the line comes after the answer
    assert (found[0].score, found[0].p_value) == (told["score"], told["p_value"])
    assert counted(service, 'stats_pictures_total{result="written"}') >= 1


def test_the_description_has_examples_that_work(service, rust):
    found = json.loads(ask(service, "/openapi.json", token=None)[1])
    body, kind = form(("a.png", rust))
    done = set()
    for path, operations in found["paths"].items():
        for method, operation in operations.items():
            query = []
            for parameter in operation.get("parameters", []):
                examples = parameter["schema"].get("examples", [parameter["schema"].get("default")])
                if parameter["in"] == "query":
                    query.append(f"{parameter['name']}={str(examples[0]).lower()}")
            if path == "/v1/reload":
                continue  # tests/test_service_stop.py
            address = path.replace("{category}", "flange") + ("?" + "&".join(query)) * bool(query)
            content = body if method == "post" else None
            assert ask(service, address, content, kind)[0] == 200, address
            done.add(path)
    assert "/v1/{category}/inspect" in done and "/metrics" in done
    assert "flange" not in json.dumps(found)  # everyone may read it, whatever the token


def test_the_clients_in_the_readmes_run(service, rust, tmp_path, monkeypatch, capsys):
    def here(text):
        address = "http://{}:{}/v1/flange/".format(*service.address)
        assert "http://127.0.0.1:8000/v1/screw/" in text
        return text.replace("http://127.0.0.1:8000/v1/screw/", address)

    (tmp_path / "a.png").write_bytes(rust)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SERVE_TOKEN", TOKEN)
    expected = inspect(service, rust)["pictures"][0]
    (code,) = shown(client=True)  # both languages show the same
    exec(compile(here(code), "README", "exec"), {})
    verdict, score, _ = capsys.readouterr().out.split(maxsplit=2)
    assert (verdict, float(score)) == (expected["verdict"], expected["score"])
    if shutil.which("curl") is None:
        return
    for readme in ("README.md", "README_cn.md"):
        (command,) = re.findall(r"```bash\n(curl .*?)```", (ROOT / readme).read_text(), re.DOTALL)
        told = subprocess.run(["sh", "-c", here(command)], capture_output=True, check=True).stdout
        assert json.loads(told)["pictures"][0]["score"] == expected["score"]


def test_the_page_of_the_description_loads_nothing_from_elsewhere(service):
    page = ask(service, "/docs", token=None)[1].decode()
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert sorted(loaded) == ["/docs.css", "/docs.js", "data:,"]
    for path in ("/docs.css", "/docs.js"):
        assert ask(service, path, token=None)[0] == 200


def test_the_log_has_one_printable_line_per_request(service, rust):
    body, kind = form(("\x1b[31m.png", rust))
    ask(service, "/first")  # a line of the test before may come late, but before this one
    inspect(service, body, kind=kind)
    ask(service, "/v1/a%0Ab%1B/inspect", rust)
    ask(service, "/last")
    end = time.monotonic() + 10
    while " /last " not in (text := service.log.read_text()):
        assert time.monotonic() < end  # the line comes after the answer
    lines = text[text.index(" /first ") : text.index(" /last ")].splitlines()[1:]
    assert len(lines) == 3
    assert all(line.isprintable() for line in lines), lines
    assert re.fullmatch(r"127\.0\.0\.1 POST /v1/flange/inspect 200 \d+ ms, pictures: 1", lines[0])
