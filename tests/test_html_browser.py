"""The report in headless Chromium: the slider, the gallery and the policy that forbids loading."""

import numpy as np
import pytest

from evaluation.html import write_html
from tests.html_results import (
    KINDS,
    NORMAL,
    PROMISE,
    SCORES,
    WITHOUT_NORMAL,
    run_in_browser,
    write_results,
)

pytestmark = [pytest.mark.process, pytest.mark.once]
DEFECTIVE = np.array(KINDS) != "good"

READ = """
const text = (id) => document.getElementById(id).textContent;
const parts = [".name", ".verdict", ".mistake"];
const state = () => ({
  counts: ["passed", "alarms", "missed", "found"].map((id) => Number(text(id))),
  chosen: text("chosen"), sentence: text("sentence"),
  line: Number(document.getElementById("threshold").getAttribute("x1")),
  cells: [...document.querySelectorAll(".cell")].map((cell) => parts.map(
    (part) => cell.querySelector(part).textContent)),
});
const change = (element, ...events) => events.forEach(
  (event) => element.dispatchEvent(new Event(event, {bubbles: true})));
const slider = document.getElementById("slider");
const move = (to) => { slider.value = to; change(slider, "input", "change"); return state(); };
const everywhere = () => stops.map((stop, i) => ({...stop, ...move(i)}));
const press = (name) => [...document.querySelectorAll("button")].find(
  (button) => button.textContent.includes(name)).click();
"""


def opened(tmp_path, script: str, **changes):
    """What `script` returns in the report of results with these changes; nothing may go wrong."""
    report = write_html(write_results(tmp_path / "bottle", **changes)).read_text(encoding="utf-8")
    result, console = run_in_browser(report, READ + script, tmp_path)
    assert console == ""
    return result


def counted(called: np.ndarray) -> list[int]:
    """passed, alarms, missed, found"""
    pairs = [(False, False), (False, True), (True, False), (True, True)]
    return [int(np.sum((truth == DEFECTIVE) & (verdict == called))) for truth, verdict in pairs]


def p_values(normal: list[float]) -> np.ndarray:
    reached = (np.array(normal) >= SCORES[:, None]).sum(axis=1)
    return (1 + reached) / (len(normal) + 1)


def test_the_slider_moves_the_confusion_table_and_the_verdicts(tmp_path):
    before, states = opened(tmp_path, "return [state(), everywhere()];")
    assert before["counts"] == counted(np.greater_equal(SCORES, PROMISE["threshold"]))
    assert before["chosen"].startswith("5\u00a0%: score ≥ ")
    rates = [state["rate"] for state in states]
    assert rates == sorted(rates) and rates[0] == 0.01 and rates[-1] == 0.5
    assert {0.02, 0.05, 0.1, 0.25} <= set(rates)
    for state in states:
        called = p_values(NORMAL) <= state["rate"] + 1e-12
        assert state["counts"] == counted(called), state["rate"]
        verdicts = {name: verdict for name, verdict, _ in state["cells"]}
        expected = np.where(called, "■ defective", "○ good")
        assert verdicts == {f"{kind}/{i:03}.png": expected[i] for i, kind in enumerate(KINDS)}
    lines = [state["line"] for state in states]
    assert lines == sorted(lines, reverse=True) and lines[0] > lines[-1]


def test_thinned_normal_scores_give_the_same_counts_where_none_are_left_out(tmp_path):
    every = sorted(np.random.default_rng(1).normal(10, 2, 3000).tolist())
    ranks = [*range(0, 2400, 6), *range(2400, 3000)]
    kept = {"pictures": 3000, "source": "held out", "image": [every[i] for i in ranks]}
    states = opened(tmp_path, "return everywhere();", normal={**kept, "ranks": ranks})
    compared = [one for one in states if one["rate"] <= 0.2 and one["rate"] != PROMISE["fpr"]]
    assert len(compared) > 15 and compared[0]["rate"] == 1 / 3001
    for state in compared:
        assert state["counts"] == counted(p_values(every) <= state["rate"] + 1e-12), state["rate"]


def test_verdicts_of_best_f1_leave_the_slider_its_rates(tmp_path):
    changes = {"promise": None, "threshold_from": "f1", "threshold": 13.25}
    before, states = opened(tmp_path, "return [state(), everywhere()];", **changes)
    assert before["counts"] == counted(np.greater_equal(SCORES, 13.25))
    assert [state["rate"] for state in states][:: len(states) - 1] == [0.01, 0.5]


def test_without_normal_scores_the_slider_moves_the_threshold(tmp_path):
    before, states = opened(tmp_path, "return [state(), everywhere()];", **WITHOUT_NORMAL)
    assert before["counts"] == counted(np.greater_equal(SCORES, 13.25))
    assert before["chosen"].startswith("best F1")
    assert "%" not in states[0]["chosen"]
    for state in states:
        assert state["counts"] == counted(np.greater_equal(SCORES, state["threshold"]))
    assert states[0]["counts"] == [0, 12, 0, 18] and states[-1]["counts"][3] <= 1


def test_without_a_threshold_nothing_is_called_until_the_slider_moves(tmp_path):
    script = "return [text('chosen'), text('found'), text('sentence'), state().cells, move(0)];"
    nothing = {**WITHOUT_NORMAL, "image": {}, "threshold": None, "threshold_from": None}
    chosen, found, sentence, cells, moved = opened(tmp_path, script, **nothing)
    assert (chosen, found) == ("no threshold", "–") and "move the slider" in sentence
    assert {verdict for _, verdict, _ in cells} == {"? unknown"}
    assert moved["counts"] == [0, 12, 0, 18]


def test_gallery_order_filters_and_dialog(tmp_path):
    script = """
const all = state().cells; const result = {all};
press("misses"); result.misses = state().cells;
press("false alarms"); result.alarms = state().cells;
press("dirt"); result.dirt = state().cells;
const open = () => document.getElementById("viewer").open;
const key = (name) => { document.getElementById("viewer").dispatchEvent(
  new KeyboardEvent("keydown", {key: name, bubbles: true})); return text("viewer-name"); };
document.querySelector(".cell").click();
const first = text("viewer-name");
result.opened = [open(), first, key("ArrowRight"), key("ArrowLeft"), key("ArrowLeft")];
result.shown = document.getElementById("viewer-sheet").src.slice(0, 16);
document.getElementById("close").click(); result.closed = open();
press("best F1"); result.f1 = state();
return result;
"""
    found = opened(tmp_path, script)
    wrong = [mistake for _, _, mistake in found["all"]]
    assert len(wrong) == 30
    assert wrong == sorted(wrong, key=["missed", "false alarm", ""].index)
    score = {f"{kind}/{i:03}.png": SCORES[i] for i, kind in enumerate(KINDS)}
    right = [score[name] for name, _, mistake in found["all"] if not mistake]
    assert right == sorted(right, reverse=True)
    called = np.greater_equal(SCORES, PROMISE["threshold"])
    assert len(found["misses"]) == np.sum(~called & DEFECTIVE) > 0
    assert len(found["alarms"]) == np.sum(called & ~DEFECTIVE) > 0
    dirt = [name for name, _, _ in found["dirt"]]
    assert len(dirt) == 9 and all(name.startswith("dirt/") for name in dirt)
    assert found["opened"] == [True, dirt[0], dirt[1], dirt[0], dirt[-1]]
    assert found["shown"] == "data:image/webp;" and found["closed"] is False
    assert found["f1"]["counts"] == counted(np.greater_equal(SCORES, 13.25))


def test_names_that_look_like_html_stay_text(tmp_path):
    evil = "<img src=x onerror=window.bad=1>\"'&\u202e"
    folder = "</script><script>window.bad=1</script>"
    paths = [f"{folder}/{i}{evil}\n\x07.png" for i in range(len(KINDS))]
    kinds = [kind if kind == "good" else f"{kind}<script>window.bad=1" for kind in KINDS]
    cell_names = "state().cells.map(([name]) => name)"
    script = f"return [window.bad === undefined, {cell_names}, document.title];"
    changes = {"paths": paths, "kinds": kinds, "category": f"{folder}{evil}", "created": evil}
    unharmed, cells, title = opened(tmp_path, script, **changes)
    assert unharmed and len(cells) == 30
    assert title.startswith(f"{folder}<img src=x onerror=window.bad=1>\"'&\\u202e")
    assert sum(name.startswith("crack<script>window.bad=1") for name in cells) == 9
    assert all("onerror=window.bad=1>\"'&\\u202e\\n\\x07.png" in name for name in cells)


def test_the_policy_stops_other_scripts_and_the_network(tmp_path):
    report = write_html(write_results(tmp_path / "bottle")).read_text(encoding="utf-8")
    foreign = "<script>window.bad = 1;</script><img src='http://127.0.0.1:9/x.png'></body>"
    report = report.replace("</body>", foreign)
    result, console = run_in_browser(report, "return window.bad === undefined;", tmp_path)
    assert result is True
    assert "script-src" in console and "img-src" in console
