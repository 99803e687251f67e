"""The model card: what it holds, and how it reads."""

from __future__ import annotations

import datetime
import sys
from pathlib import Path
from typing import Any, Mapping

from fireflow.hw.errors import InputError
from fireflow.hw.files import atomic_file, sha256

_TOOLS = ("fireflow", "numpy", "torch", "brevitas", "onnx", "qonnx", "finn-plus")
MODEL_CARD = "MODEL_CARD.md"


def tool_versions() -> dict[str, str]:
    """Name and version of each tool that can have had a part in a model, Python included."""
    versions = {"python": "{}.{}.{}".format(*sys.version_info[:3])}
    for tool in _TOOLS:
        found = version_of(tool)
        if found is not None:
            versions[tool] = found
    return versions


def version_of(distribution: str) -> str | None:
    """The version of an installed distribution, None if it is not installed."""
    from importlib import metadata

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def source_record(path: Path) -> dict[str, str]:
    """A file that a model was made from: its name and its hash."""
    return {"file": path.name, "sha256": sha256(path)}


def new_card(name: str, command: str, **facts: Any) -> dict[str, Any]:
    """A card of a model made now."""
    now = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
    return {"name": name, "made_by": command, "made_at": now.isoformat(), **facts, "tools": tool_versions()}


def render_card(card: Mapping[str, Any]) -> str:
    """A card as Markdown: a heading, and nested lists."""
    return "\n".join([f"# {card.get('name', 'Model')}", "", *_lines(card, 0), ""])


def write_card(card: Mapping[str, Any], path: Path) -> None:
    """Writes the card as Markdown."""
    with atomic_file(path) as temporary:
        temporary.write_text(render_card(card), encoding="utf-8")


def check_card_file(path: Path) -> None:
    """That a card may be written there: the one that is there, if any, was written by `write_card`.

    Raises:
        InputError: it is somebody's own text, or no file.
    """
    if not path.exists():
        return
    if not path.is_file() or "- made by: fireflow" not in path.read_text(encoding="utf-8", errors="replace"):
        raise InputError(f"{path}: must be a card of fireflow to be replaced, not another text; rename it")


def _lines(value: Mapping[str, Any], depth: int) -> list[str]:
    lines = []
    for key, item in value.items():
        if depth == 0 and key == "name":
            continue
        head = f"{'  ' * depth}- {key.replace('_', ' ')}:"
        if isinstance(item, Mapping):
            lines += [head, *_lines(item, depth + 1)]
        elif isinstance(item, (list, tuple)) and any(isinstance(part, Mapping) for part in item):
            lines += [head, *(line for part in item for line in _lines(part, depth + 1))]
        else:
            text = ", ".join(map(str, item)) if isinstance(item, (list, tuple)) else str(item)
            lines.append(f"{head} {text}")
    return lines
