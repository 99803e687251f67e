"""The files of a bundle's folder, as its manifest lists them: whole, unchanged, inside the folder."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Mapping

from fireflow.hw.errors import InputError
from fireflow.hw.files import MAX_JSON_BYTES, open_regular, parse_json, read_bytes, sha256_of
from fireflow.hw.names import check_name

SCHEMA = 1
SUFFIX = ".fire"
MANIFEST = "manifest.json"
BITSTREAM_RECORD = "bitstream.json"
"""The record of a bundle's bitstream: tools, times, clock, resources and checks, as the toolchain wrote it."""
MAX_FILES = 10_000
MAX_BYTES = 1 << 30
"""All files of a bundle together: a bitstream of the largest board has 2^24."""
# A bundle that is replaced while it is read is read again; so often it is replaced only on purpose.
_TRIES = 100


@dataclass(frozen=True)
class FileRecord:
    """What the manifest says of a file: 64 hexadecimal digits, and how many bytes."""

    sha256: str
    size_bytes: int

    def to_json(self) -> dict[str, Any]:
        return {"sha256": self.sha256, "size_bytes": self.size_bytes}


@dataclass(frozen=True)
class Contents:
    """A bundle's folder at one moment.

    Args:
        document: the manifest without its own hash.
        files: all that it lists, each of them compared with its hash.
        data: the bytes of some of them: those which were compared, so that nobody can change them in between.
    """

    document: Mapping[str, Any]
    files: Mapping[str, FileRecord]
    data: Mapping[str, bytes] = field(repr=False)


def render(document: Any) -> bytes:
    """JSON as bundles have it: the same value gives the same bytes."""
    return (json.dumps(document, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def seal(document: dict[str, Any]) -> dict[str, Any]:
    """Adds the hash of everything else, so that a change of the manifest itself shows."""
    return {**document, "sha256": hashlib.sha256(render(document)).hexdigest()}


def read_contents(folder: Path, limits: Mapping[str, int]) -> Contents:
    """Reads and checks a folder.

    Args:
        folder: the bundle.
        limits: files whose bytes are wanted where they are listed, and how many bytes each may have.

    Raises:
        InputError: no bundle; a newer schema; a file that is missing, changed, outside the folder or no regular file.
            Names the file.
    """
    for left in range(_TRIES, -1, -1):
        before = _identity(folder)
        try:
            return _read(folder, _manifest_bytes(folder), limits)
        except InputError:
            # Files of one bundle beside the manifest of another: somebody put a new one in its place. That may be the
            # same bundle again, so the manifest's bytes do not tell.
            if not left or _identity(folder) == before:
                raise
    raise AssertionError("the last try ends in a return or an error")


def open_listed(folder: Path, name: str, record: FileRecord) -> BinaryIO:
    """Opens a file that the manifest lists, for whoever compares what is read with the record.

    Raises:
        InputError: it lies outside the folder, also by way of a link, is missing, no regular file or of another size.
    """
    place, pure = folder / name, PurePosixPath(name)
    try:
        # resolve() follows symbolic links: a link may not lead out either.
        outside = pure.is_absolute() or ".." in pure.parts or "\\" in name or ":" in name
        outside = outside or folder.resolve() not in place.resolve().parents
    except (OSError, ValueError, RuntimeError):  # a name that no file can have; links in a circle
        outside = True
    if outside:
        raise InputError(
            f"{folder}/{MANIFEST}: files must lie inside the bundle, not at {name!r:.200}; do not trust it"
        )
    if not os.path.exists(str(place)):  # Path.exists raises where a name is too long
        raise InputError(f"{place}: the file must be there as the manifest says; get the bundle again")
    file = open_regular(place, MAX_BYTES)
    if file.seek(0, 2) != record.size_bytes:
        file.close()
        raise InputError(_changed(place))
    file.seek(0)
    return file


def copy_listed(folder: Path, name: str, record: FileRecord, target: Path) -> None:
    """Copies a file that the manifest lists. Raises InputError as `open_listed`, or where its content is another."""
    digest = hashlib.sha256()
    with open_listed(folder, name, record) as source, open(target, "wb") as sink:
        for block in iter(lambda: source.read(1 << 20), b""):
            digest.update(block)
            sink.write(block)
    if digest.hexdigest() != record.sha256:
        raise InputError(_changed(folder / name))


def read_listed(folder: Path, name: str, record: FileRecord) -> bytes:
    """The bytes of a file that the manifest lists. Raises InputError as `copy_listed`."""
    with open_listed(folder, name, record) as file:
        data = file.read(record.size_bytes + 1)
    if hashlib.sha256(data).hexdigest() != record.sha256:
        raise InputError(_changed(folder / name))
    return data


def _changed(place: Path) -> str:
    return f"{place}: must match the hash in the manifest, not be changed; get the bundle again"


def _identity(folder: Path) -> tuple[int, ...]:
    """Tells a folder, and the manifest in it, from what takes their place; empty where there is none."""
    try:
        found = [os.stat(str(place)) for place in (folder, folder / MANIFEST)]
    except (OSError, ValueError):
        return ()
    return tuple(number for stat in found for number in (stat.st_dev, stat.st_ino, stat.st_ctime_ns))


def _manifest_bytes(folder: Path) -> bytes:
    if not folder.is_dir():
        raise InputError(f"{folder}: a bundle must be a folder {SUFFIX}; run `fireflow lower` to make one")
    return read_bytes(folder / MANIFEST, MAX_JSON_BYTES)


def _read(folder: Path, manifest: bytes, limits: Mapping[str, int]) -> Contents:
    place = folder / MANIFEST
    document = parse_json(manifest, place)
    schema = document.get("schema") if isinstance(document, dict) else None
    if not isinstance(schema, int) or isinstance(schema, bool):
        raise InputError(f"{place}: schema must be a number, not {schema!r:.80}; get the bundle again")
    if schema > SCHEMA:
        raise InputError(f"{place}: schema must be at most {SCHEMA}, not {schema}; use a newer fireflow")
    content = {key: value for key, value in document.items() if key != "sha256"}
    if render(seal(content)) != manifest:
        raise InputError(f"{place}: must match its hash, not be changed; get the bundle again")
    files = _records(place, content.get("files"))
    data = {}
    for name, record in files.items():
        with open_listed(folder, name, record) as file:
            if name in limits:
                if record.size_bytes > limits[name]:
                    raise InputError(
                        f"{folder / name}: the file must have at most {limits[name]} bytes, not {record.size_bytes}; "
                        "get the bundle again"
                    )
                data[name] = file.read(record.size_bytes + 1)
                found = hashlib.sha256(data[name]).hexdigest()
            else:
                found = sha256_of(file)
        if found != record.sha256:
            raise InputError(_changed(folder / name))
    return Contents(content, files, data)


def _records(place: Path, listed: Any) -> dict[str, FileRecord]:
    if not isinstance(listed, dict) or len(listed) > MAX_FILES:
        raise InputError(
            f"{place}: files must be an object of at most {MAX_FILES} files; get the bundle again"
        )
    result = {}
    for name, record in listed.items():
        check_name(f"{place}: files", name)
        digest, size = (
            (record.get("sha256"), record.get("size_bytes")) if isinstance(record, dict) else (None, None)
        )
        if not isinstance(digest, str) or not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise InputError(f"{place}: {name} must have its sha256 and size_bytes; get the bundle again")
        result[name] = FileRecord(digest, size)
    total = sum(record.size_bytes for record in result.values())
    if total > MAX_BYTES:
        raise InputError(
            f"{place}: files must have at most {MAX_BYTES} bytes, not {total}; get the bundle again"
        )
    return result
