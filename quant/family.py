"""What all readers of weight files share: known preprocessings, and the family that shapes belong to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fireflow.hw.errors import InputError
from fireflow.hw.preprocessing import Preprocessing
from fireflow.quant.input_record import Told
from fireflow.quant.precision import FIRE_NUMBERS
from fireflow.quant.squeezenet import FireWidths, PoolBorder, SqueezeNetSpec, Version

MAX_BYTES = 1 << 30
"""No weight file may hold or unpack to more than this; SqueezeNet needs 5 MB, AlexNet 244 MB."""

Array = npt.NDArray[np.float32]
Shape = tuple[int, ...]
_VERSION_OF_STEM_KERNEL: dict[int, Version] = {7: "1.0", 3: "1.1"}


@dataclass(frozen=True, slots=True)
class Raw:
    """What a reader found in a file, before any check of values.

    Args:
        arrays: by our names, any float type.
        source: the kind of file.
        preprocessing: what the file tells of its pictures, or all of it; None where it tells nothing.
        head_padding: padding of conv10 where the file tells, else None.
        simple_bypass: the file shows sums without convolutions around Fires.
        bypassed: the Fires that something goes around; None where the file does not tell.
        head_relu: whether a ReLU follows conv10; None where the file does not tell.
        pools: border rules of the max pools, in order; None where the file does not tell.
        average: name and kernel of the average at the end, where it is not over all of its map by itself.
        softmax: the tensor of the scores where a softmax follows them.
    """

    arrays: Mapping[str, npt.NDArray[Any]]
    source: str
    preprocessing: Preprocessing | Told | None = None
    head_padding: int | None = None
    simple_bypass: bool = False
    bypassed: tuple[int, ...] | None = None
    head_relu: bool | None = None
    pools: tuple[PoolBorder, ...] | None = None
    average: tuple[str, tuple[int, ...]] | None = None
    softmax: str | None = None


def layer_names(bypass_at: frozenset[int] = frozenset()) -> list[str]:
    """The convolutions in order; those of a Fire are squeeze, expand1x1, expand3x3 and then its bypass."""
    names = ["conv1"]
    for number in FIRE_NUMBERS:
        branches = ["squeeze", "expand1x1", "expand3x3"] + (["bypass"] if number in bypass_at else [])
        names += [f"fire{number}.{branch}" for branch in branches]
    return [*names, "conv10"]


def infer_spec(place: str | Path, shapes: Mapping[str, Shape]) -> SqueezeNetSpec:
    """The spec that has tensors of exactly these names and shapes (which do not tell the input size).

    Simple bypass has no weights, so a network with it looks like one without.

    Raises:
        InputError: a tensor is missing, unknown or of a shape that no SqueezeNet has.
    """
    bypass_at = frozenset(n for n in FIRE_NUMBERS if f"fire{n}.bypass.weight" in shapes)
    expected = [f"{layer}.{kind}" for layer in layer_names(bypass_at) for kind in ("weight", "bias")]
    missing = [name for name in expected if name not in shapes]
    if missing:
        raise InputError(
            f"{place}: a SqueezeNet must have {missing[0]}, not {len(expected) - len(missing)} of its "
            f"{len(expected)} tensors; give a whole SqueezeNet 1.0 or 1.1"
        )
    unknown = sorted(set(shapes) - set(expected))
    if unknown:
        raise InputError(
            f"{place}: a SqueezeNet must not have {unknown[0]}; give a plain SqueezeNet 1.0 or 1.1"
        )

    stem = shapes["conv1.weight"]
    kernel = stem[2] if len(stem) == 4 else 0
    if kernel not in _VERSION_OF_STEM_KERNEL:
        raise InputError(
            f"{place}: conv1.weight: must be (channels, 3, 7, 7) for 1.0 or (channels, 3, 3, 3) for 1.1, "
            f"not {stem}; give a SqueezeNet"
        )
    channels = _conv(place, shapes, "conv1", 3, kernel)
    stem_channels, fires = channels, []
    for number in FIRE_NUMBERS:
        fire = f"fire{number}"
        squeeze = _conv(place, shapes, f"{fire}.squeeze", channels, 1)
        widths = FireWidths(
            squeeze,
            _conv(place, shapes, f"{fire}.expand1x1", squeeze, 1),
            _conv(place, shapes, f"{fire}.expand3x3", squeeze, 3),
        )
        fires.append(widths)
        if number in bypass_at:
            _conv(place, shapes, f"{fire}.bypass", channels, 1, out_channels=widths.out_channels)
        channels = widths.out_channels
    classes = _conv(place, shapes, "conv10", channels, 1)
    spec = SqueezeNetSpec(
        version=_VERSION_OF_STEM_KERNEL[kernel],
        bypass="complex" if bypass_at else "none",
        num_classes=classes,
        stem_channels=stem_channels,
        fires=tuple(fires),
    )
    wanted = frozenset(n for n in FIRE_NUMBERS if spec.bypass_of(n) == "conv")
    if bypass_at and bypass_at != wanted:
        raise InputError(
            f"{place}: a complex bypass must have a convolution in fires {sorted(wanted)}, "
            f"not in {sorted(bypass_at)}; it belongs where the channel count changes"
        )
    return spec


def _conv(
    place: str | Path,
    shapes: Mapping[str, Shape],
    layer: str,
    inputs: int,
    kernel: int,
    out_channels: int | None = None,
) -> int:
    """Checks the two shapes of a layer; gives its output channels."""
    weight, bias = shapes[f"{layer}.weight"], shapes[f"{layer}.bias"]
    found = weight[0] if weight else 0
    outputs = out_channels if out_channels is not None else found
    if weight != (outputs, inputs, kernel, kernel) or outputs < 1:
        channels = "channels" if out_channels is None else out_channels
        raise InputError(
            f"{place}: {layer}.weight: must be ({channels}, {inputs}, {kernel}, {kernel}) to fit the layers "
            f"around it, not {weight}; give a SqueezeNet"
        )
    if bias != (outputs,):
        raise InputError(
            f"{place}: {layer}.bias: must be ({outputs},) as its weight has it, not {bias}; give a SqueezeNet"
        )
    return outputs
