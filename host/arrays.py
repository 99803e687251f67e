"""Inputs that are no pictures, or of a network that does not say how pictures are prepared: arrays as they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fireflow.hw.errors import InputError

if TYPE_CHECKING:
    from fireflow.hw.types import Array


@dataclass(frozen=True)
class ArrayInput:
    """Stands where a `hw.preprocessing.Preprocessing` stands, and takes arrays of the input's shape alone.

    Args:
        shape: (H, W, C) of the network's input.
        place: the bundle, for messages.
    """

    shape: tuple[int, ...]
    place: str = "image"

    def prepare(self, image: Any) -> Array:
        """The array itself: uint8 (H, W, C); (H, W) where there is one channel.

        Raises:
            InputError: a picture, or an array of another shape or type.
        """
        if not isinstance(image, np.ndarray):
            raise InputError(
                f"{self.place}: does not say how pictures are prepared; {pictures_fix(self.shape)}"
            )
        if self.shape[-1:] == (1,) and image.ndim == 2:
            image = image[..., np.newaxis]
        if image.dtype != np.uint8 or image.shape != self.shape:
            raise InputError(
                f"image: must be uint8 of shape {self.shape}, the input's, not {image.dtype} of shape {image.shape}; "
                "convert it"
            )
        return np.ascontiguousarray(image)


def pictures_fix(shape: tuple[int, ...]) -> str:
    """What a user can do where a network of this input does not say how pictures are prepared."""
    arrays = f"uint8 arrays of shape {shape} (.npy)"
    if len(shape) == 3 and shape[2] == 3 and shape[0] == shape[1]:
        return f"say it with --preprocessing NAME or FILE.json, or give {arrays}"
    return f"pictures are prepared for square inputs of three colours only: give {arrays}"
