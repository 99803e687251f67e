"""Pictures with labels, from folders, zip files and arrays.

A picture is decoded when it is asked for. Indexing raises `DamagedImage` for a damaged one, but
`ImageSet.images` and `quant.decoded.decode_to_array` skip it. Either way `ImageSet.damaged` names it and says
what is wrong.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import os
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from hw.classes import ClassMatch, ImageClass, folder_class, match_classes
from hw.errors import InputError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".gif", ".tif", ".tiff")
MAX_PIXELS = 1 << 26
"""A picture of more pixels is refused before it is decoded (a decompression bomb, or a mistake)."""
MAX_ASPECT = 100
"""Resizing the shorter side of a longer strip to 256 would give an absurd picture."""
MAX_FILE_BYTES = 1 << 27
LABELS = "labels.csv"


class DamagedImage(InputError):
    """A picture that cannot be decoded; the message names it."""


class Source(Protocol):
    """Where the bytes of pictures are."""

    place: str

    def read(self, name: str) -> Image.Image:
        """The picture, opened but perhaps not yet decoded."""

    def fingerprint(self, names: Sequence[str]) -> str:
        """Changes when any of these pictures changes; cheap, so from sizes and checksums at hand."""


class ImageSet:
    """A sequence of RGB pictures, with labels where there are any.

    Args:
        source: reads a picture by its name.
        names: in order.
        labels: position in `classes` per picture, or None.
        classes: in the order of labels.csv's numbers or of the folders' names; empty without labels.
        columns: further columns of labels.csv, by their heading.
    """

    def __init__(
        self,
        source: Source,
        names: Sequence[str],
        labels: Sequence[int] | None = None,
        classes: Sequence[ImageClass] = (),
        columns: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        if not names:
            raise InputError(
                f"{source.place}: must hold at least one image, not none; add files ending in .jpg or .png"
            )
        self.source = source
        self.names = tuple(names)
        self.labels = None if labels is None else tuple(labels)
        self.classes = tuple(classes)
        self.columns = {heading: tuple(column) for heading, column in (columns or {}).items()}
        self._damaged: dict[str, str] = {}

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, by label."""
        return tuple(c.name for c in self.classes)

    @property
    def damaged(self) -> list[tuple[str, str]]:
        """(name, what is wrong) of every damaged picture met so far; `verify` meets them all."""
        return list(self._damaged.items())

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, position: int) -> Image.Image:
        """The picture, RGB. Raises DamagedImage if it cannot be decoded."""
        name = self.names[position]
        try:
            image = self.source.read(name)
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise ValueError(f"{width}x{height} is more than {MAX_PIXELS} pixels")
            if max(width, height) > MAX_ASPECT * min(width, height):
                raise ValueError(f"{width}x{height} is longer than {MAX_ASPECT} times its shorter side")
            return image.convert("RGB")
        except UnidentifiedImageError:
            self._damaged[name] = "no known image format"
        except Exception as error:  # Pillow's decoders raise nearly anything on damaged bytes
            self._damaged[name] = " ".join(str(error).split()) or type(error).__name__
        raise DamagedImage(
            f"{self.source.place}: {name}: must be a picture that can be decoded, "
            f"not damaged ({self._damaged[name]}); replace or remove it"
        )

    def note_damaged(self, entries: Iterable[tuple[str, str]]) -> None:
        """Adds what is known of damaged pictures from an earlier look at them."""
        self._damaged.update((name, reason) for name, reason in entries)

    def images(self) -> Iterator[tuple[int, Image.Image]]:
        """(position, picture) of every picture that can be decoded, in order."""
        for position in range(len(self)):
            with contextlib.suppress(DamagedImage):
                yield position, self[position]

    def verify(self) -> ImageSet:
        """Decodes every picture once; gives the set without the damaged ones, which `damaged` then lists."""
        good = [position for position, _ in self.images()]
        return self if len(good) == len(self) else self.select(good)

    def select(self, positions: Sequence[int]) -> ImageSet:
        """The pictures at these positions. The classes stay, even those that no picture is left of."""
        chosen = ImageSet(
            self.source,
            [self.names[p] for p in positions],
            None if self.labels is None else [self.labels[p] for p in positions],
            self.classes,
            {heading: [column[p] for p in positions] for heading, column in self.columns.items()},
        )
        chosen._damaged = dict(self._damaged)
        return chosen

    def without(self, names: Sequence[str] | set[str] | frozenset[str]) -> ImageSet:
        """The set without the pictures of these file names, folders and extensions not counted.

        That is how a picture is recognised in two data sets, to keep what is measured out of what is trained
        on: ``train.without(validation.names)``.
        """
        unwanted = {_stem(name) for name in names}
        return self.select([p for p, name in enumerate(self.names) if _stem(name) not in unwanted])

    def match(self, num_classes: int, labels: Sequence[str] = ()) -> ClassMatch:
        """Finds the classes among those of a network, by identity (see `hw.classes`).

        Args:
            num_classes: of the network.
            labels: the names of its classes, or empty.

        Raises:
            InputError: there are no labels, or the network does not have these classes.
        """
        if self.labels is None:
            raise InputError(
                f"{self.source.place}: images must have labels; put them in class folders or {LABELS}"
            )
        return match_classes(self.source.place, self.classes, num_classes, labels)

    def labels_among(self, num_classes: int, labels: Sequence[str] = ()) -> npt.NDArray[np.int64]:
        """Label of each picture as a network numbers it, int64 (N,). Arguments and errors as of `match`."""
        rows = np.array(self.match(num_classes, labels).rows, dtype=np.int64)
        return rows[np.asarray(self.labels, dtype=np.int64)]

    def fingerprint(self) -> str:
        """SHA-256 that changes when a picture, a name or their order changes."""
        return self.source.fingerprint(self.names)


def open_images(path: str | Path) -> ImageSet:
    """Opens a folder, a zip file or a single picture.

    A folder or zip file holds ``images/`` and ``labels.csv`` (columns filename, class_index, perhaps wnid,
    class_name and others), or one folder per class, or just pictures. Files of other kinds are left alone.

    Raises:
        InputError: nothing there, no pictures there, or a bad labels.csv.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(
            f"{path}: images must be in a folder, a zip or an image file, and it is not there; check it"
        )
    if path.is_dir():
        return _arrange(FolderSource(path))
    if zipfile.is_zipfile(path):
        return _arrange(ZipSource(path))
    if path.suffix.lower() == ".zip":
        raise InputError(f"{path}: must be a whole zip file, and it is cut off or none at all; copy it again")
    single = ImageSet(FolderSource(path.parent), [path.name])
    single[0].close()
    return single


def from_arrays(
    images: npt.NDArray[np.uint8], labels: Sequence[int] | None = None, class_names: Sequence[str] = ()
) -> ImageSet:
    """An ImageSet of uint8 RGB arrays of shape (N, H, W, 3)."""
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise InputError(
            f"images: must be uint8 of shape (N, H, W, 3), not {images.dtype} {images.shape}; convert them"
        )
    classes = [ImageClass(name) for name in class_names]
    if labels is not None:
        if len(labels) != len(images):
            raise InputError(f"labels: must be {len(images)}, one per image, not {len(labels)}; give as many")
        top = max(labels, default=0)
        if min(labels, default=0) < 0 or top >= (len(class_names) or top + 1):
            raise InputError(f"labels: must be 0 to {len(class_names) - 1}, not {top}; name every class")
        if not class_names:
            classes = [ImageClass(str(number), number) for number in range(top + 1)]
    return ImageSet(ArraySource(images), [str(n) for n in range(len(images))], labels, classes)


def head_rows(images: ImageSet, num_classes: int = 1000, labels: Sequence[str] = ()) -> npt.NDArray[np.int64]:
    """Rows of a network's last layer, one per class of `images`: where a smaller head starts from.

    Args:
        images: the classes wanted, such as Imagenette's ten.
        num_classes: of the network.
        labels: the names of its classes, or empty.

    Returns:
        int64 (classes,).

    Raises:
        InputError: as `ImageSet.match`.
    """
    return np.array(images.match(num_classes, labels).rows, dtype=np.int64)


def find_data_folder() -> Path | None:
    """The folder of test data: $FIREFLOW_DATA, else ../shared/data beside the repository, else None."""
    named = os.environ.get("FIREFLOW_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parent.parent.parent / "shared" / "data"
    return folder if folder.is_dir() else None


class FolderSource:
    """Pictures in a folder, at any depth."""

    def __init__(self, root: Path) -> None:
        self.root, self.place = root, str(root)

    def listing(self) -> list[str]:
        """Every file, relative to the folder, sorted."""
        found = []
        for folder, _, files in os.walk(self.root, followlinks=False):
            found += [(Path(folder) / file).relative_to(self.root).as_posix() for file in files]
        return sorted(found)

    def read_bytes(self, name: str) -> bytes:
        """A whole file."""
        path = self.root / name
        _check_size(path.stat().st_size)
        return path.read_bytes()

    def read(self, name: str) -> Image.Image:
        return Image.open(io.BytesIO(self.read_bytes(name)))

    def fingerprint(self, names: Sequence[str]) -> str:
        stats = ((name, (self.root / name).stat()) for name in names)
        return _digest([str(self.root.resolve())], ((name, s.st_size, s.st_mtime_ns) for name, s in stats))


class ZipSource:
    """Pictures in a zip file, read in memory and never extracted."""

    def __init__(self, path: Path) -> None:
        self.path, self.place = path, str(path)
        self._opened: tuple[int, zipfile.ZipFile] | None = None

    def _archive(self) -> zipfile.ZipFile:
        # Workers that were forked must not share a file position with their parent.
        if self._opened is None or self._opened[0] != os.getpid():
            try:
                self._opened = os.getpid(), zipfile.ZipFile(self.path)
            except (OSError, zipfile.BadZipFile) as error:
                raise InputError(f"{self.path}: must be a whole zip file ({error}); copy it again") from None
        return self._opened[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}

    def listing(self) -> list[str]:
        """Every member that is a file, in the order of the zip."""
        return [member.filename for member in self._archive().infolist() if not member.is_dir()]

    def read_bytes(self, name: str) -> bytes:
        """A whole member."""
        _check_size(self._archive().getinfo(name).file_size)
        return self._archive().read(name)

    def read(self, name: str) -> Image.Image:
        return Image.open(io.BytesIO(self.read_bytes(name)))

    def fingerprint(self, names: Sequence[str]) -> str:
        members = (self._archive().getinfo(name) for name in names)
        return _digest([], ((m.filename, m.file_size, m.CRC) for m in members))


class ArraySource:
    """Pictures that are in memory already; their names are their positions."""

    place = "images"

    def __init__(self, images: npt.NDArray[np.uint8]) -> None:
        self.array = images

    def read(self, name: str) -> Image.Image:
        return Image.fromarray(self.array[int(name)])

    def fingerprint(self, names: Sequence[str]) -> str:
        return _digest(
            [str(self.array.shape)], ((n, hashlib.sha256(self.array[int(n)]).hexdigest()) for n in names)
        )


def _arrange(source: FolderSource | ZipSource) -> ImageSet:
    """Finds labels in labels.csv or in the folders' names."""
    files = source.listing()
    for name in files:
        if name.startswith("/") or "\\" in name or ".." in PurePosixPath(name).parts:
            raise InputError(f"{source.place}: names must stay inside, not {name!r}; pack it again")
    pictures = [name for name in files if _is_picture(name)]
    if LABELS in files:
        return _labelled(source, frozenset(files))
    folders = [PurePosixPath(name).parts for name in pictures]
    while folders and len({parts[0] for parts in folders}) == 1 and all(len(parts) > 2 for parts in folders):
        folders = [parts[1:] for parts in folders]  # a folder around everything, such as images/
    if not all(len(parts) > 1 for parts in folders) or (
        folders and all(parts[0] == "images" for parts in folders)
    ):
        return ImageSet(source, pictures)
    classes = sorted(map(folder_class, {parts[0] for parts in folders}), key=_order)
    label_of = {c.name: label for label, c in enumerate(classes)}
    return ImageSet(source, pictures, [label_of[parts[0]] for parts in folders], classes)


def _order(folder: ImageClass) -> tuple[int, str]:
    """Numbers by their size (9 before 10), everything else by name."""
    return (-1 if folder.index is None else folder.index, folder.name)


def _labelled(source: FolderSource | ZipSource, files: frozenset[str]) -> ImageSet:
    """An ImageSet as labels.csv describes it."""
    place = f"{source.place}: {LABELS}"
    try:
        reader = csv.DictReader(io.StringIO(source.read_bytes(LABELS).decode("utf-8-sig"), newline=""))
        headings = list(reader.fieldnames or ())
        rows = list(reader)
    except (OSError, ValueError, csv.Error, zipfile.BadZipFile) as error:
        raise InputError(
            f"{place}: must be a table of comma-separated UTF-8 text ({error}); write it again"
        ) from None
    for needed in ("filename", "class_index"):
        if needed not in headings:
            raise InputError(f"{place}: must have a column {needed}, not only {', '.join(headings)}; add it")
    names, classes, numbers = [], dict[int, ImageClass](), []
    for line, row in enumerate(rows, start=2):
        name, number = row["filename"] or "", row["class_index"] or ""
        if not number.isdecimal() or len(number) > 9:
            raise InputError(
                f"{place} line {line}: class_index must be a whole number, not {number!r}; correct it"
            )
        member = name if name in files else f"images/{name}"
        if member not in files:
            raise InputError(
                f"{place} line {line}: filename must be a file in images/, not {name!r}; remove the line"
            )
        index, wnid, called = int(number), *((row.get(h) or "").strip() for h in ("wnid", "class_name"))
        known = classes.setdefault(index, ImageClass(called or wnid or number, index, wnid or None))
        name = called or known.name
        if (known.wnid, known.name) != (wnid or None, name):
            was, found = (known.name, name) if known.name != name else (known.wnid, wnid or "none")
            raise InputError(
                f"{place} line {line}: class {index} must be {was}, not {found}; correct one of them"
            )
        names.append(member)
        numbers.append(index)
    order = sorted(classes)
    label_of = {index: label for label, index in enumerate(order)}
    extra = [h for h in headings if h and h not in ("filename", "class_index", "wnid", "class_name")]
    columns = {heading: [row[heading] or "" for row in rows] for heading in extra}
    return ImageSet(
        source, names, [label_of[n] for n in numbers], [classes[index] for index in order], columns
    )


def _is_picture(name: str) -> bool:
    parts = PurePosixPath(name).parts
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
    return not hidden and parts[-1].lower().endswith(EXTENSIONS)


def _stem(name: str) -> str:
    return PurePosixPath(name).stem


def _check_size(size: int) -> None:
    if size > MAX_FILE_BYTES:
        raise ValueError(f"{size} bytes are more than {MAX_FILE_BYTES}")


def _digest(start: list[str], facts: Iterator[tuple[Any, ...]]) -> str:
    digest = hashlib.sha256(repr(start).encode())
    for fact in facts:
        digest.update(repr(fact).encode())
    return digest.hexdigest()
