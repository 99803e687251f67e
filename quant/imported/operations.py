"""The operations of an imported graph that can be part of a network here, each with all that changes its function.

Readers of ONNX and Caffe files give `Step`s of these; whatever else stands in a file they refuse by its name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fireflow.hw.errors import InputError

_LONGEST_NAME, _LONGEST_VALUE = 60, 200


@dataclass(frozen=True, slots=True)
class Conv:
    """A convolution: weight OIHW; stride and dilation (height, width); padding (top, left, bottom, right)."""

    weight: npt.NDArray[Any]
    bias: npt.NDArray[Any] | None
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    groups: int = 1
    dilation: tuple[int, ...] = (1, 1)

    def then(self, scaling: Scaling) -> Conv:
        """This convolution with a scaling of its output folded in, in float64 with one rounding."""
        scale, shift = (np.broadcast_to(part, len(self.weight)) for part in (scaling.scale, scaling.shift))
        weight = self.weight.astype(np.float64) * scale.reshape(-1, 1, 1, 1)
        return replace(self, weight=_float32(weight), bias=_float32(self._bias() * scale + shift))

    def after(self, scaling: Scaling) -> Conv:
        """This convolution, which must not pad, with a scaling of its input folded in."""
        scale, shift = (
            np.broadcast_to(part, self.weight.shape[1]) for part in (scaling.scale, scaling.shift)
        )
        weight = self.weight.astype(np.float64)
        bias = self._bias() + (weight * shift.reshape(1, -1, 1, 1)).sum(axis=(1, 2, 3))
        return replace(self, weight=_float32(weight * scale.reshape(1, -1, 1, 1)), bias=_float32(bias))

    def _bias(self) -> npt.NDArray[np.float64]:
        return np.zeros(len(self.weight)) if self.bias is None else self.bias.astype(np.float64)


@dataclass(frozen=True, slots=True)
class Scaling:
    """``scale * x + shift`` for each channel, as batch normalization in inference: float64 (channels,) or (1,)."""

    scale: npt.NDArray[np.float64]
    shift: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Relu:
    """The largest of x and 0."""


@dataclass(frozen=True, slots=True)
class MaxPool:
    """A max pool: kernel and stride (height, width); padding (top, left, bottom, right); `ceil` rounds sizes up."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...] = (0, 0, 0, 0)
    ceil: bool = False


@dataclass(frozen=True, slots=True)
class Average:
    """The mean over all places of a map; where `kernel` (height, width) is given, over as many as it has.

    `flat` gives (N, C), else (N, C, 1, 1).
    """

    kernel: tuple[int, ...] | None = None
    flat: bool = False


@dataclass(frozen=True, slots=True)
class Concat:
    """The inputs one behind the other along `axis`."""

    axis: int


@dataclass(frozen=True, slots=True)
class Add:
    """The sum of the inputs."""


@dataclass(frozen=True, slots=True)
class Flatten:
    """(N, C, 1, 1) -> (N, C); `classes` is C where the file says it."""

    classes: int | None = None


@dataclass(frozen=True, slots=True)
class Softmax:
    """Softmax, or its logarithm, along `axis`; old ONNX takes all axes from there on, which `rest` says."""

    axis: int
    rest: bool = False


@dataclass(frozen=True, slots=True)
class Same:
    """The input itself, also under several names."""


Operation = Conv | Scaling | Relu | MaxPool | Average | Concat | Add | Flatten | Softmax | Same


@dataclass(frozen=True, slots=True)
class Step:
    """One operation of a graph; `inputs` and `outputs` name tensors, and it may overwrite its input."""

    operation: Operation
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def shown(name: object, longest: int = _LONGEST_NAME) -> str:
    """A name from a file, fit for a line of a message: short, and without control characters."""
    text = "".join(c if c.isprintable() else "?" for c in str(name))
    return text if len(text) <= longest else text[: longest - 3] + "..."


def listed(names: Iterable[object], separator: str = ", ") -> str:
    """Names in a message."""
    return separator.join(map(shown, names)) or "none"


def wrong(path: Path | str, rule: str, value: object) -> InputError:
    """The error of a file that is no SqueezeNet as this family has them."""
    found = shown(value, _LONGEST_VALUE)
    return InputError(f"{path}: {rule}, not {found}; give a SqueezeNet 1.0 or 1.1")


def _float32(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    with np.errstate(over="ignore"):  # what becomes infinite is refused with all weights
        return values.astype(np.float32)
