"""A small results folder as val.py writes it, and a browser that opens its report."""

import base64
import csv
import hashlib
import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
KINDS = ("good",) * 12 + ("crack",) * 9 + ("dirt",) * 9
random = np.random.default_rng(0)
SCORES = np.round(np.where(np.array(KINDS) == "good", 10, 14) + 3 * random.normal(size=30), 6)
NORMAL = sorted(random.normal(10, 2, 99).tolist())
LEVEL = {"auroc": 0.9, "ap": 0.8, "f1_max": 0.7, "threshold": 13.25}
PROMISE = {
    **{"fpr": 0.05, "threshold": NORMAL[94] + 1e-5, "extrapolated": False, "smallest_fpr": 0.01},
    **{"false_alarms": 1, "good": 12, "false_alarm_rate": 1 / 12},
    **{"false_alarm_interval": [0.01, 0.35], "found": 9, "defective": 18, "recall": 0.5},
    **{"recall_interval": [0.29, 0.71]},
}
METRICS = {
    **{"category": "bottle", "image": LEVEL, "pixel": {**LEVEL, "auroc": 0.95, "aupro": 0.85}},
    **{"pictures": {"good": 12, "defective": 18}, "skipped": 0, "promise": PROMISE},
    **{"threshold_from": "fpr", "threshold": PROMISE["threshold"]},
    "seconds": {"fit": 2, "picture": 0.01},
    **{"model": {"method": "toy", "layers": ["a", "b"], "weights": {"sha256": "f00d"}}},
    "normal": {"pictures": 99, "source": "held out", "image": NORMAL, "ranks": list(range(99))},
    **{"created": "2030-01-02T03:04:05", "version": "9.8.7"},
}
WITHOUT_NORMAL = {"normal": None, "promise": None, "threshold_from": "f1", "threshold": 13.25}


def write_results(folder: Path, paths=None, kinds=KINDS, **changes) -> Path:
    """All files of a validation; `changes` replace entries of metrics.json."""
    folder.mkdir(parents=True)
    metrics = METRICS | changes
    (folder / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    paths = paths or [f"data/{kind}/{i:03}.png" for i, kind in enumerate(KINDS)]
    rows = [tested_row(*row, metrics) for row in zip(paths, kinds, SCORES, strict=True)]
    write_rows(folder / "scores.csv", "path,kind,score,p_value,normalised,verdict", rows)
    training = [(f"data/train/{i:03}.png", 20 - i, (i + 1) / 31, i in (0, 15)) for i in range(30)]
    write_rows(folder / "training.csv", "path,score,p_value,beyond", training)
    (folder / "pictures").mkdir()
    for path, kind in zip(paths, kinds, strict=True):
        save_sheet(folder / "pictures" / f"{kind}_{Path(path).stem}.png")
    for name in ("roc.png", "pr.png", "histogram.png"):
        save_sheet(folder / name)
    return folder


def tested_row(path: str, kind: str, score: float, metrics: dict) -> tuple:
    known = metrics["normal"] is not None
    threshold = metrics["threshold"]
    word = "unknown" if threshold is None else "defective" if score >= threshold else "good"
    return path, kind, f"{score:.6f}", 0.25 if known else "", 0.5 if known else "", word


def write_rows(path: Path, head: str, rows: list) -> None:
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        csv.writer(file).writerows([head.split(","), *rows])


def save_sheet(path: Path, size=(120, 30)) -> None:
    Image.new("RGB", size, (90, 140, 60)).save(path)


def browser() -> str:
    """The path of a browser; skips the test where there is none."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is installed")
    return found


def allow(report: str, script: str) -> str:
    """The report with one more script at its end, which its policy allows."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    allowed = report.replace("script-src '", f"script-src 'sha256-{digest}' '", 1)
    return allowed.replace("</body>", f"<script>{script}</script></body>")


def run_in_browser(report: str, script: str, folder: Path) -> tuple[object, str]:
    """What `script`, the body of a function, returns in the opened report; the console's lines."""
    whole = (
        "{ const result = document.createElement('pre'); result.id = 'result';\n"
        f"result.textContent = JSON.stringify((() => {{ {script} }})());\n"
        "document.body.append(result); }"
    )
    page = folder / "opened.html"
    page.write_text(allow(report, whole), encoding="utf-8")
    command = [browser(), "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    command += [f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=5000", "--dump-dom"]
    done = subprocess.run([*command, page.as_uri()], capture_output=True, text=True, timeout=120)
    found = re.search(r'<pre id="result">(.*?)</pre>', done.stdout, re.DOTALL)
    console = "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)
    assert found, f"{console}\n{done.stderr[-2000:]}"
    return json.loads(html.unescape(found[1])), console
