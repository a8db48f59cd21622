"""Graphs that are kept between processes."""

import logging
import os

import numpy as np
import pytest

from models import graph_cache
from models.engine import Engine
from models.factory import build_detector

PICTURES = np.random.default_rng(0).standard_normal((2, 3, 64, 64), dtype=np.float32)


def detector(**settings):
    from common.preprocessing import Preprocessing

    sizes = Preprocessing(64, (64, 64))
    settings = {"pretrained_backbone": "embedded", "dims": 20, **settings}
    return build_detector(preprocessing=sizes, engine=Engine(device="cpu"), **settings)


@pytest.fixture
def graphs(tmp_path, monkeypatch):
    monkeypatch.setenv("PADIM_HOME", str(tmp_path))
    return tmp_path / "graphs"


@pytest.fixture
def converted(monkeypatch):
    """A list that gets an item for each network that is converted."""
    from models import static_graph

    save, done = static_graph.save_graph, []

    def counted(layer, size, prefix):
        done.append(prefix)
        return save(layer, size, prefix)

    monkeypatch.setattr(static_graph, "save_graph", counted)
    return done


def test_a_network_is_converted_once(graphs, converted):
    first, again = (detector().features(PICTURES) for _ in range(2))
    assert len(converted) == 1
    for ours, theirs in zip(first, again, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    "other",
    [{"seed": 8}, {"layers": ("layer1", "layer2")}, {"patch_size": 3}],
    ids=["channels", "layers", "patch size"],
)
def test_other_networks_have_other_graphs(graphs, other):
    known, changed = detector(), detector(**other)
    assert known.features._key() != changed.features._key()


def test_the_key_follows_the_weights():
    weights = {"a": np.zeros(3, np.float32)}
    changed = {"a": np.array([0, 0, 1e-9], np.float32)}
    assert graph_cache.key("net", weights) == graph_cache.key("net", dict(weights))
    assert graph_cache.key("net", weights) != graph_cache.key("net", changed)
    assert graph_cache.key("net", weights) != graph_cache.key("other", weights)


@pytest.mark.parametrize("damage", ["cut", "flipped", "digests", "removed"])
def test_a_damaged_graph_is_made_again(graphs, converted, damage, caplog):
    caplog.set_level(logging.INFO)
    right = detector().features(PICTURES)
    (folder,) = graphs.iterdir()
    params = folder / "network.pdiparams"
    content = bytearray(params.read_bytes())
    if damage == "cut":
        params.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        content[len(content) // 2] ^= 1
        params.write_bytes(content)
    elif damage == "digests":
        (folder / "sha256").write_text("no digests")
    else:
        params.unlink()
    for ours, theirs in zip(detector().features(PICTURES), right, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert len(converted) == 2
    assert "converted again" in caplog.text
    detector().features(PICTURES)
    assert len(converted) == 2


def test_without_a_writable_cache_it_works(tmp_path, monkeypatch, converted):
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("PADIM_HOME", str(file))
    assert detector().features(PICTURES)[0].shape[0] == 2
    assert len(converted) == 1 and file.read_bytes() == b""


def test_old_graphs_leave_when_room_is_short(graphs, monkeypatch):
    def write(prefix):
        pair = prefix.with_suffix(".json"), prefix.with_suffix(".pdiparams")
        for path in pair:
            path.write_bytes(bytes(500))
        return pair

    monkeypatch.setattr(graph_cache, "MOST_BYTES", 3000)
    for number in range(4):
        with graph_cache.graph_files(write, f"graph{number}"):
            pass
        if number < 3:
            os.utime(graphs / f"graph{number}", (number, number))
    assert sorted(path.name for path in graphs.iterdir()) == ["graph2", "graph3"]
