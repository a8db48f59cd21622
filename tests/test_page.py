"""The page without a browser: sections, choices, errors, sessions."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from common.calibration import Calibration
from datasets.mvtec import open_category
from models.checkpoint import load_record
from page import learning
from page.learning import learn
from page.limits import MOST_TEST, MOST_TRAIN
from tests.test_page_learning import SMALL

testing = pytest.importorskip("streamlit.testing.v1", reason="pip install -r requirements-app.txt")
ROOT = Path(__file__).resolve().parent.parent
SECONDS = 60


@pytest.fixture(scope="module")
def category(demo):
    return open_category(demo, "flange")


@pytest.fixture(scope="module")
def learned(category):
    return learn(category, SMALL)


@pytest.fixture
def model(learned):
    """A copy, as tests judge more pictures with it."""
    return replace(learned, tested=list(learned.tested), skipped=list(learned.skipped))


@pytest.fixture
def page(monkeypatch, tmp_path):
    """The page as a new visitor sees it."""
    monkeypatch.setattr(sys, "argv", ["app.py", "--demo_path", str(tmp_path)])
    found = testing.AppTest.from_file(str(ROOT / "app.py"), default_timeout=SECONDS).run()
    clean(found)
    return found


def clean(page):
    """No error is on the page."""
    assert not page.exception and not page.error, [e.value for e in (*page.exception, *page.error)]


def visitor(page):
    return page.session_state["visitor"]


def finished(page):
    """The page when its work has ended."""
    work = visitor(page).work
    assert work is None or work.join(SECONDS)
    return page.run()


def shown(page, model, section: str):
    """A section of the page that shows this model."""
    visitor(page).take(model)
    visitor(page).section = section
    return page.run()


def uploaded(folder: Path) -> list[tuple]:
    return [(path.name, path.read_bytes(), "image/png") for path in sorted(folder.glob("*.png"))]


def test_the_first_page_needs_no_paddle(tmp_path):
    code = (
        "import sys, time; from streamlit.testing.v1 import AppTest; start = time.time()\n"
        "found = AppTest.from_file('app.py').run(timeout=30)\n"
        "assert found.title[0].value and not found.exception and not found.error\n"
        "heavy = {'paddle', 'matplotlib', 'sklearn', 'altair', 'pandas'} & set(sys.modules)\n"
        "assert not heavy, heavy; print(time.time() - start)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split()[-1]) < 3 * 5  # of the 3 s; other tests run at the same time


def test_limits_are_said_before_they_are_reached(page):
    page.segmented_control(key="source").set_value("upload").run()
    said = " ".join(caption.value for caption in page.caption)
    assert f"at most {MOST_TRAIN}" in said and f"up to {MOST_TEST}" in said
    assert page.button(key="learn").disabled


def test_pixel_figures_that_are_left_out_are_named(page, model):
    model.figures = replace(model.figures, pixel=None)
    shown(page, model, "results")
    assert any("Figures of pixels are left out" in caption.value for caption in page.caption)


def test_both_languages(page):
    page.segmented_control(key="language").set_value("中文").run()
    clean(page)
    assert page.button(key="learn").label == "训练并测试"


def test_upload_fit_and_results(page, demo):
    page.segmented_control(key="source").set_value("upload").run()
    page.file_uploader(key="good").set_value(uploaded(demo / "flange/train/good"))
    page.file_uploader(key="test").set_value(uploaded(demo / "flange/test/rust"))
    for name in ("backbone", "set_img_size", "set_resize"):
        values = {"backbone": "resnet18", "set_img_size": "64", "set_resize": "64"}
        kind = page.selectbox if name == "backbone" else page.text_input
        kind(key=name).set_value(values[name])
    page.selectbox(key="set_weights").set_value("embedded")
    page.run()
    page.button(key="learn").click().run()
    finished(page)
    clean(page)
    found = visitor(page).model
    assert page.session_state["section"] == "results" and len(found.tested) == 2
    assert found.choice.backbone == "resnet18" and found.figures is None
    assert found.inspector.record.pictures == 8
    root = visitor(page).root
    assert all(root in one.sample.path.parents for one in found.tested)


def test_two_pictures_are_too_few_and_a_bad_archive_is_named(page, demo):
    page.segmented_control(key="source").set_value("upload").run()
    good = uploaded(demo / "flange/train/good")
    page.file_uploader(key="good").set_value(good[:2]).run()
    assert "2 good pictures; at least 3" in page.error[0].value
    page.file_uploader(key="good").set_value([("a.zip", b"x" * 99, "application/zip")]).run()
    assert page.error[0].value.startswith("a.zip: not a ZIP archive")


def test_errors_of_the_library_are_one_sentence_and_others_are_hidden(page, monkeypatch, caplog):
    page.text_input(key="set_img_size").set_value("900").run()
    page.button(key="learn").click().run()
    assert "900x900 is larger than resize" in page.error[0].value and not page.exception

    def fail(*_):
        raise ZeroDivisionError("a secret of /the/server")

    page.text_input(key="set_img_size").set_value("224").run()
    monkeypatch.setattr("page.start.demo_category", fail)
    page.button(key="learn").click().run()
    finished(page)
    assert page.error[0].value.startswith("Something unexpected went wrong")
    assert "secret" in caplog.text and not page.exception


def test_folders_of_the_server_are_not_named(page):
    session = visitor(page)
    said = session.plain(learning.UsageError(f"{session.root}/upload/a.png: wrong"))
    assert said == "upload/a.png: wrong"


def test_the_slider_judges_again(page, model):
    shown(page, model, "results")
    clean(page)
    before = {one.label: one.value for one in page.metric}
    page.select_slider(key="fpr").set_value(0.5).run()
    clean(page)
    after = {one.label: one.value for one in page.metric}
    assert int(after["Called defective"]) > int(before["Called defective"])
    assert model.inspector.rule.fpr == 0.5
    assert not page.warning and "at most 50 %" in " ".join(c.value for c in page.caption)
    page.select_slider(key="fpr").set_value(0.01).run()
    assert "extrapolated" in page.warning[0].value


def test_one_picture(page, model):
    shown(page, model, "results")
    visitor(page).opened = 0
    page.run()
    clean(page)
    one = model.tested[0]
    assert page.subheader[0].value.replace("\\", "") == f"{one.sample.kind}/{one.name}"
    assert "defective" in page.markdown[0].value and len(page.table) == 1
    assert page.button(key="previous").disabled
    page.slider(key="one_opacity").set_value(0.2).run()
    page.button(key="next").click().run()
    clean(page)
    assert visitor(page).opened == 1
    page.button(key="back").click().run()
    assert visitor(page).opened is None


def test_leave_out_and_learn_again(page, model):
    shown(page, model, "audit")
    clean(page)
    assert "again" not in [button.key for button in page.button]
    out = model.audited[0].source
    visitor(page).excluded.add(out)
    page.run()
    page.button(key="again").click().run()
    finished(page)
    clean(page)
    again = visitor(page).model
    assert again is not model and again.excluded == {out} and len(again.audited) == 7


def test_cancelling_keeps_the_model(page, model):
    shown(page, model, "start")
    page.button(key="learn").click().run()  # draws demo pictures, which can be cancelled
    page.button(key="cancel").click().run()
    finished(page)
    assert page.error[0].value.startswith("Cancelled") and visitor(page).model is model


def test_a_trained_model_and_downloads(page, model, tmp_path, demo):
    model.inspector.save(tmp_path / "best.pdparams")
    page.segmented_control(key="source").set_value("model").run()
    content = (tmp_path / "best.pdparams").read_bytes()
    page.file_uploader(key="model").set_value([("m.pdparams", content, "")])
    page.file_uploader(key="model_test").set_value(uploaded(demo / "flange/test/chip"))
    page.run()
    page.button(key="open").click().run()
    finished(page)
    clean(page)
    assert len(visitor(page).model.tested) == 2 and visitor(page).model.choice is None
    visitor(page).section = "downloads"
    page.run()
    page.button(key="prepare_model").click().run()
    finished(page)
    clean(page)
    assert load_record(visitor(page).prepared["model"]) == load_record(tmp_path / "best.pdparams")
    assert page.download_button(key="download_model").label.startswith("Download flange.pdparams")


def test_a_model_without_scores_of_good_pictures_has_a_slider_over_the_threshold(page, model):
    inspector = model.inspector
    record = replace(inspector.record, calibration=Calibration())
    inspector.record = inspector.detector.record = record
    inspector.threshold = None
    model.judge_again(inspector.rule)
    shown(page, model, "results")
    clean(page)
    assert "promises no false-alarm rate" in page.info[0].value
    scores = [one.judgement.score for one in model.tested]
    page.slider(key="threshold").set_value(min(scores)).run()
    clean(page)
    assert {one.label: one.value for one in page.metric}["Called defective"] == "12"


def test_further_pictures_are_judged(page, model, demo):
    shown(page, model, "results")
    page.file_uploader(key="further").set_value(uploaded(demo / "weave/test/good")).run()
    page.button(key="judge").click().run()
    finished(page)
    clean(page)
    tested = visitor(page).model.tested
    assert len(tested) == 16 and sum(not one.labelled for one in tested) == 4
    assert not tested[0].labelled  # a picture of something else has the highest score


def test_a_damaged_model_is_refused(page):
    page.segmented_control(key="source").set_value("model").run()
    page.file_uploader(key="model").set_value([("m.pdparams", b"\x80\x04." * 50, "")]).run()
    page.button(key="open").click().run()
    finished(page)
    assert "not a checkpoint of this project" in page.error[0].value and not page.exception


def test_the_camera_judges(page, model, demo):
    shown(page, model, "camera")
    picture = (demo / "flange/test/chip/000.png").read_bytes()
    page.camera_input(key="camera").set_value(("c.jpg", picture, "image/jpeg")).run()
    clean(page)
    known = {one.name: one for one in model.tested if one.sample.kind == "chip"}["000.png"]
    assert f"score {known.judgement.score:.4g}" in page.markdown[0].value


def test_visitors_share_nothing_and_their_files_end_with_them(page):
    other = testing.AppTest.from_file(str(ROOT / "app.py"), default_timeout=SECONDS).run()
    assert visitor(other) is not visitor(page)
    root = visitor(other).root
    assert root != visitor(page).root and root.is_dir()
    old = visitor(other)
    old.close()
    assert not root.exists() and visitor(page).root.is_dir()
    other.run()
    clean(other)
    assert visitor(other) is not old and visitor(other).root.is_dir()


def test_options_name_the_folders_that_visitors_may_read(demo, tmp_path):
    from page.data import folders_below
    from page.options import parse

    options = parse(("--data_root", str(demo)))
    assert set(folders_below(options.data_root)) == {f"{demo.name}/flange", f"{demo.name}/weave"}
    above = folders_below([demo.parent])
    assert f"{demo.parent.name}/{demo.name}/flange" in above
    assert folders_below([tmp_path]) == {}
    command = [sys.executable, "app.py", "--data_root", str(tmp_path / "none")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "no such folder" in done.stderr
