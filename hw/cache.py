"""What tools made, kept by the content it was made from."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, Callable, Iterable

from fireflow.hw.errors import InputError
from fireflow.hw.files import atomic_directory, atomic_file, read_tool_json, sha256

LOCKS = ".locks"
"""In each cache, for each entry: an empty file that processes lock while they make it, and the entry's seal."""
_HASHED_BYTES = 1 << 26
"""Up to this size a file's content is compared; of larger ones, such as a million pictures, only the size."""


def cache_folder(tool: str) -> Path:
    """$XDG_CACHE_HOME/fireflow/TOOL, or that below ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "fireflow" / tool


def made_once(folder: Path, whole: str, make: Callable[[Path], None]) -> Path:
    """`folder`, made if it is not there; of processes that want it at once, one makes it and the others wait.

    What is there counts only if it is as it was made: an entry with a file that is missing, cut or changed, such as a
    machine leaves that stopped while it wrote, is made again.

    Args:
        folder: a place in a cache, named by what it is made from.
        whole: a file that a folder has if it is whole.
        make: fills an empty folder, which becomes `folder`; what it raises leaves nothing behind.
    """
    seal = folder.parent / LOCKS / f"{folder.name}.json"
    if not _is_whole(folder, whole, seal):
        # Here, since a board has NumPy alone.
        from filelock import FileLock

        seal.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(seal.parent / folder.name):
            if not _is_whole(folder, whole, seal):
                seal.unlink(missing_ok=True)
                with atomic_directory(folder) as temporary:
                    make(temporary)
                    files = listing(temporary)
                with atomic_file(seal) as temporary:
                    temporary.write_text(json.dumps(files))
    return folder


def listing(folder: Path) -> dict[str, list[Any]]:
    """What each file in a folder is: its size in bytes, and the SHA-256 of its content unless it is large."""
    result: dict[str, list[Any]] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            size = path.stat().st_size
            result[path.relative_to(folder).as_posix()] = [
                size,
                sha256(path) if size <= _HASHED_BYTES else None,
            ]
    return result


def is_as_listed(folder: Path, files: Any) -> bool:
    """Whether the files in a folder are those of a `listing`; others do not count."""
    if not isinstance(files, dict):
        return False
    try:
        for name, known in files.items():
            size, digest = known
            path = folder / name
            if path.stat().st_size != size or (digest is not None and sha256(path) != digest):
                return False
    except (OSError, TypeError, ValueError):
        return False
    return True


def _is_whole(folder: Path, whole: str, seal: Path) -> bool:
    try:
        files = read_tool_json(seal)
    except InputError:  # none, or a damaged one
        return False
    return isinstance(files, dict) and whole in files and is_as_listed(folder, files)


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
