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
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from fireflow.hw import given
from fireflow.hw.classes import ClassMatch, ImageClass, folder_class, match_classes
from fireflow.hw.errors import InputError
from fireflow.hw.images import MAX_FILE_BYTES
from fireflow.hw.picture_files import MISSING, FolderSource, Found, ZipSource, digest, find, none_found
from fireflow.hw.pixels import MAX_PIXELS, PictureError

LABELS_FILE = "labels.csv"


class DamagedImage(InputError):
    """A picture that cannot be decoded; the message names it."""


class StoredPictures(Protocol):
    """Where the bytes of pictures are."""

    place: str

    def read(self, name: str, max_pixels: int, max_bytes: int) -> Image.Image:
        """The picture, RGB. Raises PictureError."""

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
        left_out: how many files of the source are no pictures of the set, by kind: `hw.picture_files.Found`.
        name: what people know it by; that of its folder or file by default.

    Raises:
        InputError: no pictures.
    """

    def __init__(
        self,
        source: StoredPictures,
        names: Sequence[str],
        labels: Sequence[int] | None = None,
        classes: Sequence[ImageClass] = (),
        columns: Mapping[str, Sequence[str]] | None = None,
        left_out: Mapping[str, int] | None = None,
        name: str | None = None,
    ) -> None:
        self.left_out = dict(left_out or {})
        if not names:
            raise none_found(source.place, "image", self.left_out)
        self.source = source
        self.name = Path(source.place).name if name is None else name
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
            return self.source.read(name, MAX_PIXELS, MAX_FILE_BYTES)
        except PictureError as error:
            self._damaged[name] = error.reason
            raise DamagedImage(f"{self.source.place}: {name}: {error}") from None

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
            self.left_out,
            self.name,
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
                f"{self.source.place}: images must have labels; put them in class folders or {LABELS_FILE}"
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

    Args:
        path: of the folder, zip or picture.

    Raises:
        InputError: nothing there, no pictures there, or a bad labels.csv.
    """
    path = given.path("images", path)
    if not path.exists():
        raise InputError(
            f"{path}: images must be in a folder, a zip or an image file, and it is not there; check it"
        )
    if path.is_dir():
        return _arrange(FolderSource(path))
    if not path.is_file():
        raise InputError(
            f"{path}: images must be in a folder, a zip or an image file, not this; save them so"
        )
    if zipfile.is_zipfile(path):
        return _arrange(ZipSource(path))
    if path.suffix.lower() == ".zip":
        raise InputError(f"{path}: must be a whole zip file, and it is cut off or none at all; copy it again")
    single = ImageSet(FolderSource(path.parent), [path.name], name=path.name)
    single[0].close()
    return single


Data: TypeAlias = str | Path | ImageSet
"""A folder, a zip file or a picture by its path, or a set of pictures."""


def opened(images: Data) -> ImageSet:
    """The set itself, or as `open_images`."""
    if isinstance(images, np.ndarray):
        raise InputError(
            "images: must be a folder, a zip or an ImageSet, not an array; make one with from_arrays"
        )
    return images if isinstance(images, ImageSet) else open_images(images)


def from_arrays(
    images: npt.NDArray[np.uint8], labels: Sequence[int] | None = None, class_names: Sequence[str] = ()
) -> ImageSet:
    """A set of pictures that are in memory already.

    Args:
        images: uint8 (N, H, W, 3), RGB.
        labels: position in `class_names` of each, or None.
        class_names: of the classes; their numbers by default.

    Raises:
        InputError: another dtype or shape, or labels that are no classes.
    """
    given.instance("images", images, np.ndarray, "stack them with numpy")
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


class ArraySource:
    """Pictures that are in memory already; their names are their positions."""

    place = "images"

    def __init__(self, images: npt.NDArray[np.uint8]) -> None:
        self.array = images

    def read(self, name: str, max_pixels: int, max_bytes: int) -> Image.Image:
        return Image.fromarray(self.array[int(name)])

    def fingerprint(self, names: Sequence[str]) -> str:
        return digest(
            [str(self.array.shape)], ((n, hashlib.sha256(self.array[int(n)]).hexdigest()) for n in names)
        )


def _arrange(source: FolderSource | ZipSource) -> ImageSet:
    """Finds labels in labels.csv or in the folders' names."""
    files = source.listing()
    for name in files:
        if name.startswith("/") or "\\" in name or ".." in PurePosixPath(name).parts:
            raise InputError(f"{source.place}: names must stay inside, not {name!r}; pack it again")
    found = find(files, source.irregular)
    pictures = found.names
    if LABELS_FILE in files:
        return _labelled(source, frozenset(files), found)
    folders = [PurePosixPath(name).parts for name in pictures]
    while folders and len({parts[0] for parts in folders}) == 1 and all(len(parts) > 2 for parts in folders):
        folders = [parts[1:] for parts in folders]  # a folder around everything, such as images/
    if not all(len(parts) > 1 for parts in folders) or (
        folders and all(parts[0] == "images" for parts in folders)
    ):
        return ImageSet(source, pictures, left_out=found.left_out)
    classes = sorted(map(folder_class, {parts[0] for parts in folders}), key=_order)
    label_of = {c.name: label for label, c in enumerate(classes)}
    labels = [label_of[parts[0]] for parts in folders]
    return ImageSet(source, pictures, labels, classes, left_out=found.left_out)


def _order(folder: ImageClass) -> tuple[int, str]:
    """Numbers by their size (9 before 10), everything else by name."""
    return (-1 if folder.index is None else folder.index, folder.name)


def _labelled(source: FolderSource | ZipSource, files: frozenset[str], found: Found) -> ImageSet:
    """An ImageSet as labels.csv describes it."""
    place = f"{source.place}: {LABELS_FILE}"
    try:
        reader = csv.DictReader(io.StringIO(source.read_bytes(LABELS_FILE).decode("utf-8-sig"), newline=""))
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
            was, got = (known.name, name) if known.name != name else (known.wnid, wnid or "none")
            raise InputError(
                f"{place} line {line}: class {index} must be {was}, not {got}; correct one of them"
            )
        names.append(member)
        numbers.append(index)
    order = sorted(classes)
    label_of = {index: label for label, index in enumerate(order)}
    extra = [h for h in headings if h and h not in ("filename", "class_index", "wnid", "class_name")]
    columns = {heading: [row[heading] or "" for row in rows] for heading in extra}
    left_out, unnamed = found.left_out, len(set(found.names) - set(names))
    if unnamed:
        left_out = {**left_out, MISSING: unnamed}
    return ImageSet(
        source, names, [label_of[n] for n in numbers], [classes[index] for index in order], columns, left_out
    )


def _stem(name: str) -> str:
    return PurePosixPath(name).stem
