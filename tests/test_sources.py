"""Sources of weights: the cache, a download, a folder, random numbers."""

import hashlib
import http.client
import io
import subprocess
import threading
import time
from email.message import Message
from pathlib import Path

import numpy as np
import paddle
import pytest
from safetensors.numpy import save_file

from common.errors import UsageError, WorkError
from common.files import cache_folder
from models.backbones import catalogue, sources, weights
from models.backbones.network import build, full_shapes, set_weights
from models.backbones.weights import ENDINGS

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def whole():
    rng = np.random.default_rng(0)
    shapes = full_shapes("resnet18")
    return {key: np.abs(rng.standard_normal(s, np.float32)) for key, s in shapes.items()}


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "MODELS", tmp_path / "models")
    monkeypatch.setenv("PADIM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


class Answer(io.BytesIO):
    def __init__(self, content: bytes, length: int | None = None):
        super().__init__(content)
        self.headers = Message()
        self.headers["Content-Length"] = str(len(content) if length is None else length)


@pytest.fixture
def server(whole, tmp_path, monkeypatch):
    """Gives resnet18's weights for every address; the addresses that were asked for."""
    save_file(whole, tmp_path / "served")
    content = (tmp_path / "served").read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:8]
    monkeypatch.setitem(catalogue.URLS, "resnet18", f"resnet18-{digest}.pth")
    asked = []

    def serve(url):
        asked.append(url)
        return Answer(content)

    monkeypatch.setattr(sources, "_open", serve)
    return asked


def test_official_weights_are_downloaded_once_and_kept_converted(home, server, whole):
    found = sources.find("resnet18")
    assert server == [catalogue.url("resnet18")]
    again = sources.find("resnet18", "auto")
    assert len(server) == 1
    (kept,) = home.iterdir()
    assert kept.suffix == ".safetensors" and again.origin == found.origin == f"kept at {kept}"
    assert again.name == found.name == server[0].rpartition("/")[2]
    assert again.sha256 == found.sha256 and found.sha256.startswith(found.name[9:-4])
    for key, array in again.state.items():
        assert array.dtype == np.float32 and np.array_equal(array, whole[key])


def test_a_file_put_into_the_cache_by_hand_has_its_own_name_and_digest(home, whole):
    home.mkdir()
    kept = home / "resnet18-f37072fd.safetensors"
    weights.save(weights.Weights(whole, "own.pth", "0" * 64, "x", {}), kept)
    found = sources.find("resnet18")
    assert (found.name, found.sha256) == (kept.name, weights.sha256(kept))


def test_a_copy_that_was_changed_is_not_taken_for_the_official_file(home, server):
    sources.find("resnet18")
    (kept,) = home.iterdir()
    content = bytearray(kept.read_bytes())
    content[-100] ^= 1
    kept.write_bytes(content)
    with pytest.raises(WorkError, match="changed after the download; delete"):
        sources.find("resnet18")


def test_a_cache_that_cannot_be_read_is_left_alone(home, server, monkeypatch, caplog):
    sources.find("resnet18")

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(sources, "_kept", refuse)
    assert sources._found("resnet18") is None
    assert "Permission denied; set PADIM_HOME" in caplog.text


def test_weights_that_cannot_be_kept_are_used_all_the_same(home, server, caplog):
    (home / "resnet18-f37072fd.safetensors").mkdir(parents=True)
    (home / catalogue.URLS["resnet18"].replace(".pth", ".safetensors")).mkdir()
    assert sources.find("resnet18").origin.startswith("downloaded from")
    assert "not kept" in caplog.text


def test_a_home_that_goes_with_the_process_keeps_nothing(home, server, monkeypatch, caplog):
    monkeypatch.setattr(sources, "substitute_home", lambda: str(home))
    assert sources.find("resnet18").origin.startswith("downloaded from")
    assert "PADIM_HOME" in caplog.text and not home.exists()


def test_a_file_of_another_hash_is_refused_and_not_kept(home, server, monkeypatch):
    monkeypatch.setitem(catalogue.URLS, "resnet18", "resnet18-00000000.pth")
    with pytest.raises(WorkError, match="SHA-256 .* does not begin with 00000000"):
        sources.find("resnet18")
    assert not home.exists()


def test_a_download_that_breaks_off_is_no_file(home, server, monkeypatch, caplog):
    monkeypatch.setattr(sources, "_open", lambda url: Answer(b"half", length=8))
    assert sources.find("resnet18").origin == "embedded"
    assert "4 of 8 bytes" in caplog.text and not home.exists()


@pytest.mark.parametrize("error", [http.client.IncompleteRead(b"x"), TimeoutError("slow")])
def test_a_network_that_fails_midway_is_one_that_fails(home, server, monkeypatch, caplog, error):
    class Broken(Answer):
        def read(self, *_):
            raise error

    monkeypatch.setattr(sources, "_open", lambda url: Broken(b"x"))
    assert sources.find("resnet18").origin == "embedded"
    assert "cannot be downloaded" in caplog.text


def test_without_a_place_to_keep_them_weights_are_used_all_the_same(
    home, server, tmp_path, monkeypatch, caplog
):
    (tmp_path / "file").touch()
    monkeypatch.setenv("PADIM_HOME", str(tmp_path / "file" / "home"))
    assert sources.find("resnet18").origin.startswith("downloaded from")
    assert "PADIM_HOME" in caplog.text and "not kept" in caplog.text


def test_a_damaged_cache_names_what_to_delete(home, server):
    sources.find("resnet18")
    (kept,) = home.iterdir()
    kept.write_bytes(kept.read_bytes()[:1000])
    with pytest.raises(WorkError, match=f"delete .*{kept.name}"):
        sources.find("resnet18")


def test_without_a_network_the_address_and_the_place_are_named(home):
    """The fixture no_network is in force."""
    with pytest.raises(WorkError) as error:
        sources.find("wide_resnet50_2")
    for word in ("wide_resnet50_2-95faca4d.pth", "models/wide_resnet50_2.pth", "no network"):
        assert word in str(error.value)


def test_a_process_asks_in_vain_only_once(home, monkeypatch):
    asked = []

    def refuse(url):
        asked.append(url)
        raise OSError("no route")

    monkeypatch.setattr(sources, "_open", refuse)
    assert [sources.find("resnet18").origin for _ in range(3)] == ["embedded"] * 3
    assert len(asked) == 1


def test_a_file_of_another_hash_is_downloaded_only_once(home, server, monkeypatch):
    asked, answer = [], sources._open
    monkeypatch.setattr(sources, "_open", lambda url: (asked.append(url), answer(url))[1])
    monkeypatch.setattr(sources, "sha256", lambda path: "0" * 64)
    for _ in range(3):  # as for three categories
        with pytest.raises(WorkError, match="another file"):
            sources.find("resnet18")
    assert len(asked) == 1


def test_weights_in_models_are_ignored_by_git():
    names = [f"models/resnet18{end}" for end in ENDINGS]
    command = ["git", "check-ignore", "--no-index", *names]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines() == names
    embedded = ["git", "check-ignore", "models/weights/resnet18_tinyimagenet.safetensors"]
    assert subprocess.run(embedded, cwd=ROOT, capture_output=True).returncode == 1


def test_a_server_that_does_not_answer_is_given_up(monkeypatch):
    assert sources.SECONDS < 10
    monkeypatch.undo()  # the fixture no_network
    monkeypatch.setattr(sources, "SECONDS", 0.2)
    done = threading.Event()
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: done.wait(20))
    start = time.perf_counter()
    with pytest.raises(OSError, match="no answer within"):
        sources._open("https://example.invalid/x")
    done.set()
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize("ending", [".pth", ".pt", ".bin", ".pdparams", ".safetensors"])
def test_a_file_in_models_is_found_whatever_its_ending(home, whole, ending):
    models = sources.MODELS
    models.mkdir()
    save_file(whole, models / f"resnet18{ending}")
    assert sources.find("resnet18").origin == f"found at models/resnet18{ending}"


def test_two_files_in_models_are_one_too_many(home, whole):
    sources.MODELS.mkdir()
    for ending in (".pth", ".safetensors"):
        save_file(whole, sources.MODELS / f"resnet18{ending}")
    with pytest.raises(UsageError, match=r"resnet18\.pth, resnet18\.safetensors"):
        sources.find("resnet18")


def test_embedded_weights_are_of_resnet18_only():
    assert sources.find("resnet18", "embedded").origin == "embedded"
    with pytest.raises(UsageError, match="resnet18 only, not for resnet50"):
        sources.find("resnet50", "embedded")


@pytest.mark.parametrize("backbone", ["resnet18", "efficientnet_b0"])
def test_random_weights_are_seeded_and_say_so(backbone, caplog):
    one, other = (sources.find(backbone, "random") for _ in range(2))
    assert "RANDOM" in caplog.text and one.sha256 == other.sha256
    assert {key: array.shape for key, array in one.state.items()} == full_shapes(backbone)
    assert all(np.array_equal(one.state[key], other.state[key]) for key in one.state)


def test_random_weights_do_not_forget_the_picture():
    network = build("efficientnet_b0", catalogue.default_layers("efficientnet_b0"), (64, 64))
    set_weights(network, sources.find("efficientnet_b0", "random").state)
    pictures = np.random.default_rng(0).standard_normal((2, 3, 64, 64), np.float32)
    for stage in network(paddle.to_tensor(pictures)):
        one, other = stage.numpy()
        assert np.linalg.norm(one - other) > 0.02 * np.linalg.norm(one)


def test_what_was_converted_keeps_its_variant(tmp_path):
    variant = {"padding": "same_as_trained", "epsilon": 1e-3}
    shapes = full_shapes("efficientnet_b0")
    state = {key: np.ones(shape, np.float32) for key, shape in shapes.items()}
    found = weights.Weights(state, "theirs.pth", "0" * 64, "x", variant)
    weights.save(found, tmp_path / "w.safetensors")
    assert weights.load(tmp_path / "w.safetensors", "efficientnet_b0", "x").variant == variant
    with pytest.raises(UsageError, match="only files with timm's names") as error:
        weights.load(tmp_path / "w.safetensors", "efficientnet_b0", "x", tensorflow=True)
    assert error.value.setting == "tensorflow"


@pytest.mark.parametrize(
    ("variant", "word"),
    [
        ('{"colour": 1}', "colour"),
        ('{"padding": "none", "epsilon": 0.001}', "padding 'none'"),
        ('{"padding": "same", "epsilon": "x"}', "epsilon 'x'"),
        ("{", "Expecting"),
        ("[]", "mapping"),
        ("[" * 10**5, "recursion"),
    ],
)
def test_metadata_that_is_damaged_is_named(tmp_path, whole, variant, word):
    save_file(whole, tmp_path / "w.safetensors", {"variant": variant})
    with pytest.raises(WorkError, match=rf"w\.safetensors: damaged metadata .*{word}"):
        weights.load(tmp_path / "w.safetensors", "resnet18", "x")


def test_the_cache_is_below_the_users_unless_it_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PADIM_HOME", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("PADIM_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert cache_folder() == tmp_path / "cache/padim-paddle"
