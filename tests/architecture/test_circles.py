"""No circular imports, neither between modules nor between folders.

This includes imports inside functions and for type checkers.
"""

import ast
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"

Graph = Mapping[str, set[str]]


def circles(graph: Graph) -> list[list[str]]:
    """Return the strongly connected components with more than one node (Tarjan 1972), each sorted."""
    found: list[list[str]] = []
    index: dict[str, int] = {}
    lowest: dict[str, int] = {}
    path: list[str] = []

    def visit(node: str) -> None:
        index[node] = lowest[node] = len(index)
        path.append(node)
        for other in sorted(graph.get(node, ())):
            if other not in index:
                visit(other)
                lowest[node] = min(lowest[node], lowest[other])
            elif other in path:
                lowest[node] = min(lowest[node], index[other])
        if lowest[node] == index[node]:
            place = path.index(node)
            component = path[place:]
            del path[place:]
            if len(component) > 1:
                found.append(sorted(component))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return found


def imported(source: str, modules: Iterable[str]) -> set[str]:
    """Return those of `modules` that a source text imports, at any place."""
    known, found = set(modules), set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module:
            named = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (named & known) or {node.module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & known


def module_graph() -> Graph:
    files = {}
    for file in (SOURCE / "backctl").rglob("*.py"):
        name = ".".join(file.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
        files[name] = file.read_text(encoding="utf-8")
    return {name: imported(text, files) - {name} for name, text in files.items()}


def folder_graph(modules: Graph, package: str) -> Graph:
    """Return the imports between the folders and single modules of a package."""

    def part(module: str) -> str:
        return module.removeprefix(f"{package}.").partition(".")[0]

    graph: dict[str, set[str]] = {}
    for name, others in modules.items():
        if name.startswith(f"{package}."):
            inside = {part(other) for other in others if other.startswith(f"{package}.")}
            graph.setdefault(part(name), set()).update(inside - {part(name)})
    return graph


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        ({"a": {"b"}, "b": {"c"}, "c": set()}, []),
        ({"a": {"b"}, "b": {"a"}}, [["a", "b"]]),
        ({"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set()}, [["a", "b", "c"]]),
        ({"a": {"b"}, "b": {"a"}, "c": {"d"}, "d": {"c"}}, [["a", "b"], ["c", "d"]]),
    ],
)
def test_circles_are_found(graph: Graph, expected: list[list[str]]) -> None:
    assert sorted(circles(graph)) == expected


def test_imports_are_found_wherever_they_stand() -> None:
    text = "import p.a\nif TYPE_CHECKING:\n    from p import b\ndef f():\n    from p.c import x\n"
    assert imported(text, ["p", "p.a", "p.b", "p.c", "p.d"]) == {"p.a", "p.b", "p.c"}


def test_no_modules_import_one_another() -> None:
    graph = module_graph()
    assert len(graph) > 100
    assert circles(graph) == []


@pytest.mark.parametrize("package", ["backctl.infrastructure", "backctl"])
def test_no_folders_import_one_another(package: str) -> None:
    graph = folder_graph(module_graph(), package)
    assert len(graph) > 5
    assert circles(graph) == []
