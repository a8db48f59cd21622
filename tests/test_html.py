"""What report.html contains, which sheets it shows, and its errors."""

import json
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evaluation.html import embedding, results, write_html
from tests.conftest import call, fails
from tests.html_results import METRICS, PROMISE, WITHOUT_NORMAL, save_sheet, write_results

pytestmark = pytest.mark.once


def written(tmp_path, **changes) -> str:
    return write_html(write_results(tmp_path / "bottle", **changes)).read_text(encoding="utf-8")


def test_the_script_writes_one_file_and_prints_its_path(tmp_path):
    folder = write_results(tmp_path / "bottle")
    before = set(folder.iterdir())
    result = call("evaluation.html.__main__", folder)
    assert (result.code, result.lines) == (0, [str(folder / "report.html")])
    assert set(folder.iterdir()) - before == {folder / "report.html"}


def test_head_figures_settings_and_origin_are_there(tmp_path):
    text = written(tmp_path)
    for expected in ("<h1>bottle</h1>", "2030-01-02 03:04:05", "version 9.8.7", "toy"):
        assert expected in text
    assert "<dt>Image AUROC</dt><dd>0.9000</dd>" in text
    assert "<dt>AUPRO</dt><dd>0.8500</dd>" in text
    assert '<th scope="row">weights.sha256</th><td>f00d</td>' in text
    assert '<th scope="row">layers</th><td>a, b</td>' in text


def test_the_headline_counts_the_verdicts_and_names_the_threshold(tmp_path):
    tested = results.read_results(write_results(tmp_path / "bottle")).tested
    found, alarms = (
        sum(one.defective == defective and one.verdict == "defective" for one in tested)
        for defective in (True, False)
    )
    counts = f"{found} of 18 defective pictures found, {alarms} of 12 good pictures"
    again = written(tmp_path / "again")
    assert f"{counts} called defective at the promised false-alarm rate 5 %." in again
    best = written(tmp_path / "f1", threshold_from="f1", threshold=13.25)
    assert "called defective at the threshold of best F1 on these pictures." in best
    given = written(tmp_path / "given", threshold_from="given", threshold=9.5)
    assert "called defective at the threshold 9.5." in given


def test_the_promise_is_stated_with_what_it_rests_on(tmp_path):
    text = written(tmp_path)
    assert "At most 5 % of good pictures" in text
    assert "99 good pictures (held out). The smallest rate that they can promise is 1 %" in text
    assert "<td>9 of 18</td><td>50 %</td><td>29 % to 71 %</td>" in text
    assert 'class="warning">Extrapolated' not in text
    assert "does not contain" not in text


def test_doubts_about_the_promise_are_stated(tmp_path):
    broken = {"fpr": 0.005, "extrapolated": True, "false_alarm_interval": [0.02, 0.4]}
    text = written(tmp_path, promise=PROMISE | broken)
    assert "Extrapolated: 0.5 % is less than the normal scores can promise" in text
    assert "The interval of the false-alarm rate does not contain 0.5 %" in text
    assert "at the extrapolated false-alarm rate 0.5 %" in text


def test_a_model_without_normal_scores_promises_nothing(tmp_path):
    text = written(tmp_path, **WITHOUT_NORMAL)
    assert "no false-alarm rate is promised" in text
    assert "At most" not in text


def test_other_verdicts_still_tell_which_rates_could_be_promised(tmp_path):
    text = written(tmp_path, promise=None, threshold_from="f1", threshold=13.25)
    assert "The smallest rate that they can promise is 1 %" in text
    assert "At most" not in text and "slider moves the score" not in text


def test_good_test_pictures_alone_have_no_recall(tmp_path):
    alone = {"defective": 0, "found": 0, "recall": None, "recall_interval": None}
    text = written(tmp_path, kinds=("good",) * 30, image={}, pixel={}, promise=PROMISE | alone)
    assert "of 30 good pictures called defective at" in text
    assert "<td>0 of 0</td><td>–</td><td>–</td>" in text
    assert "<dt>Image AUROC</dt><dd>–</dd>" in text


def test_the_audit_shows_ten_pictures_and_all_beyond_the_rest(tmp_path):
    text = written(tmp_path)
    shown = re.findall(r"data/train/(\d+)\.png", text)
    assert shown == [f"{i:03}" for i in (*range(10), 15)]
    assert text.count("<td>beyond the rest</td>") == 2
    assert "Beyond the rest: 2 of 30 training pictures" in text


def test_optional_files_may_be_missing(tmp_path):
    folder = write_results(tmp_path / "bottle", skipped=3)
    for name in ("training.csv", "roc.png", "pr.png", "pictures/good_004.png"):
        (folder / name).unlink()
    text = write_html(folder).read_text(encoding="utf-8")
    assert "There are no left-out scores" in text
    assert "Curves need good and defective test pictures" in text
    assert "Without a saved sheet: 1 of 30 test pictures" in text
    assert "Not read, and not in this report: 3 test pictures" in text


def test_nothing_is_loaded_from_outside(tmp_path):
    text = written(tmp_path)
    assert set(re.findall(r'(?:src|href)="([^":]*:)', text)) == {"data:"}
    assert re.findall(r"https?://[^\"' ]*", text) == ["http://www.w3.org/2000/svg"]
    assert "content=\"default-src 'none';" in text


def test_text_from_files_is_escaped(tmp_path):
    evil = '<script>alert("1")</script>\x00'
    text = written(
        tmp_path, category=evil, version=evil, model={evil: evil, "inner": {evil: [evil]}}
    )
    assert text.count("<script>") == 1
    assert text.count("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;\\x00") == 7


def rows_of(*names: str) -> list[results.Tested]:
    pairs = [name.split("/") for name in names]
    return [results.Tested(f"data/{name}", kind, 1.0, None, None, "good") for kind, name in pairs]


@pytest.mark.parametrize(
    ("rows", "saved", "expected"),
    [
        (["good/1.png", "bad/1.png"], ["bad_1", "good_1"], ["good_1", "bad_1"]),
        (["good/1.png", "good/2.png"], ["good_2"], [None, "good_2"]),
        (["a/1.png", "a/1.jpg"], ["a_1.jpg", "a_1.png"], ["a_1.png", "a_1.jpg"]),
        (["a/1.png", "a/1.jpg", "a/2.png"], ["a_1", "a_2"], [None, None, "a_2"]),
        (["a_b/c.png", "a/b_c.png", "a/2.png"], ["a_b_c.png", "a_2"], [None, None, "a_2"]),
        (["a/\\udcff.png"], ["a_\udcff"], ["a_\udcff"]),
    ],
)
def test_each_test_picture_gets_its_own_sheet(tmp_path, rows, saved, expected):
    (tmp_path / "pictures").mkdir()
    for name in saved:
        save_sheet(tmp_path / "pictures" / f"{name}.png")
    found = embedding.find_sheets(tmp_path, rows_of(*rows))
    assert [path and path.name.removesuffix(".png") for path in found] == expected


def test_a_report_of_a_hundred_sheets_stays_below_ten_megabytes(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (440, 1330, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    largest = len(embedding._data_uri(embedding._compact(tmp_path / "noise.png", 70_000)))
    assert embedding.PER_SHEET == 70_000
    assert 100 * largest < 9_500_000


def png_header(width: int, height: int) -> bytes:
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    )


HEAD = b"path,kind,score,p_value,normalised,verdict\n"
DAMAGES = {
    "no JSON": ("metrics.json", b"{"),
    "not UTF-8": ("metrics.json", b'{"category": "\xff"}'),
    "nested": ("metrics.json", b"[" * 100_000),
    "field missing": ("metrics.json", b'{"category": "bottle"}'),
    "older scores": ("scores.csv", b"path,kind,score,verdict\na.png,good,1,good\n"),
    "no rows": ("scores.csv", HEAD),
    "no number": ("scores.csv", HEAD + b"a,good,x,,,good\n"),
    "not finite": (
        "scores.csv",
        HEAD + b"a,good,nan,,,good\n",
    ),
    "cut": ("scores.csv", HEAD + b'"a,good,1'),
    "NUL": ("scores.csv", HEAD + b"\0,good,1,2,,good\n"),
    "bytes": ("scores.csv", b"\xff\xfe"),
    "yes for True": ("training.csv", b"path,score,p_value,beyond\na,1,0.5,perhaps\n"),
    "no PNG": ("pictures/good_000.png", b"GIF89a"),
    "cut PNG": ("roc.png", png_header(100, 100)),
    "huge PNG": ("pr.png", png_header(60_000, 60_000)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_named_and_the_old_report_stays(tmp_path, damage):
    name, content = DAMAGES[damage]
    folder = write_results(tmp_path / "bottle")
    (folder / "report.html").write_text("old")
    (folder / name).write_bytes(content)
    fails(call("evaluation.html.__main__", folder), 1, folder / name, "run val.py again")
    assert (folder / "report.html").read_text() == "old"


@pytest.mark.parametrize(
    "change",
    [
        {"normal": METRICS["normal"] | {"ranks": [0, 1]}},
        {"normal": METRICS["normal"] | {"ranks": list(range(98, -1, -1))}},
        {"normal": METRICS["normal"] | {"image": METRICS["normal"]["image"][::-1]}},
        {"normal": METRICS["normal"] | {"pictures": 98}},
        {"threshold": None},
        {"threshold_from": "guess"},
        {"promise": PROMISE | {"fpr": 0}},
    ],
)
def test_contradictory_metrics_are_refused(tmp_path, change):
    folder = write_results(tmp_path / "bottle")
    (folder / "metrics.json").write_text(json.dumps(METRICS | change))
    fails(call("evaluation.html.__main__", folder), 1, folder / "metrics.json")


def test_a_large_file_is_not_read(tmp_path):
    folder = write_results(tmp_path / "bottle")
    with (folder / "scores.csv").open("ab") as file:
        file.truncate(65 * 2**20)
    fails(call("evaluation.html.__main__", folder), 1, folder / "scores.csv", "64 MiB")


@pytest.mark.parametrize("missing", ["metrics.json", "scores.csv"])
def test_a_folder_without_results_is_wrong_use(tmp_path, missing):
    folder = write_results(tmp_path / "bottle")
    (folder / missing).unlink()
    fails(call("evaluation.html.__main__", folder), 2, folder, missing, "run val.py first")
    fails(call("evaluation.html.__main__", Path("no/folder")), 2, "no/folder", "metrics.json")
