"""Files of pictures in a folder or a zip: which are pictures, which are left out, their bytes and fingerprints."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Dict, Iterable, Iterator, Mapping, Sequence

from fireflow.hw.errors import InputError
from fireflow.hw.images import ENDINGS, MAX_FILE_BYTES, check_bytes, read_rgb, why_not_read
from fireflow.hw.pixels import MAX_PIXELS, PictureError, told

VIDEOS = (".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v", ".mpg", ".mpeg", ".mjpeg", ".mjpg", ".ts")
OTHERS = frozenset(
    (
        *(
            ".jxl",
            ".jxr",
            ".svg",
            ".psd",
            ".xcf",
            ".ico",
            ".icns",
            ".tga",
            ".pcx",
            ".eps",
            ".pdf",
            ".exr",
            ".hdr",
        ),
        *(".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".dcm", ".npy", ".npz"),
        *VIDEOS,
    )
)
"""Endings of what its owner may take for a picture, and no reader here does."""
HIDDEN, IRREGULAR, MISSING = "hidden", "no regular file", "not in labels.csv"
# What systems put beside pictures: the copies of macOS, the thumbnails and the waste of network drives and Windows.
_OF_SYSTEMS = frozenset(("__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information"))
LeftOut = Dict[str, int]


@dataclass(frozen=True)
class Found:
    """The pictures among files.

    Args:
        names: of the pictures, in the order in which their files were given.
        left_out: how many were left out, by ending or by a word.
    """

    names: tuple[str, ...]
    left_out: LeftOut = field(default_factory=dict)


def find(names: Iterable[str], irregular: Iterable[str] = ()) -> Found:
    """Sorts out which of the files, named relative to their folder or zip, are pictures: the one rule of every door.

    Args:
        names: of regular files, with "/" between folders.
        irregular: of others, such as links to nothing.

    Raises:
        ImportError: Pillow, which tells what can be read, is not installed.
    """
    pictures: list[str] = []
    left_out: Counter[str] = Counter()
    for name in names:
        ending = PurePosixPath(name).suffix.lower()
        if ending not in ENDINGS and ending not in OTHERS:
            continue
        if is_hidden(name):
            left_out[HIDDEN] += 1
        elif ending in OTHERS or why_not_read(ending) is not None:
            left_out[ending] += 1
        else:
            pictures.append(name)
    left_out[IRREGULAR] += sum(PurePosixPath(name).suffix.lower() in ENDINGS for name in irregular)
    return Found(tuple(pictures), {kind: count for kind, count in left_out.items() if count})


def is_hidden(name: str) -> bool:
    """Whether a file or a folder on its way is hidden, or of the system rather than of the pictures' owner."""
    return any(part.startswith(".") or part in _OF_SYSTEMS for part in PurePosixPath(name).parts)


def add_left_out(counts: LeftOut, more: Mapping[str, int]) -> None:
    """Adds to what was left out."""
    for kind, count in more.items():
        counts[kind] = counts.get(kind, 0) + count


def left_out_line(left_out: Mapping[str, int]) -> str:
    """What was left out, for people: "left out: 3 .heic (needs pillow-heif), 2 hidden"; empty where nothing was."""
    if not left_out:
        return ""
    parts = []
    for kind, count in sorted(left_out.items(), key=lambda item: (-item[1], item[0])):
        why = why_not_read(kind) if kind in ENDINGS else None
        parts.append(f"{count} {kind}" + (f" ({why})" if why else ""))
    return "left out: " + ", ".join(parts)


def none_found(place: object, what: str, left_out: Mapping[str, int]) -> InputError:
    """The error of a folder or a zip without pictures."""
    line = left_out_line(left_out)
    none = f"none ({line})" if line else "none"
    return InputError(f"{place}: must hold at least one {what}, not {none}; add files ending in .jpg or .png")


class FolderSource:
    """Pictures in a folder, at any depth. Links to folders are followed, but never round in circles."""

    def __init__(self, root: Path) -> None:
        self.root, self.place = root, str(root)
        self.irregular: list[str] = []

    def listing(self) -> list[str]:
        """Every regular file, relative to the folder, sorted; `irregular` gets the others.

        Raises:
            InputError: a folder that cannot be read.
        """
        names: list[str] = []
        self.irregular = []
        try:
            for name, regular in _walk(self.root, "", ()):
                (names if regular else self.irregular).append(name)
        except OSError as error:
            raise InputError(
                f"{error.filename}: the folder must be readable, not {error.strerror}; check its permissions"
            ) from None
        return sorted(names)

    def find(self) -> Found:
        """The pictures."""
        return find(self.listing(), self.irregular)

    def read_bytes(self, name: str, max_bytes: int = MAX_FILE_BYTES) -> bytes:
        """A whole file."""
        path = self.root / name
        check_bytes(path.stat().st_size, max_bytes)
        return path.read_bytes()

    def read(self, name: str, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_FILE_BYTES) -> Any:
        """A picture, RGB. Raises PictureError."""
        return read_rgb(self.root / name, max_pixels, max_bytes)

    def fingerprint(self, names: Sequence[str]) -> str:
        """Changes when any of these pictures changes, by its size or its time."""
        stats = ((name, (self.root / name).stat()) for name in names)
        return digest([str(self.root.resolve())], ((name, s.st_size, s.st_mtime_ns) for name, s in stats))


def _walk(folder: Path, prefix: str, above: tuple[tuple[int, int], ...]) -> Iterator[tuple[str, bool]]:
    """Names of the files below a folder, each with whether it is a regular one."""
    here = folder.stat()
    above = (*above, (here.st_dev, here.st_ino))
    with os.scandir(folder) as entries:
        for entry in entries:
            name = prefix + entry.name
            try:
                place = entry.stat() if entry.is_dir() else None
                regular = entry.is_file()
            except OSError:  # a link that leads to itself
                place, regular = None, False
            if place is None:
                yield name, regular
            elif (place.st_dev, place.st_ino) not in above:
                yield from _walk(folder / entry.name, name + "/", above)


class ZipSource:
    """Pictures in a zip file, read in memory and never extracted."""

    irregular: Sequence[str] = ()

    def __init__(self, path: Path) -> None:
        self.path, self.place = path, str(path)
        self._opened: tuple[int, zipfile.ZipFile] | None = None

    def _archive(self) -> zipfile.ZipFile:
        # Workers that were forked must not share a file position with their parent.
        if self._opened is None or self._opened[0] != os.getpid():
            try:
                self._opened = os.getpid(), zipfile.ZipFile(self.path)
            except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
                raise InputError(f"{self.path}: must be a whole zip file ({error}); copy it again") from None
        return self._opened[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}

    def close(self) -> None:
        """Closes the file; a later call opens it again."""
        if self._opened is not None:
            self._opened[1].close()
            self._opened = None

    def listing(self) -> list[str]:
        """Every member that is a file, in the order of the zip. One without a name is none."""
        names = (member.filename for member in self._archive().infolist())
        return [name for name in names if name and not name.endswith("/")]

    def find(self) -> Found:
        """The pictures."""
        return find(self.listing())

    def read_bytes(self, name: str, max_bytes: int = MAX_FILE_BYTES) -> bytes:
        """A whole member. Raises PictureError where it is damaged or too large."""
        check_bytes(self._archive().getinfo(name).file_size, max_bytes)
        try:
            return self._archive().read(name)
        except Exception as error:  # the decompressors raise nearly anything on damaged bytes
            raise PictureError(told(error)) from None

    def read(self, name: str, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_FILE_BYTES) -> Any:
        """A picture, RGB. Raises PictureError."""
        return read_rgb(self.read_bytes(name, max_bytes), max_pixels, max_bytes)

    def fingerprint(self, names: Sequence[str]) -> str:
        """Changes when any of these pictures changes, by its size or its check sum."""
        members = (self._archive().getinfo(name) for name in names)
        return digest([], ((m.filename, m.file_size, m.CRC) for m in members))


def digest(start: list[str], facts: Iterator[tuple[Any, ...]]) -> str:
    """SHA-256 of facts."""
    digest = hashlib.sha256(repr(start).encode())
    for fact in facts:
        digest.update(repr(fact).encode())
    return digest.hexdigest()
