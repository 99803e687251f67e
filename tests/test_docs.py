"""The documents: every link inside the repository leads somewhere."""

from __future__ import annotations

import ast
import importlib
import re
from dataclasses import fields
from pathlib import Path

import pytest

import fireflow
from fireflow.hw.ops import Op

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_LINK = re.compile(r"\]\(([^)\s]+)\)")
MOST_LINES = 120


def anchors(path: Path) -> set[str]:
    """The anchors of the headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", path.read_text(), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for link in _LINK.findall(document.read_text()):
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = link.partition("#")
        target = document.parent / name if name else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_readme_leads_to_every_document_and_is_short() -> None:
    readme = (ROOT / "README.md").read_text()
    assert len(readme.splitlines()) <= MOST_LINES
    reached, pending = set[str](), [ROOT / "README.md"]
    while pending:
        document = pending.pop()
        for link in _LINK.findall(document.read_text()):
            target = document.parent / link.partition("#")[0]
            if target.suffix == ".md" and target.name not in reached:
                reached.add(target.name)
                pending.append(target)
    assert {path.name for path in DOCUMENTS[1:]} <= reached


def test_files_that_are_named_are_there() -> None:
    """A path of a file of ours in backquotes, `hw/graph.py`; one in capitals, `hw/ops/NAME.py`, is yet to be."""
    named = re.compile(r"`((?:fireflow|quant|hw|host|tests|scripts|notebooks)/[a-z0-9_/.-]*)`")
    count = 0
    for document in [*DOCUMENTS, ROOT / "CONTRIBUTING.md"]:
        for path in named.findall(document.read_text()):
            count += 1
            assert (ROOT / path).exists(), f"{document.name}: {path} is not there"
    assert count > 20


def test_the_specification_of_the_graph_has_every_operation_and_field() -> None:
    text = (ROOT / "docs" / "graph.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \|[^|]*\|([^|]*)\|", text, flags=re.M))
    assert set(rows) == set(Op.kinds)
    for kind, said in rows.items():
        named = re.findall(r"`(\w+)`", said)
        assert set(named) == {field.name for field in fields(Op.kinds[kind])}, kind


def test_the_pages_of_the_site_are_the_documents() -> None:
    listed = re.findall(r"[\w-]+\.md", (ROOT / "mkdocs.yml").read_text())
    assert sorted(listed) == sorted(path.name for path in (ROOT / "docs").glob("*.md"))


def test_examples_import_what_is_there() -> None:
    """The names that the examples in documents import, and those they take from `fireflow`."""
    count = 0
    for document in DOCUMENTS:
        for block in re.findall(r"```python\n(.*?)```", document.read_text(), flags=re.S):
            for node in ast.walk(ast.parse(block)):
                if isinstance(node, ast.ImportFrom):
                    module = importlib.import_module(node.module or "")
                    assert all(hasattr(module, alias.name) for alias in node.names), (
                        f"{document.name}: {node.module}"
                    )
                    count += 1
                elif isinstance(node, ast.Import):
                    assert all(importlib.import_module(alias.name) for alias in node.names)
                    count += 1
                elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "fireflow":
                    assert hasattr(fireflow, node.attr), f"{document.name}: fireflow.{node.attr}"
    assert count > 5
