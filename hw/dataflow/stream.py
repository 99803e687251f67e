"""What flows between two layers: a tensor, word by word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fireflow.hw.errors import InputError
from fireflow.hw.types import TensorType


@dataclass(frozen=True)
class Stream(TensorType):
    """A tensor in raster order, each pixel as C / lanes words of `lanes` elements, channels ascending.

    Element 0 lies in the lowest bits of a word; every element is `bits` wide, two's complement if `signed`.

    Args:
        shape: (H, W, C), or (C,).
        lo, hi: smallest and largest value, both included.
        lanes: elements in a word; divides C.

    Raises:
        InputError: lanes that do not divide C; an empty shape or range.

    >>> stream = Stream((8, 8, 6), 0, 15, lanes=3)
    >>> stream.words, stream.width, stream.tdata_bits
    (128, 12, 16)
    """

    lanes: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "lanes", divisor("lanes", self.lanes, "C", self.channels))

    @classmethod
    def of(cls, kind: TensorType, lanes: int) -> Stream:
        return cls(kind.shape, kind.lo, kind.hi, lanes)

    @property
    def channels(self) -> int:
        return self.shape[-1]

    @property
    def pixels(self) -> int:
        """H * W; 1 after the global sum."""
        return self.shape[0] * self.shape[1] if len(self.shape) == 3 else 1

    @property
    def groups(self) -> int:
        """Words of a pixel."""
        return self.channels // self.lanes

    @property
    def words(self) -> int:
        """Words of a frame."""
        return self.pixels * self.groups

    @property
    def width(self) -> int:
        """Bits of a word that carry data."""
        return self.lanes * self.bits

    @property
    def tdata_bits(self) -> int:
        """`width` rounded up to whole bytes, as TDATA has it."""
        return -(-self.width // 8) * 8

    def to_json(self) -> dict[str, Any]:
        return {**super().to_json(), "lanes": self.lanes}


@dataclass(frozen=True)
class Port:
    """A stream of a module in Verilog: "in0_V", and the bits of its TDATA."""

    name: str
    bits: int

    @property
    def bytes(self) -> int:
        return -(-self.bits // 8)


def divisors(number: int) -> list[int]:
    """All divisors, ascending.

    >>> divisors(12)
    [1, 2, 3, 4, 6, 12]
    """
    small = [k for k in range(1, int(number**0.5) + 1) if number % k == 0]
    return sorted({*small, *(number // k for k in small)})


def divisor(what: str, value: Any, whole: str, number: int) -> int:
    """`value` as an int. Raises InputError, naming the choices, unless it divides `number`."""
    good = isinstance(value, int) and not isinstance(value, bool) and value >= 1 and number % value == 0
    if not good:
        choices = [str(k) for k in divisors(number)]
        listed = " or ".join(filter(None, (", ".join(choices[:-1]), choices[-1])))
        raise InputError(f"{what} must divide {whole}={number}, not {value!r}; choose {listed}")
    return int(value)
