"""Files that appear whole or not at all, their hashes, and reading that a hostile file cannot make expensive."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Any, BinaryIO, Iterator, Union

from fireflow.hw.errors import InputError
from fireflow.hw.exchange import replace_folder

PathLike = Union[str, "os.PathLike[str]"]

MAX_JSON_BYTES = 1 << 22
"""A JSON file from anybody; a manifest with the labels of 20,000 classes has a quarter of that."""
MAX_JSON_DEPTH = 64
MAX_JSON_DIGITS = 400
"""Digits of a number; Python's own limit, where it has one, is higher, and converting takes time by its square."""
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


# --- writing ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def atomic_file(path: PathLike) -> Iterator[Path]:
    """Gives a temporary path beside `path`; renames it to `path` on success, removes it on any error.

    What was written is on the disk before it gets its name: a machine that stops leaves the old file or the new one.

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
        _to_disk(temporary)
        os.replace(temporary, target)
        _to_disk(target.parent)


@contextlib.contextmanager
def atomic_directory(path: PathLike, durable: bool = False) -> Iterator[Path]:
    """Gives an empty temporary folder beside `path`; it becomes `path` on success and goes on an error.

    A folder already at `path` stays as it is until the new one is complete. Where the system can exchange two names
    (Linux), whoever looks finds the old folder or the new one at any time; elsewhere `path` is missing for the time
    between two renames.

    Args:
        durable: what was written is on the disk before the folder gets its name.

    Raises:
        InputError: `path` is a file.
    """
    target = Path(path)
    if _is_file(target):
        raise InputError(f"{target}: the output must be a folder, not a file; give another name")
    target.parent.mkdir(parents=True, exist_ok=True)
    with _scratch(target) as folder:
        temporary = folder / "new"
        temporary.mkdir()
        yield temporary
        if durable:
            for place in (*temporary.rglob("*"), temporary):
                _to_disk(place)
        replace_folder(temporary, target, folder / "old")
        if durable:
            _to_disk(target.parent)


def _is_file(path: Path) -> bool:
    """Whether something that is no folder is there, in one look: another process may put a folder there meanwhile."""
    try:
        return not stat.S_ISDIR(os.stat(str(path)).st_mode)
    except OSError:
        return False


@contextlib.contextmanager
def _scratch(target: Path) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=str(target.parent)))
    try:
        yield folder
    finally:
        shutil.rmtree(str(folder), ignore_errors=True)


def _to_disk(path: Path) -> None:
    """Waits until a file's bytes, or a folder's names, are on the disk; some file systems cannot say."""
    with contextlib.suppress(OSError):
        number = os.open(str(path), os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        try:
            os.fsync(number)
        finally:
            os.close(number)


# --- names ---


def stem_of(path: Path) -> str:
    """The name of a model without the endings this project gives: squeezenet.qonnx.onnx -> squeezenet."""
    name = path.name
    for ending in (".fireq", ".qonnx.onnx", ".onnx", ".fire"):
        if name.endswith(ending):
            return name[: -len(ending)]
    return path.stem


def check_suffix(path: Path, ending: str) -> Path:
    """The output path, if its name ends as it must.

    Raises:
        InputError: it does not.
    """
    if not path.name.endswith(ending) or path.name == ending:
        raise InputError(f"{path}: the output must be called NAME{ending}, not {path.name}; rename it")
    return path


# --- reading ------------------------------------------------------------------------------------------------


def open_regular(path: PathLike, max_bytes: int) -> BinaryIO:
    """Opens a file for reading that may be anybody's: never a pipe or a device, and never larger than `max_bytes`.

    Raises:
        InputError: it is missing, unreadable, no regular file, or larger.
    """
    try:
        # Without O_NONBLOCK the opening of a pipe waits for somebody to write.
        number = os.open(
            os.fspath(path), os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        )
    except OSError as error:
        raise InputError(f"{path}: the file must be readable, not {error.strerror}; check the path") from None
    except ValueError:  # a NUL in the path
        raise InputError(
            f"{str(path)!r}: the file must have a name that a file can have; check the path"
        ) from None
    try:
        found = os.fstat(number)
        if not stat.S_ISREG(found.st_mode):
            raise InputError(f"{path}: must be a file, not a folder, pipe or device; check the path")
        if found.st_size > max_bytes:
            raise InputError(
                f"{path}: the file must have at most {max_bytes} bytes, not {found.st_size}; check the path"
            )
        return os.fdopen(number, "rb")
    except BaseException:
        os.close(number)
        raise


def read_bytes(path: PathLike, max_bytes: int) -> bytes:
    """The bytes of a file that may be anybody's. Raises InputError as `open_regular`."""
    with open_regular(path, max_bytes) as file:
        # Never asks for more room than there is, and one byte more to see the end.
        data = file.read(os.fstat(file.fileno()).st_size + 1)
        while len(data) <= max_bytes and (more := file.read(1 << 16)):
            data += more
    if len(data) > max_bytes:  # it grew meanwhile, or is a file of the kernel's that gives no size
        raise InputError(f"{path}: the file must have at most {max_bytes} bytes, not more; check the path")
    return data


def sha256(path: PathLike) -> str:
    """The SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return sha256_of(file)


def sha256_of(file: BinaryIO) -> str:
    """The SHA-256 of what is left of an open file, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for block in iter(lambda: file.read(1 << 20), b""):
        digest.update(block)
    return digest.hexdigest()


def read_json(path: PathLike, max_bytes: int = MAX_JSON_BYTES) -> Any:
    """The JSON value in a file that may be anybody's.

    Raises:
        InputError: the file is missing, unreadable, no regular file or too large, or as `parse_json`.
    """
    return parse_json(read_bytes(path, max_bytes), path)


def parse_json(data: bytes, place: object, advice: str = "write it again") -> Any:
    """A JSON value as RFC 8259 has it, which leaves no doubt.

    Args:
        data: UTF-8.
        place: the file, for messages.
        advice: what to do about a bad one.

    Raises:
        InputError: no JSON; a key that an object has twice; NaN and infinities, which are no JSON; numbers and nesting
            beyond all use; half a surrogate pair, which is no text.
    """
    try:
        text = data.decode("utf-8")
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_float=_float,
            parse_int=_whole,
        )
        _check_depth(value)
        if _SURROGATE.search(data):
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        return value
    except (ValueError, RecursionError) as error:
        raise InputError(f"{place}: the file must hold JSON ({error}); {advice}") from None


def read_tool_json(path: PathLike) -> Any:
    """The JSON value in a file that a tool wrote on this machine: of any size, and as Python reads it.

    Raises:
        InputError: the file is missing, unreadable or not JSON.
    """
    try:
        return json.loads(Path(path).read_bytes().decode("utf-8"))
    except OSError as error:
        raise InputError(f"{path}: the file must be readable, not {error.strerror}; check the path") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: the file must hold JSON ({error}); write it again") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"an object has the key {key[:80]!r} twice")
        result[key] = value
    return result


def _constant(text: str) -> Any:
    raise ValueError(f"{text} is no number of JSON's")


def _float(text: str) -> float:
    value = float(text) if len(text) <= MAX_JSON_DIGITS else math.inf
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:40]} is too large")
    return value


def _whole(text: str) -> int:
    if len(text) > MAX_JSON_DIGITS:
        raise ValueError(f"a number has {len(text)} digits")
    return int(text)


def _check_depth(value: Any) -> None:
    """Raises ValueError where values lie too deep in each other: what walks through them could not come back."""
    level = [value]
    for _depth in range(MAX_JSON_DEPTH):
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below += item.values()
            elif isinstance(item, list):
                below += item
        if not below:
            return
        level = below
    raise ValueError(f"values lie more than {MAX_JSON_DEPTH} deep in each other")
