"""No module of mien imports itself through others, type-checking and lazy imports included."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import mien

ROOT = Path(mien.__file__).parent


def imported_modules(source: str, modules: set[str]) -> set[str]:
    """Return those of `modules` that a module's source imports anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in modules else node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & modules


def import_graph() -> dict[str, set[str]]:
    """Return every module of mien with the modules of mien that it imports."""
    files = {}
    for file in ROOT.rglob("*.py"):
        parts = file.relative_to(ROOT.parent).with_suffix("").parts
        files[".".join(parts).removesuffix(".__init__")] = file
    return {
        name: imported_modules(file.read_text("utf-8"), set(files)) - {name}
        for name, file in files.items()
    }


def find_circle(graph: dict[str, set[str]]) -> list[str]:
    """Return the modules of one import circle, the first again at its end; empty without one."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_import_circle() -> None:
    assert find_circle(import_graph()) == []


@pytest.mark.parametrize(
    "source",
    [
        "from b import x",
        "import b",
        "def f():\n    from b import x",
        "if TYPE_CHECKING:\n    import b",
    ],
)
def test_a_circle_is_found_wherever_the_import_stands(source: str) -> None:
    graph = {"a": imported_modules(source, {"a", "b"}), "b": {"a"}}

    assert set(find_circle(graph)) == {"a", "b"}
