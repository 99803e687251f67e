"""Every command in a document is one that the command line takes."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import pytest

from fireflow.host.cli import COMMANDS, main

ROOT = Path(__file__).resolve().parents[3]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def commands(document: Path) -> list[str]:
    """The lines of shell blocks that begin with `fireflow`, continued lines joined."""
    blocks = re.findall(r"```(?:sh|bash|console)\n(.*?)```", document.read_text(), flags=re.S)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip().startswith("fireflow ")]


CASES = [(document.name, line) for document in DOCUMENTS for line in commands(document)]


def test_there_are_commands() -> None:
    assert len(CASES) > 20
    assert len({shlex.split(line, comments=True)[1] for _name, line in CASES}) > 8


@pytest.mark.parametrize(("name", "line"), CASES)
def test_it_is_taken(name: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    command, *arguments = shlex.split(line.partition("|")[0], comments=True)[1:]
    assert command in COMMANDS, f"{name}: {line}"
    monkeypatch.setattr(importlib.import_module(f"fireflow.host.cli.{command}"), "run", lambda args: 0)
    assert main([command, *arguments]) == 0, f"{name}: {line}"
