"""Files that appear whole or not at all, their hashes, and JSON with errors that name the file."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, Iterator, Union

from hw.errors import InputError

PathLike = Union[str, "os.PathLike[str]"]


@contextlib.contextmanager
def atomic_file(path: PathLike) -> Iterator[Path]:
    """Gives a temporary path beside `path`; renames it to `path` on success, removes it on any error.

    Args:
        path: the file to write; missing parent folders are made.

    Raises:
        InputError: `path` is a folder.
    """
    target = Path(path)
    if target.is_dir():
        raise InputError(f"{target}: the output must be a file, not a folder; give another name")
    target.parent.mkdir(parents=True, exist_ok=True)
    # A folder of our own: writers which append a suffix or write side files cannot leave anything behind.
    with _scratch(target) as folder:
        temporary = folder / target.name
        yield temporary
        os.replace(temporary, target)


@contextlib.contextmanager
def atomic_directory(path: PathLike) -> Iterator[Path]:
    """Gives an empty temporary folder beside `path`; it becomes `path` on success and goes on an error.

    A folder already at `path` stays as it is until the new one is complete, and is then replaced.

    Raises:
        InputError: `path` is a file.
    """
    target = Path(path)
    if target.exists() and not target.is_dir():
        raise InputError(f"{target}: the output must be a folder, not a file; give another name")
    target.parent.mkdir(parents=True, exist_ok=True)
    with _scratch(target) as folder:
        temporary = folder / "new"
        temporary.mkdir()
        yield temporary
        old = folder / "old"
        if target.exists():
            os.replace(target, old)
        try:
            os.replace(temporary, target)
        except BaseException:
            if old.exists():
                os.replace(old, target)
            raise


@contextlib.contextmanager
def _scratch(target: Path) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=str(target.parent)))
    try:
        yield folder
    finally:
        shutil.rmtree(str(folder), ignore_errors=True)


def sha256(path: PathLike) -> str:
    """The SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def read_json(path: PathLike) -> Any:
    """The JSON value in a file.

    Raises:
        InputError: the file is missing, unreadable or not JSON.
    """
    try:
        return json.loads(Path(path).read_bytes().decode("utf-8"))
    except OSError as error:
        raise InputError(f"{path}: the file must be readable, not {error.strerror}; check the path") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: the file must hold JSON ({error}); write it again") from None
