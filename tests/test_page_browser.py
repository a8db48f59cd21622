"""The page in headless Chromium: the way of a visitor from upload to download."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile
from pathlib import Path

import pytest

from tests.html_results import browser as installed_browser

playwright = pytest.importorskip(
    "playwright.sync_api", reason="pip install -r requirements-dev.txt"
)
pytest.importorskip("streamlit", reason="pip install -r requirements-app.txt")
pytestmark = pytest.mark.process
ROOT = Path(__file__).resolve().parent.parent
SECONDS = 60
FAKE_CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture(scope="module")
def temporary(tmp_path_factory) -> Path:
    """The folder that the server uses for temporary files."""
    return tmp_path_factory.mktemp("temporary")


@pytest.fixture(scope="module")
def server(temporary, demo):
    """The process of the page, and its address."""
    port = free_port()
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)]
    command += ["--server.disconnectedSessionTTL", "1", "--", "--data_root", str(demo)]
    place = {**os.environ, "TMPDIR": str(temporary)}
    with (temporary / "log.txt").open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=place, stdout=log, stderr=log)
        address = f"http://127.0.0.1:{port}"
        wait(lambda: answers(f"{address}/_stcore/health"))
        yield process, address
        process.kill()
        process.wait()


def answers(address: str) -> bool:
    try:
        return urllib.request.urlopen(address, timeout=1).status == 200
    except OSError:
        return False


def wait(condition, seconds: float = SECONDS) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def chromium():
    path = installed_browser()
    with playwright.sync_playwright() as found:
        launched = found.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu", *FAKE_CAMERA]
        )
        yield launched
        launched.close()


@pytest.fixture
def page(chromium, server):
    """A new visitor's page; it may load nothing from elsewhere."""
    context = chromium.new_context(viewport={"width": 1440, "height": 1000}, locale="en-US")
    context.set_default_timeout(1000 * SECONDS)
    found, foreign = context.new_page(), []
    local = ("http://127.0.0.1", "data:", "blob:")
    found.on("request", lambda r: None if r.url.startswith(local) else foreign.append(r.url))
    found.goto(server[1])
    yield found
    context.close()
    assert foreign == []


def upload(page, good: list[Path], test: list[Path]) -> None:
    page.get_by_text("Upload", exact=True).first.click()
    fields = page.locator("input[type=file]")
    fields.nth(0).set_input_files(good)
    page.get_by_text(f"{len(good)} good pictures to learn from, 0 ").wait_for()
    fields.nth(1).set_input_files(test)
    page.get_by_text(f"{len(good)} good pictures to learn from, {len(test)} ").wait_for()


def small(page) -> None:
    """The small embedded network and small pictures, so that tests are fast."""
    page.get_by_text("Advanced", exact=True).click()
    for name in ("resize", "img_size"):
        page.get_by_label(name, exact=True).fill("64")
        page.keyboard.press("Enter")
    choose(page, "Network", "resnet18")
    choose(page, "pretrained_backbone", "embedded")


def press(page, name: str) -> None:
    """Press a button until it is gone: a page that is just being made again may miss a click."""
    button = page.get_by_role("button", name=name)

    def gone() -> bool:
        try:
            button.click(timeout=3000)
            button.wait_for(state="hidden", timeout=3000)
        except playwright.TimeoutError:
            return not button.is_visible()
        return True

    button.wait_for()
    wait(gone)


def choose(page, label: str, value: str) -> None:
    """Choose from a list; when the page changes meanwhile, the list closes, so try again."""
    field = page.get_by_role("combobox", name=label)
    option = page.get_by_role("option", name=value, exact=True)

    def chosen() -> bool:
        try:
            field.click()
            page.keyboard.type(value)  # the list has only the options that are visible
            option.click(timeout=3000)
            playwright.expect(field).to_have_value(value, timeout=3000)
        except (playwright.TimeoutError, AssertionError):
            page.keyboard.press("Escape")
            return False
        return True

    wait(chosen)


def value(page, name: str) -> str:
    metric = page.get_by_test_id("stMetric").filter(has_text=name)
    return metric.get_by_test_id("stMetricValue").inner_text()


def test_the_first_page_is_there_within_three_seconds(page, server):
    page.get_by_role("button", name="Learn and test").wait_for()
    start = time.perf_counter()
    page.goto(server[1])
    page.get_by_role("heading", name="PaDiM-Paddle").wait_for()
    assert time.perf_counter() - start < 3 * 3  # of the 3 s; other tests run at the same time


def test_upload_fit_look_leave_out_and_download(page, demo, tmp_path, temporary):
    flange = demo / "flange"
    good = sorted((flange / "train/good").glob("*.png"))
    test = sorted((flange / "test").glob("[cr]*/*.png"))
    page.get_by_role("button", name="Learn and test").wait_for()
    upload(page, good, test)
    small(page)
    press(page, "Learn and test")
    # Open a result, and go back.
    page.locator("button.open").first.click()
    page.get_by_text("Outline at full resolution").wait_for()
    page.get_by_role("button", name="All pictures").click()
    # Move the slider: verdicts follow.
    before = int(value(page, "Called defective"))
    slider = page.get_by_role("slider", name="False-alarm rate")
    slider.press("End")
    page.get_by_text(re.compile("at most 50 %")).wait_for()
    marks = page.locator(".mark.defective")
    wait(lambda: before < marks.count() == int(value(page, "Called defective")))
    # Leave out a training picture, and learn again.
    page.get_by_text("Training", exact=True).click()
    playwright.expect(page.locator(".tile")).to_have_count(8)
    left_out = page.locator(".tile .name").first.inner_text()
    page.locator("button.act").first.click()
    press(page, "Learn again (left out: 1)")
    page.get_by_text("Pictures", exact=True).first.wait_for()
    page.get_by_text("Training", exact=True).click()
    playwright.expect(page.locator(".tile")).to_have_count(7)
    page.get_by_text(f"{left_out}: ").wait_for()
    # Download the pictures.
    page.get_by_text("Downloads", exact=True).click()
    page.get_by_test_id("stVerticalBlock").get_by_role("button", name="Prepare").nth(2).click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download custom_pictures.zip").click()
    download.value.save_as(tmp_path / "pictures.zip")
    with zipfile.ZipFile(tmp_path / "pictures.zip") as archive:
        assert "scores.csv" in archive.namelist() and len(archive.namelist()) == 2 * len(test) + 1
    assert page.get_by_test_id("stException").count() == 0


def test_a_region_is_drawn(page):
    page.get_by_text("Region of interest", exact=True).click()
    canvas = page.locator("canvas")
    canvas.wait_for()
    page.wait_for_function("document.querySelector('.stApp') !== null")
    playwright.expect(canvas).not_to_have_attribute("width", "300")  # until the picture is there
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    for name, share in (("Rectangle", "25"), ("Freehand", "")):
        page.get_by_role("button", name=name).click()
        page.mouse.move(box["x"] + 2, box["y"] + 2)
        page.mouse.down()
        for x, y in ((0.3, 0.01), (0.5, 0.5), (0.5, 0.5)):
            page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
        page.mouse.up()
        page.get_by_text(re.compile(f"The region has {share}")).wait_for()
    page.get_by_role("button", name="Clear").click()
    playwright.expect(page.get_by_text("The region has")).to_have_count(0)


def test_the_camera_and_a_narrow_screen(page, demo):
    page.set_viewport_size({"width": 390, "height": 844})
    page.get_by_text("Folder", exact=True).click()
    page.get_by_text("8 good pictures to learn from, 12 pictures").wait_for()
    small(page)
    press(page, "Learn and test")
    page.locator("button.open").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.get_by_text("Camera", exact=True).click()
    heading = page.get_by_role("heading", name="camera.jpg")

    def judged() -> bool:
        """Press the button, which does nothing before the camera has started."""
        try:
            page.get_by_role("button", name="Take Photo").click(timeout=3000)
            heading.wait_for(timeout=3000)
        except playwright.TimeoutError:
            return heading.is_visible()
        return True

    wait(judged)


def test_what_a_visitor_uploaded_ends_with_the_session(chromium, server, demo, temporary):
    def kept() -> list[Path]:
        return sorted(temporary.glob("visitor-*/upload/train/good/*.png"))

    wait(lambda: not kept())  # of the visitors before
    context = chromium.new_context(locale="en-US")
    context.set_default_timeout(1000 * SECONDS)
    visitor = context.new_page()
    visitor.goto(server[1])
    upload(visitor, sorted((demo / "weave/train/good").glob("*.png"))[:4], [])
    assert len(kept()) == 4
    context.close()
    wait(lambda: not kept())


def test_termination_ends_the_server_and_deletes_its_files(chromium, server, temporary):
    process, address = server
    context = chromium.new_context(locale="en-US")
    context.new_page().goto(address)
    wait(lambda: list(temporary.glob("visitor-*")))
    process.send_signal(signal.SIGTERM)
    assert process.wait(SECONDS) == 0
    context.close()
    assert list(temporary.glob("visitor-*")) == []
    assert "FatalError" not in (temporary / "log.txt").read_text()
