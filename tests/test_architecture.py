"""Imports run one way, and torch stays in its few places. Keeps the diagram of ARCHITECTURE.md true."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import fireact

ROOT = Path(fireact.__file__).parent
ROWS = (
    {"errors", "memory"},
    {"trajectory", "config"},
    {"world"},
    {"metrics", "statistics", "runs", "dialects", "progress", "money", "cache"},
    {"methods", "tasks", "tools", "models", "encoding", "formats"},
    {"rollout", "serving"},
    {"stages"},
    {"cli"},
    {"__main__"},
)
"""A room imports only rooms of the rows above its own."""
HEAVY = {"torch", "transformers", "peft", "accelerate", "safetensors", "tokenizers"}
HEAVY_MODULES = {
    "models/kv_cache.py",
    "models/known.py",
    "models/local.py",
    "models/decoder.py",
    "models/attention.py",
    "encoding/pack.py",
    "serving/merge.py",
    "stages/finetune.py",
    "world/pretrain.py",
}
REPORT_PACKAGES = {"matplotlib", "jinja2"}
MODULES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))


def room(module: str) -> str:
    return module.split("/")[0].removesuffix(".py")


def row(name: str) -> int:
    return next(index for index, rooms in enumerate(ROWS) if name in rooms)


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "fireact":
            yield from (f"fireact.{name.name}" for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def parse(module: str) -> ast.Module:
    return ast.parse((ROOT / module).read_text(encoding="utf-8"))


def own_rooms(module: str) -> set[str]:
    names = [name.split(".") for name in imported(parse(module))]
    rooms = set().union(*ROWS)
    return {parts[1] for parts in names if parts[0] == "fireact" and len(parts) > 1} & rooms


def deferred(module: str) -> list[str]:
    functions = (node for node in ast.walk(parse(module)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return [name for function in functions for name in imported(function)]


def outside(module: str) -> set[str]:
    return {name.split(".")[0] for name in imported(parse(module))}


def test_the_modules_are_found():
    assert len(MODULES) >= 25
    assert {"errors.py", "cli.py", "stages/mix.py", "dialects/react_text.py"} <= set(MODULES)


def test_every_room_has_a_row():
    rooms = {room(module) for module in MODULES} - {"__init__"}
    assert rooms == set().union(*ROWS)


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_one_way(module):
    own = room(module)
    if own == "__init__":
        assert own_rooms(module) == set()
        return
    sideways = {other for other in own_rooms(module) - {own} if row(other) >= row(own)}
    assert sideways == set()


@pytest.mark.parametrize("module", MODULES)
def test_heavy_packages_stay_in_their_places(module):
    assert module in HEAVY_MODULES or not outside(module) & HEAVY


@pytest.mark.parametrize("module", MODULES)
def test_the_packages_of_the_report_are_imported_by_the_report_alone(module):
    assert module == "stages/report.py" or not outside(module) & REPORT_PACKAGES


@pytest.mark.parametrize("module", MODULES)
def test_our_own_modules_are_imported_late_only_for_torch(module):
    late = {name for name in deferred(module) if name.split(".")[0] == "fireact"}
    heavy = {"fireact." + name.removesuffix(".py").replace("/", ".") for name in HEAVY_MODULES}
    assert late <= heavy


@pytest.mark.parametrize("module", MODULES)
def test_every_module_says_what_it_is_for(module):
    assert ast.get_docstring(parse(module))


def test_the_command_line_starts_without_heavy_packages():
    heavy = sorted(HEAVY | REPORT_PACKAGES)
    code = f"import sys, fireact.cli; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
