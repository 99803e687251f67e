"""What tools made, kept by the content it was made from."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Iterable


def cache_folder(tool: str) -> Path:
    """$XDG_CACHE_HOME/fireflow/TOOL, or that below ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "fireflow" / tool


def content_key(parts: Iterable[str | Path]) -> str:
    """A name for what follows from these texts and files alone; of a file its name and its bytes count.

    >>> content_key(["a", "b"]) == content_key(["ab", ""])
    False
    """
    digest = hashlib.sha256()
    for part in parts:
        name, content = (part.name, part.read_bytes()) if isinstance(part, Path) else ("", part.encode())
        digest.update(len(name).to_bytes(8, "little") + name.encode())
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()[:32]
