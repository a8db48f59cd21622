"""README, requirements and model card agree with the code."""

import ast
import hashlib
import importlib
import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import call

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.once
SCRIPTS = ("train", "val", "predict", "export_model", "infer", "evaluation.drift.__main__", "serve")
READMES = ("README.md", "README_cn.md")


def requirements(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text().splitlines()
    pinned = [re.match(r"([a-z-]+)>=(\S+)", line) for line in lines]
    return {match[1]: match[2] for match in pinned if match}


@pytest.mark.parametrize("readme", READMES)
def test_every_dependency_has_its_reason(readme):
    text = (ROOT / readme).read_text()
    for package in requirements("requirements.txt"):
        assert f"\n| {package} |" in text


def test_the_gpu_requirements_are_a_twin():
    cpu, gpu = requirements("requirements.txt"), requirements("requirements-gpu.txt")
    cpu["paddlepaddle-gpu"] = cpu.pop("paddlepaddle")
    assert {k: v.split(",")[0] for k, v in gpu.items()} == cpu


@pytest.mark.parametrize("readme", READMES)
def test_every_option_named_is_there(readme):
    known = "".join(call(script, "--help").out for script in SCRIPTS)
    named = set(re.findall(r"--[a-z][a-z_-]+", (ROOT / readme).read_text()))
    assert named - set(re.findall(r"--[a-z][a-z_-]+", known)) <= {"--help"}


@pytest.mark.parametrize("readme", READMES)
def test_every_link_leads_somewhere(readme):
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / readme).read_text()):
        assert target.startswith("https://") or (ROOT / target).exists(), target


@pytest.mark.parametrize("readme", READMES)
def test_the_two_commands_come_first(readme):
    text = (ROOT / readme).read_text()
    assert text.index("make demo") < text.index("make test") < 1500


def test_the_model_card_has_the_weights_hash():
    weights = (ROOT / "models/weights/resnet18_tinyimagenet.safetensors").read_bytes()
    assert hashlib.sha256(weights).hexdigest() in (ROOT / "models/weights/README.md").read_text()


@pytest.mark.parametrize("readme", READMES)
def test_every_make_target_named_is_there(readme):
    targets = re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = re.findall(r"(?:`|^)make ([a-z0-9-]+)", (ROOT / readme).read_text(), re.MULTILINE)
    assert {"demo", "check", "test"} <= set(named) <= set(targets)


def test_make_help_lists_every_target():
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    command = ["make", "--no-print-directory", "-C", str(ROOT)]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert [line.split()[1] for line in listed.splitlines()] == phony.split()


@pytest.mark.parametrize("readme", READMES)
def test_every_import_shown_resolves(readme):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / readme).read_text(), re.DOTALL)
    trees = [ast.parse(block) for block in blocks]
    imports = [node for tree in trees for node in ast.walk(tree) if type(node) is ast.ImportFrom]
    assert len(imports) >= 5
    for node in imports:
        module = importlib.import_module(node.module)
        for alias in node.names:
            if not hasattr(module, alias.name):
                importlib.import_module(f"{node.module}.{alias.name}")
