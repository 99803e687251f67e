"""No module of ours imports itself by way of others, in functions neither."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.test_structure import imports

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = {"fireflow": "fireflow", "quant": "fireflow.quant", "hw": "fireflow.hw", "host": "fireflow.host"}


def modules() -> dict[str, Path]:
    """Every module of the package by its full name."""
    found = {}
    for folder, package in FOLDERS.items():
        for path in (ROOT / folder).rglob("*.py"):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            if folder == "fireflow" and parts[0] in FOLDERS:
                continue  # a link to a folder beside it
            found[".".join((package, *(part for part in parts if part != "__init__")))] = path
    return found


def cycles(edges: dict[str, set[str]]) -> Iterator[list[str]]:
    """The sets of modules that reach each other, by Tarjan's algorithm.

    >>> list(cycles({"a": {"b"}, "b": {"c"}, "c": {"b"}}))
    [['b', 'c']]
    """
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []

    def visit(name: str) -> Iterator[list[str]]:
        number[name] = lowest[name] = len(number)
        stack.append(name)
        for other in sorted(edges[name]):
            if other not in number:
                yield from visit(other)
                lowest[name] = min(lowest[name], lowest[other])
            elif other in stack:
                lowest[name] = min(lowest[name], number[other])
        if lowest[name] == number[name]:
            component = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(component) > 1:
                yield sorted(component)

    for name in sorted(edges):
        if name not in number:
            yield from visit(name)


def test_a_cycle_is_found() -> None:
    assert list(cycles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}})) == [["b", "c"]]
    assert not list(cycles({"a": {"b", "c"}, "b": {"c"}, "c": set()}))


def test_no_import_cycle() -> None:
    known = modules()
    assert {"fireflow", "fireflow.hw.graph", "fireflow.host.driver", "fireflow.quant.train"} <= set(known)
    edges = {name: {used for used in imports(path) if used in known} for name, path in known.items()}
    for name, used in edges.items():
        used.discard(name)
    assert sum(map(len, edges.values())) > len(edges)
    assert not list(cycles(edges))


def test_imports_are_absolute_and_named() -> None:
    for path in modules().values():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, path
                assert all(alias.name != "*" for alias in node.names), path
