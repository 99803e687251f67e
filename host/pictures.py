"""Picture files for the accelerator: found by name, decoded, prepared one at a time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterator, Sequence

import numpy as np

from fireflow.host.arrays import ArrayInput
from fireflow.hw.errors import InputError
from fireflow.hw.images import opened
from fireflow.hw.npz import map_npy
from fireflow.hw.picture_files import FolderSource, LeftOut, add_left_out, none_found
from fireflow.hw.pixels import PictureError, Pixels
from fireflow.hw.preprocessing import Preprocessing

if TYPE_CHECKING:
    from fireflow.hw.types import Array


def find_pictures(paths: Sequence[Path]) -> tuple[list[Path], LeftOut]:
    """The files, and of each folder every picture in it at any depth, sorted; and what was left out.

    Raises:
        InputError: a path that is not there, or a folder without pictures.
    """
    pictures: list[Path] = []
    left_out: LeftOut = {}
    for path in paths:
        if not path.exists():
            raise InputError(f"{path}: must be a picture or a folder, and it is not there; check the path")
        if not path.is_dir():
            pictures.append(path)
            continue
        found = FolderSource(path).find()
        if not found.names:
            raise none_found(path, "picture", found.left_out)
        pictures += [path / name for name in found.names]
        add_left_out(left_out, found.left_out)
    return pictures, left_out


def read_picture(path: Path, preprocessing: Preprocessing | ArrayInput) -> Array:
    """One picture as the network wants it: uint8 (size, size, 3).

    A .npy file holds uint8 RGB of shape (H, W, 3); without Pillow it must have the size after resizing.

    Raises:
        InputError: it cannot be decoded.
    """
    return prepare_shown(path, preprocessing, None)[0]


def prepare_shown(
    given: Any, preprocessing: Preprocessing | ArrayInput, shown: int | None
) -> tuple[Array, Any]:
    """One picture as the network wants it, and for people: a PIL image, RGB, at most `shown` pixels wide and high.

    Args:
        given: a path, the bytes of a file, a PIL image, or uint8 RGB (H, W, 3).
        preprocessing: what the network wants.
        shown: None gives no image for people.

    Raises:
        InputError: it cannot be decoded; the message begins with the path, if one was given.
    """
    try:
        if isinstance(given, Path) and given.suffix.lower() == ".npy":
            return _both(_array(given), preprocessing, shown)
        if isinstance(given, (Path, bytes)):
            with opened(given) as picture:
                return _both(picture, preprocessing, shown)
        return _both(given, preprocessing, shown)
    except InputError as error:
        raise InputError(f"{given}: {error}" if isinstance(given, Path) else str(error)) from None


def _both(given: Any, preprocessing: Preprocessing | ArrayInput, shown: int | None) -> tuple[Array, Any]:
    if shown is None:
        return preprocessing.prepare(given), None
    if isinstance(given, np.ndarray):
        pixels = preprocessing.prepare(given)  # which says what is wrong with an array
        import PIL.Image

        picture = Pixels(PIL.Image.fromarray(given))
    else:
        picture = given if isinstance(given, Pixels) else Pixels.of(given)
        pixels = preprocessing.prepare(picture)
    return pixels, picture.within(shown)


def _array(path: Path) -> Array:
    if not path.is_file():
        raise PictureError("no regular file", "save it as a file")
    try:
        return map_npy(path)
    except InputError:
        raise
    except (OSError, ValueError) as error:
        raise PictureError(str(error) or type(error).__name__) from None


def prepared(
    paths: Sequence[Path],
    preprocessing: Preprocessing | ArrayInput,
    batch: int,
    damaged: list[tuple[str, str]],
) -> Iterator[tuple[list[Path], Array]]:
    """The pictures in batches of paths and uint8 (N, size, size, 3); holds one batch at a time.

    Args:
        paths: the files.
        preprocessing: what the network wants.
        batch: pictures at once.
        damaged: gets the file and the reason of each picture that cannot be decoded; it is left out.
    """
    names: list[Path] = []
    pictures: list[Array] = []
    for path in paths:
        try:
            pictures.append(read_picture(path, preprocessing))
            names.append(path)
        except InputError as error:
            damaged.append((str(path), str(error)))
        if len(pictures) == batch:
            yield names, np.stack(pictures)
            names, pictures = [], []
    if pictures:
        yield names, np.stack(pictures)
