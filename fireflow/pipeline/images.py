"""The images that golden vectors and verifications are of: a user's pictures, or synthetic ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from fireflow.hw.errors import InputError
from fireflow.hw.npz import map_npy
from fireflow.hw.picture_files import left_out_line
from fireflow.hw.remarks import Say, unheard

if TYPE_CHECKING:
    from fireflow.hw.graph import Graph
    from fireflow.hw.preprocessing import Preprocessing
    from fireflow.hw.types import Array

Images: TypeAlias = "str | Path | Array"
"""A folder, zip or file of pictures, a .npy file of inputs, or inputs: uint8 (N, H, W, C)."""


def real_images(images: Images, preprocessing: Preprocessing | None, limit: int, say: Say = unheard) -> Array:
    """The first pictures of a folder, zip or file, as a network wants them: uint8 (N, H, W, C).

    Arrays, and those in a .npy file, are inputs as they are.

    Args:
        images: where they are, or they themselves.
        preprocessing: what the network wants of a picture.
        limit: how many to take.
        say: told what of a folder or zip was left out.

    Raises:
        InputError: no picture there can be decoded, or the network does not say what it wants.
    """
    from fireflow.quant.data import open_images

    if isinstance(images, np.ndarray):
        return images[:limit]
    path = Path(images)
    if path.suffix.lower() == ".npy":
        return read_arrays(path)[:limit]
    if preprocessing is None:
        raise InputError(
            f"{path}: the model does not say how pictures are prepared; say it with --preprocessing NAME or FILE.json, "
            "or give arrays of the input's shape (.npy)"
        )
    opened = open_images(path)
    line = left_out_line(opened.left_out)
    if line:
        say(line)
    pictures = []
    for _position, picture in opened.images():
        pictures.append(preprocessing.prepare(picture))
        if len(pictures) == limit:
            break
    if not pictures:
        name, reason = opened.damaged[0]
        raise InputError(
            f"{path}: at least one picture must be whole, and {name} is not ({reason}); replace it"
        )
    return np.stack(pictures)


def read_arrays(path: Path) -> Array:
    """Inputs in a .npy file, one or several: uint8 (N, H, W, C); their shape is checked by who takes them.

    Raises:
        InputError: the file is missing or holds something else.
    """
    try:
        images = map_npy(path)
    except InputError:
        raise
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: must hold an array of inputs ({error}); save it with numpy.save") from None
    return images[np.newaxis] if images.ndim == 3 else images


def images_for(
    graph: Graph,
    images: Images | None,
    count: int,
    preprocessing: Preprocessing | None,
    say: Say = unheard,
) -> Array:
    """`count` images of a graph's input: the user's, or synthetic ones where he gives none.

    Raises:
        InputError: as `real_images`, or they do not fit the input.
    """
    if images is None:
        return synthetic_images(count, graph.input_type.shape)
    return graph.check_images(real_images(images, preprocessing, count, say))


def synthetic_images(count: int, shape: tuple[int, ...], seed: int = 0) -> Array:
    """Pictures with large and small structure: uint8 (count, H, W, C), the same on every machine."""
    random = np.random.default_rng(seed)
    height, width, channels = shape
    coarse = random.integers(0, 256, (count, 4, 4, channels))
    rows, columns = np.arange(height) * 4 // height, np.arange(width) * 4 // width
    noise = random.integers(-32, 33, (count, *shape))
    pixels: Array = np.clip(coarse[:, rows][:, :, columns] + noise, 0, 255).astype(np.uint8)
    return pixels
