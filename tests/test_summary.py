"""The table and the figure over all categories, made of small invented results."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.errors import WorkError
from evaluation import curves, published
from evaluation.figures import Figures
from evaluation.metrics import rank
from evaluation.roc import STEPS, read_roc, write_roc
from evaluation.summary import Summary, read
from evaluation.table import GROUPS, groups, means, values
from tasks.categories import each_category
from tests.conftest import call, fails

FILES = ("summary.md", "summary.csv", "summary.json", "roc_all.png")


def ranking(seed: int = 0, items: int = 60):
    random = np.random.default_rng(seed)
    defective = np.arange(items) % 2 == 0
    return rank(defective, random.normal(size=items) + 1.5 * defective)


def level(auroc: float, **more) -> dict:
    return {"auroc": auroc, "ap": 0.7, "f1_max": 0.6, "threshold": 2.0, **more}


def make_record(auroc: float = 0.9, **more) -> dict:
    return {"image": level(auroc), "pixel": level(auroc - 0.1, aupro=0.5), **more}


def make_results(folder: Path, records: dict[str, dict]) -> Path:
    """Result folders as val.py writes them, without what the table does not read."""
    for name, record in records.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "metrics.json").write_text(json.dumps(record))
        known = {name: ranking() for name in ("image", "pixel") if record[name]}
        write_roc(folder / name / "roc.csv", known)
    return folder


PROMISE = {"fpr": 0.05, "extrapolated": True, "false_alarm_rate": 0.125, "recall": 0.75}
FULL = make_record(promise=PROMISE, seconds={"fit": 12.34, "picture": 0.0321})
BARE = {"image": level(0.5), "pixel": {}, "promise": None}


def cells(text: str, row: str) -> list[str]:
    return next(line.split()[1:] for line in text.splitlines() if line.split()[:1] == [row])


def test_a_row_per_category_with_dashes_and_a_mean_of_what_is_known():
    text = Summary({"a": FULL, "b": BARE}).text()
    assert cells(text, "a") == [
        *("0.9000", "0.7000", "0.6000", "0.8000", "0.7000", "0.6000", "0.5000"),
        *("0.0500", "0.1250", "0.7500", "12.3", "32.1"),
    ]
    assert cells(text, "b") == ["0.5000", "0.7000", "0.6000", *["-"] * 9]
    assert cells(text, "mean")[:4] == ["0.7000", "0.7000", "0.6000", "0.8000"]
    assert cells(text, "mean")[-1] == "32.1"


def test_means_of_textures_objects_and_all_only_for_mvtec():
    figures = {
        name: values(make_record(auroc))
        for name, auroc in (("bottle", 0.9), ("wood", 0.8), ("screw", 0.6))
    }
    found = {group: row["image_auroc"] for group, row in means(figures).items()}
    assert found == pytest.approx({"textures": 0.8, "objects": 0.75, "all": 2.3 / 3})
    assert groups(["bottle", "screw"]) == {
        "objects": ["bottle", "screw"],
        "all": ["bottle", "screw"],
    }
    assert groups(["bottle", "mine"]) == {"all": ["bottle", "mine"]}
    assert groups(["bottle"]) == {}
    lines = Summary({"screw": FULL, "bottle": FULL, "wood": FULL}).text().splitlines()
    assert [line.split()[0] for line in lines[2:5]] == ["wood", "bottle", "screw"]
    assert [line[:16].strip() for line in lines[5:]] == [f"mean of {group}" for group in GROUPS]


def test_the_same_figures_in_markdown_csv_and_json(tmp_path):
    Summary({"a|b": FULL, "c": BARE}).write(tmp_path)
    lines = (tmp_path / "summary.md").read_text().splitlines()
    assert lines[4].startswith("| a\\|b | 0.9000 | ")
    assert lines[5].startswith("| c | 0.5000 | 0.7000 | 0.6000 | - | ")
    assert lines[6].startswith("| mean | 0.7000 | ")
    assert "- Extrapolated, for want of normal scores: the threshold of a|b." in lines
    rows = list(csv.DictReader((tmp_path / "summary.csv").open(newline="")))
    assert [row["category"] for row in rows] == ["a|b", "c", "mean"]
    assert float(rows[0]["predict_ms"]) == pytest.approx(32.1)
    assert (rows[1]["pixel_auroc"], rows[1]["recall"]) == ("", "")
    record = json.loads((tmp_path / "summary.json").read_text())
    assert record["categories"]["a|b"]["false_alarm_rate"] == 0.125
    assert record["categories"]["c"]["pixel_auroc"] is None
    assert record["means"]["all"]["image_auroc"] == 0.7
    assert record["extrapolated"] == ["a|b"]
    assert record["published"] == []


def test_published_figures_stand_beside_ours_with_their_sources(tmp_path):
    summary = Summary({"carpet": make_record(0.9), "bottle": make_record(0.8)}, compare=True)
    torch = summary.published[2]
    assert (torch.name, torch.image["carpet"]) == ("PyTorch, WR50-Rd550", 0.999)
    table = published.comparison(summary.figures, "image", summary.published)
    place = table.head.index("PyTorch\nWR50-Rd550 (3)")
    column = [(row[0], row[1], row[place]) for row in table.rows]
    assert column == [
        ("carpet", "0.9000", "0.999"),
        ("bottle", "0.8000", "0.998"),
        ("mean of textures", "0.9000", "0.999"),
        ("mean of objects", "0.8000", "0.998"),
        ("mean of all", "0.8500", "0.998"),
    ]
    summary.write(tmp_path)
    for name in ("summary.md", "summary.csv", "summary.json"):
        text = (tmp_path / name).read_text()
        for one in summary.published:
            assert one.address in text
            assert one.title in text
    rows = list(csv.reader((tmp_path / "summary.csv").open(newline="")))
    assert len({len(row) for row in rows}) == 1
    assert rows[1][rows[0].index(f"image_auroc of {torch.name}: {torch.origin}")] == "0.999"


def test_a_mean_alone_stands_beside_the_same_categories_only():
    mean_only = next(one for one in published.load() if one.network == "EfficientNet-B5")
    every = list(GROUPS["all"])
    assert mean_only.mean("image", "all", every) == 0.979
    assert mean_only.mean("image", "all", every[1:]) is None
    assert mean_only not in published.comparable(every[1:])
    assert mean_only in published.comparable(every)


def test_without_a_known_category_compare_warns(caplog):
    assert Summary({"mine": FULL, "other": FULL}, compare=True).published == []
    assert "--compare has no effect" in caplog.text


# The means that the sources print themselves: a wrong digit in a row would show.
@pytest.mark.parametrize(
    ("name", "kind", "printed"),
    [
        ("PyTorch, R18-Rd100", "image", (0.964, 0.876, 0.905)),
        ("PyTorch, R18-Rd100", "pixel", (0.953, 0.971, 0.965)),
        ("PyTorch, WR50-Rd550", "image", (0.984, 0.941, 0.955)),
        ("PyTorch, WR50-Rd550", "pixel", (0.965, 0.978, 0.973)),
        ("TensorFlow, net 1, ENB7-Rd1000", "image", (0.9579, 0.8881, 0.9114)),
        ("TensorFlow, net 1, ENB7-Rd1000", "pixel", (0.9536, 0.9724, None)),
        ("TensorFlow, net 3, ENB7-Rd1000", "image", (0.9885, 0.9455, 0.9598)),
        ("TensorFlow, net 3, ENB7-Rd1000", "pixel", (0.7979, 0.8776, 0.8510)),
        ("Paddle, R18", "image", (None, None, 0.922)),
        ("Paddle, R18", "pixel", (None, None, 0.961)),
    ],
)
def test_published_rows_have_the_published_means(name, kind, printed):
    source = next(one for one in published.load() if one.name == name)
    assert set(getattr(source, kind)) == set(GROUPS["all"])
    for (group, members), known in zip(GROUPS.items(), printed, strict=True):
        if known is not None:
            assert source.mean(kind, group, list(members)) == pytest.approx(known, abs=1.3e-3)


def test_every_published_column_is_complete():
    for one in published.load():
        assert one.address.startswith("https://")
        assert one.title
        figures = [*one.image.values(), *one.pixel.values()]
        figures += [value for means in one.means.values() for value in means.values()]
        assert figures
        assert all(0.5 < value <= 1 for value in figures)
        assert (set(one.image) | set(one.pixel)) <= set(GROUPS["all"])


def test_a_curve_of_few_points_has_the_same_area(tmp_path):
    whole = ranking(items=100_000)
    write_roc(tmp_path / "roc.csv", {"pixel": whole})
    fpr, recall = read_roc(tmp_path / "roc.csv")["pixel"]
    assert len(fpr) <= 2 * STEPS + 1
    assert (fpr[0], recall[0], fpr[-1], recall[-1]) == (0, 0, 1, 1)
    area = np.sum(np.diff(fpr) * (recall[1:] + recall[:-1])) / 2
    assert area == pytest.approx(whole.auroc, abs=1e-4)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "header"),
        ("level,fpr\n", "header"),
        ("level,fpr,recall\nimage,0\n", "line 2"),
        ("level,fpr,recall\nregion,0,0\n", "line 2"),
        ("level,fpr,recall\nimage,0,0\nimage,x,1\n", "float"),
        ("level,fpr,recall\nimage,0,0\nimage,nan,1\n", "line 3"),
        ("level,fpr,recall\nimage,0,0\nimage,1.5,1\n", "line 3"),
        ("level,fpr,recall\nimage,0.5,1\nimage,0.2,1\n", "decrease"),
    ],
)
def test_a_damaged_file_of_curves_is_named(tmp_path, text, word):
    (tmp_path / "roc.csv").write_text(text)
    with pytest.raises(
        WorkError, match="roc.csv: no ROC curves in it .* run val.py again"
    ) as error:
        read_roc(tmp_path / "roc.csv")
    assert word in str(error.value)


def test_the_figure_has_every_category_and_the_mean(monkeypatch, tmp_path):
    drawn = []
    monkeypatch.setattr(curves, "save_figure", lambda figure, path: drawn.append(figure))
    only_image = make_record(0.5) | {"pixel": {}}
    records = {"plain": only_image, "_$x": make_record(0.9), "c": make_record(0.8)}
    Summary(records).draw(make_results(tmp_path, records))
    image, pixel = drawn[0].axes
    assert image.get_title().endswith("mean AUROC 0.733")
    assert pixel.get_title().endswith("mean AUROC 0.750")
    texts = [[text.get_text() for text in a.get_legend().get_texts()] for a in (image, pixel)]
    assert texts[0] == ["0.500  plain", "0.900  _$x", "0.800  c"]
    assert texts[1] == ["0.800  _$x", "0.700  c"]
    styles = [{line.get_label(): line.get_color() for line in a.lines[1:]} for a in (image, pixel)]
    assert styles[0]["0.800  c"] == styles[1]["0.700  c"]


def test_the_command_makes_all_files_again(tmp_path):
    make_results(tmp_path, {"bottle": FULL, "wood": BARE})
    result = call("evaluation.summary", tmp_path, "--compare")
    assert result.code == 0, result.err
    assert "https://github.com/CuberrChen/PaDiM-Paddle" in result.out
    assert all((tmp_path / name).stat().st_size > 0 for name in FILES)
    width, height = Image.open(tmp_path / "roc_all.png").size
    assert width > 2 * height
    assert not [path for path in tmp_path.rglob("*") if ".tmp" in path.name]


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"image": {}}',
        '{"image": {"auroc": "high"}, "pixel": {}}',
        '{"image": {"auroc": NaN}, "pixel": {}}',
        '{"image": {}, "pixel": {}, "promise": 3}',
    ],
)
def test_a_damaged_metrics_file_is_named(tmp_path, text):
    make_results(tmp_path, {"a": FULL, "b": FULL})
    (tmp_path / "b/metrics.json").write_text(text)
    result = call("evaluation.summary", tmp_path)
    fails(result, 1, tmp_path / "b/metrics.json", "run val.py again")
    assert not (tmp_path / "summary.md").exists()


def test_missing_results_are_named(tmp_path):
    fails(call("evaluation.summary", tmp_path), 2, tmp_path, "run val.py first")
    make_results(tmp_path, {"a": FULL})
    (tmp_path / "a/roc.csv").unlink()
    fails(call("evaluation.summary", tmp_path), 1, tmp_path / "a/roc.csv", "run val.py again")
    write_roc(tmp_path / "a/roc.csv", {"image": ranking()})
    fails(call("evaluation.summary", tmp_path), 1, "roc.csv", "pixel", "run val.py again")
    with pytest.raises(WorkError, match="metrics.json"):
        read(tmp_path, ["b"])


def test_a_run_makes_the_table_of_its_own_categories(tmp_path, capsys, caplog):
    make_results(tmp_path, {"a": FULL, "b": FULL, "stale": FULL, "c": BARE})

    def work(name: str) -> Figures:
        if name == "stale":
            raise WorkError("damaged")
        return Figures(ranking(), None, None)

    assert each_category(["a", "stale", "c"], work, tmp_path, compare=False) == 1
    assert set(json.loads((tmp_path / "summary.json").read_text())["categories"]) == {"a", "c"}
    assert all((tmp_path / name).exists() for name in FILES)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[-5:-2]] == ["a", "c", "mean"]
    assert lines[-2].startswith("Class:all: Image AUC: 0.")
    assert lines[-1] == "Class:all: Pixel AUC: -"
    assert "failed categories: stale" in caplog.text


def test_one_category_needs_no_table(tmp_path, capsys, caplog):
    work = {"a": Figures(ranking(), None, None)}.get
    assert each_category(["a"], work, tmp_path, compare=True) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert list(tmp_path.iterdir()) == []
    assert "--compare has no effect with one category" in caplog.text
