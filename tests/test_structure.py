"""Allowed imports between packages, also inside functions; see docs/architecture.md."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ALLOWED = {
    "common": set(),
    "models": {"common"},
    "datasets": {"common"},
    "evaluation": {"common"},
    "inspection": {"common", "models", "datasets", "evaluation"},
    "tasks": {"common", "models", "datasets", "evaluation", "inspection", "benchmarks"},
    "service": {"common", "models", "datasets", "inspection", "tasks"},
    "demo_set": {"common"},
    "page": {"common", "models", "datasets", "evaluation", "inspection", "tasks", "demo_set"},
}


def modules() -> dict[str, Path]:
    """Names of all modules of the packages above, and their files."""
    found = {}
    for package in ALLOWED:
        for path in (ROOT / package).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(path: Path, known: dict[str, Path]) -> set[str]:
    """Modules of ours that the file imports anywhere, in functions too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name if name in known else node.module for name in whole}
    return {name for name in names if name.partition(".")[0] in (*ALLOWED, "benchmarks")}


def test_packages_import_only_what_they_may():
    known = modules()
    for name, path in known.items():
        package = name.partition(".")[0]
        others = {other.partition(".")[0] for other in imported(path, known)} - {package}
        assert others <= ALLOWED[package], f"{name} imports {others - ALLOWED[package]}"


def test_no_module_imports_itself_through_others():
    known = modules()
    imports = {name: imported(path, known) & known.keys() for name, path in known.items()}
    finished = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " → ".join((*way, name))
        if name not in finished:
            for other in sorted(imports[name]):
                visit(other, (*way, name))
            finished.add(name)

    for name in known:
        visit(name, ())


def test_only_a_methods_own_modules_know_it():
    words = ("padim", "patchgaussian", "heads.gaussian", "mahalanobis", "cholesky", "own0")
    words += ("patchcore", "coreset", "k-centre", "farthest_first")
    words += ("spade", "kappa", "patches0", "nearest_patches")
    heads = tuple(f"models/heads/{name}/" for name in ("padim", "patchcore", "spade"))
    own = (*heads, "models/methods.py", "models/backbones/")
    for package in ("models", "inspection", "evaluation", "tasks", "page", "service"):
        for path in (ROOT / package).rglob("*.py"):
            where = path.relative_to(ROOT).as_posix()
            if where.startswith(own):
                continue
            text = path.read_text(encoding="utf-8").lower()
            text = text.replace("padim-paddle", "")  # the project
            assert not [word for word in words if word in text], where


@pytest.mark.process
def test_importing_models_changes_nothing_and_imports_no_paddle():
    code = (
        "import os, sys, warnings, numpy, safetensors, threadpoolctl\n"
        "before = dict(os.environ), list(warnings.filters)\n"
        "import models, models.factory, models.options\n"
        "assert (dict(os.environ), list(warnings.filters)) == before\n"
        "assert 'paddle' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_no_file_of_models_is_long():
    for path in (ROOT / "models").rglob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 300, path
