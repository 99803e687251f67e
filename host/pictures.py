"""Picture files for the accelerator: found by name, decoded, prepared one at a time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Iterator, Sequence

import numpy as np

from host.arrays import ArrayInput
from hw.errors import InputError
from hw.preprocessing import Preprocessing

if TYPE_CHECKING:
    from hw.types import Array

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".gif", ".tif", ".tiff")


def find_pictures(paths: Sequence[Path]) -> list[Path]:
    """The files, and of each folder every picture in it at any depth, sorted.

    Raises:
        InputError: a path that is not there, or a folder without pictures.
    """
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise InputError(f"{path}: must be a picture or a folder, and it is not there; check the path")
        inside = [path]
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.is_file() and p.suffix.lower() in EXTENSIONS)
        if not inside:
            raise InputError(
                f"{path}: must hold at least one picture, not none; add files ending in .jpg or .png"
            )
        found += inside
    return found


def read_picture(path: Path, preprocessing: Preprocessing | ArrayInput) -> Array:
    """One picture as the network wants it: uint8 (size, size, 3).

    A .npy file holds uint8 RGB of shape (H, W, 3); without Pillow it must have the size after resizing.

    Raises:
        InputError: it cannot be decoded.
    """
    try:
        if path.suffix.lower() == ".npy":
            return preprocessing.prepare(np.load(str(path), allow_pickle=False))
        import PIL.Image

        with PIL.Image.open(str(path)) as picture:
            return preprocessing.prepare(picture)
    except ImportError:
        raise
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except Exception as error:  # decoders raise nearly anything on damaged bytes
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{path}: must be a picture that can be decoded, not damaged ({reason}); replace or remove it"
        ) from None


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
