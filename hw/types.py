"""What is known of a tensor before it is computed: its shape and the exact range of its integers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fireflow.hw.errors import InputError

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]
    Int64Array = npt.NDArray[np.int64]

INT64 = np.iinfo(np.int64)
MAX_ELEMENTS = 1 << 24
"""A tensor has at most so many; the largest of VGG-16 has 3.2 million at 224 pixels, and as many as this at 512."""
MAX_SIDE = 1 << 16
"""A picture with its padding has at most so many rows and columns."""


@dataclass(frozen=True)
class TensorType:
    """One tensor, without the batch axis.

    Args:
        shape: (H, W, C), or (C,) after the global sum.
        lo, hi: smallest and largest value that can occur, both included.

    Raises:
        InputError: what is no whole number, an empty axis, more than `MAX_ELEMENTS` or `MAX_SIDE`, lo > hi, or a range
            that int64 cannot hold.

    >>> TensorType((8, 8, 3), 0, 15).bits, TensorType((10,), -3, 4).bits
    (4, 4)
    """

    shape: tuple[int, ...]
    lo: int
    hi: int

    def __post_init__(self) -> None:
        # JSON gives lists and NumPy gives its own integers: from here on these are plain ints.
        object.__setattr__(self, "shape", tuple(_integer("shape", size) for size in self.shape))
        object.__setattr__(self, "lo", _integer("lo", self.lo))
        object.__setattr__(self, "hi", _integer("hi", self.hi))
        if len(self.shape) not in (1, 3) or min(self.shape) < 1:
            raise InputError(
                f"shape must be (H, W, C) or (C,), all at least 1, not {self.shape}; reshape the tensor"
            )
        if math.prod(self.shape) > MAX_ELEMENTS or max((0, *self.shape[:-1])) > MAX_SIDE:
            raise InputError(
                f"a tensor must have at most {MAX_ELEMENTS} elements and {MAX_SIDE} rows and columns, not shape "
                f"{self.shape}; use smaller pictures or fewer channels"
            )
        if self.lo > self.hi:
            raise InputError(f"range must have lo <= hi, not {self.lo}..{self.hi}; swap them")
        if self.lo < INT64.min or self.hi > INT64.max:
            raise InputError(
                f"range must fit in int64, not {self.lo}..{self.hi}; use fewer bits or smaller weights"
            )

    @property
    def signed(self) -> bool:
        return self.lo < 0

    @property
    def bits(self) -> int:
        """Width of the narrowest integer that holds the range; unsigned where lo >= 0."""
        return signed_bits(self.lo, self.hi) if self.signed else max(1, self.hi.bit_length())

    @property
    def dtype(self) -> np.dtype[Any]:
        """The smallest NumPy integer type that holds the range; 64 bits are always signed."""
        return narrowest_dtype(self.lo, self.hi)

    @property
    def size_bytes(self) -> int:
        """The size of a tensor in its `dtype`."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def magnitude(self) -> int:
        """Largest absolute value."""
        return max(abs(self.lo), abs(self.hi))

    def to_json(self) -> dict[str, Any]:
        return {"shape": list(self.shape), "lo": self.lo, "hi": self.hi}

    @classmethod
    def from_json(cls, document: Any) -> TensorType:
        try:
            return cls(tuple(document["shape"]), document["lo"], document["hi"])
        except (TypeError, KeyError, ValueError, OverflowError) as error:
            raise InputError(
                f"tensor type must have shape, lo and hi, not {document!r:.200} ({error}); write it again"
            ) from None


def _integer(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise InputError(f"{name} must be a whole number, not {value!r:.80}; write it again")
    return int(value)


def signed_bits(lo: int, hi: int) -> int:
    """Width of the narrowest two's complement integer that holds lo..hi."""
    return 1 + max((~lo if lo < 0 else 0).bit_length(), max(0, hi).bit_length())


def narrowest_dtype(lo: int, hi: int) -> np.dtype[Any]:
    """The smallest integer type that holds lo..hi, unsigned where lo >= 0; 64 bits are always signed."""
    kinds = ("u1", "u2", "u4", "i8") if lo >= 0 else ("i1", "i2", "i4", "i8")
    for kind in kinds:
        info = np.iinfo(kind)
        if info.min <= lo and hi <= info.max:
            return np.dtype(kind)
    raise InputError(f"range must fit in int64, not {lo}..{hi}; use fewer bits or smaller weights")
