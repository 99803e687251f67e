"""What every operation of the integer graph has in common."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Sequence

import numpy as np

from fireflow.hw.errors import InputError
from fireflow.hw.types import MAX_ELEMENTS, MAX_SIDE, TensorType

if TYPE_CHECKING:
    from fireflow.hw.types import Array, Int64Array


@dataclass(frozen=True, eq=False)
class Op:
    """Base of the operations; a subclass is a frozen dataclass and registers itself under its class name.

    A field is an integer array, an integer or a tuple of integers. Errors leave out the node's name: the
    graph, which knows it, puts it in front.
    """

    inputs: ClassVar[int] = 1  # how many tensors the operation reads; 0: one or more
    kinds: ClassVar[dict[str, type[Op]]] = {}

    def __init_subclass__(cls) -> None:
        cls.kinds[cls.__name__] = cls

    def infer(self, types: Sequence[TensorType]) -> TensorType:
        """The exact type of the result. Raises InputError where the inputs do not fit the operation."""
        raise NotImplementedError

    def work(self, types: Sequence[TensorType], result: TensorType) -> int:
        """About how many operations on numbers `eval` makes for a picture; `result` is what `infer` gave."""
        return math.prod(result.shape)

    @property
    def stored_bits(self) -> int | None:
        """Width of a stored weight; None where it has none."""
        return None

    def products(self, result: TensorType) -> int:
        """Multiplications with weights that a picture takes; `result` is what `infer` gave."""
        return 0

    def eval(self, arrays: Sequence[Int64Array]) -> Int64Array:
        """The result for a batch: int64 arrays, the batch axis in front, of types that `infer` accepted."""
        raise NotImplementedError

    def to_json(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """The kind and the plain fields, and the array fields."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
        plain = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
            if name not in arrays
        }
        return {"kind": type(self).__name__, **plain}, arrays

    @staticmethod
    def from_json(document: dict[str, Any], arrays: dict[str, Array]) -> Op:
        """The operation that `to_json` described. Raises InputError on an unknown kind or field."""
        values: dict[str, Any] = {**document, **arrays}
        kind = values.pop("kind", None)
        if not isinstance(kind, str) or kind not in Op.kinds:
            raise InputError(
                f"kind must be one of {', '.join(sorted(Op.kinds))}, not {kind!r:.80}; use a newer fireflow"
            )
        names = {field.name for field in fields(Op.kinds[kind])}
        if set(values) != names:
            raise InputError(
                f"{kind} must have the fields {sorted(names)}, not {sorted(map(str, values))!s:.400}; write it again"
            )
        return Op.kinds[kind](**values)


def whole(name: str, value: Any, low: int, high: int = 1 << 62) -> int:
    """`value` as an int. Raises InputError unless it is a whole number from low to high."""
    good = isinstance(value, (int, np.integer)) and not isinstance(value, bool) and low <= value <= high
    if not good:
        limits = (
            f"a whole number from {low} to {high}" if high < 1 << 62 else f"a whole number of at least {low}"
        )
        raise InputError(f"{name} must be {limits}, not {value!r:.80}; change it")
    return int(value)


def wholes(name: str, value: Any, length: int, low: int) -> tuple[int, ...]:
    """`value` as a tuple of `length` ints. Raises InputError unless each is whole and at least `low`."""
    if not isinstance(value, (tuple, list)) or len(value) != length:
        raise InputError(f"{name} must hold {length} whole numbers, not {value!r:.200}; change it")
    return tuple(whole(name, number, low) for number in value)


def integers(name: str, value: Any, axes: int) -> Int64Array:
    """`value` as a read-only int64 array. Raises InputError unless it has this many axes, none empty."""
    try:
        array = np.asarray(value)
    except ValueError:  # lists of different lengths
        array = np.array(None)
    if array.dtype.kind not in "iu" or array.ndim != axes or array.size == 0:
        raise InputError(
            f"{name} must be integers with {axes} axes, none empty, "
            f"not {array.dtype} of shape {array.shape}; convert them"
        )
    if array.dtype == np.uint64 and int(array.max()) > np.iinfo(np.int64).max:
        raise InputError(f"{name} must fit in int64, not reach {array.max()}; scale them down")
    result = np.array(array, dtype=np.int64, order="C")
    result.flags.writeable = False
    return result


def padded(source: TensorType, padding: Sequence[int]) -> tuple[int, int]:
    """Rows and columns of a picture with (top, left, bottom, right) around it.

    Raises:
        InputError: more than a tensor may have.
    """
    top, left, bottom, right = padding
    height, width = source.shape[0] + top + bottom, source.shape[1] + left + right
    if max(height, width) > MAX_SIDE or height * width * source.shape[2] > MAX_ELEMENTS:
        raise InputError(
            f"padding must leave at most {MAX_SIDE} rows and columns and {MAX_ELEMENTS} elements, not "
            f"{height}x{width}x{source.shape[2]}; pad less"
        )
    return height, width


def image_type(types: Sequence[TensorType]) -> TensorType:
    """The only input's type. Raises InputError unless its shape is (H, W, C)."""
    if len(types[0].shape) != 3:
        raise InputError(
            f"the input must have shape (H, W, C), not {types[0].shape}; put the node before the global sum"
        )
    return types[0]
