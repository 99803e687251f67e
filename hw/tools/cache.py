"""What tools made, kept by the content it was made from."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Callable, Iterable

from hw.files import atomic_directory

LOCKS = ".locks"
"""In each cache: empty files, one for each entry, that processes lock while they make it."""


def cache_folder(tool: str) -> Path:
    """$XDG_CACHE_HOME/fireflow/TOOL, or that below ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "fireflow" / tool


def made_once(folder: Path, whole: str, make: Callable[[Path], None]) -> Path:
    """`folder`, made if it is not there; of processes that want it at once, one makes it and the others wait.

    Args:
        folder: a place in a cache, named by what it is made from.
        whole: a file that a folder has if it is whole.
        make: fills an empty folder, which becomes `folder`; what it raises leaves nothing behind.
    """
    if not (folder / whole).is_file():
        # Here, since a board has NumPy alone and `doctor` asks there where caches are.
        from filelock import FileLock

        locks = folder.parent / LOCKS
        locks.mkdir(parents=True, exist_ok=True)
        with FileLock(locks / folder.name):
            if not (folder / whole).is_file():
                with atomic_directory(folder) as temporary:
                    make(temporary)
    return folder


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
