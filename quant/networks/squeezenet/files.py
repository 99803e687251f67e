"""How files hold a SqueezeNet: the names of published weights, and the spec that shapes and wiring belong to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fireflow.hw.errors import InputError
from fireflow.hw.preprocessing import TORCHVISION, Preprocessing
from fireflow.quant.imported.input_record import NOTHING_TOLD, Told
from fireflow.quant.imported.operations import shown
from fireflow.quant.imported.raw import SAVE, Raw, Shape
from fireflow.quant.imported.step_graph import StepGraph
from fireflow.quant.networks.base import WeightFiles
from fireflow.quant.networks.squeezenet.spec import (
    FIRE_NUMBERS,
    FireWidths,
    PoolBorder,
    SqueezeNetSpec,
    Version,
)
from fireflow.quant.networks.squeezenet.wiring import Wiring, recognised

_VERSION_OF_STEM_KERNEL: dict[int, Version] = {7: "1.0", 3: "1.1"}
_AS_TORCHVISION = Told(
    guess=TORCHVISION, whose="torchvision's", because="its tensors are named as torchvision's"
)
# Names that torchvision's and Gluon's (the model zoo's) SqueezeNet give conv1; both take normalised RGB.
_TORCHVISION_STEM = re.compile(r"(.*\.)?features\.0\.weight|squeezenet\d+_conv0_weight")
_FIRE = re.compile(r"features\.(\d+)\.(squeeze|expand1x1|expand3x3)\.(weight|bias)")
_FIRST = re.compile(r"features\.0\.(weight|bias)")
_LAST = re.compile(r"classifier\.1\.(weight|bias)")


class SqueezeNetFiles(WeightFiles):
    """Caffe's, the ONNX model zoo's and torchvision's SqueezeNets, and our own names."""

    mark = r"(?:features\.\d+|fire\d+)\.squeeze\.weight"

    def named(self, path: Path, source: str, arrays: Mapping[str, npt.NDArray[Any]]) -> Raw:
        """Torchvision's tensors are recognised by their names."""
        if not any(name.startswith("features.") for name in arrays):
            return Raw(arrays, source)
        numbers = sorted({int(match[1]) for match in map(_FIRE.fullmatch, arrays) if match})
        if len(numbers) != len(FIRE_NUMBERS):
            raise InputError(
                f"{path}: features must have {len(FIRE_NUMBERS)} Fire modules, not {len(numbers)}; "
                "give torchvision's squeezenet1_0 or squeezenet1_1"
            )
        fire_of = dict(zip(numbers, FIRE_NUMBERS, strict=True))
        renamed = {}
        for name, array in arrays.items():
            if match := _FIRE.fullmatch(name):
                name = f"fire{fire_of[int(match[1])]}.{match[2]}.{match[3]}"
            elif match := _FIRST.fullmatch(name):
                name = f"conv1.{match[1]}"
            elif match := _LAST.fullmatch(name):
                name = f"conv10.{match[1]}"
            if name in renamed:
                raise InputError(
                    f"{path}: {name} must be there once, not under torchvision's name too; {SAVE}"
                )
            renamed[name] = array
        version_1_0 = renamed.get("conv1.weight", np.zeros(0)).shape[2:] == (7, 7)
        wanted = [3, 4, 5, 7, 8, 9, 10, 12] if version_1_0 else [3, 4, 6, 7, 9, 10, 11, 12]
        if numbers != wanted:  # the pools are where the numbers have gaps
            raise InputError(
                f"{path}: Fire modules must be features {wanted}, not {numbers}; give torchvision's network"
            )
        return Raw(renamed, source, _AS_TORCHVISION, Wiring(head_padding=0))

    def told_by(self, names: Iterable[str]) -> Told:
        """What the name of conv1 tells."""
        return _AS_TORCHVISION if any(map(_TORCHVISION_STEM.fullmatch, names)) else NOTHING_TOLD

    def recognised(self, graph: StepGraph, source: str, scores: int | None, told: Told) -> Raw:
        """The network that `wiring.recognised` finds."""
        return recognised(graph, source, scores, told)

    def spec_of(self, place: str | Path, shapes: Mapping[str, Shape]) -> SqueezeNetSpec:
        """A simple bypass has no weights, so a network with it looks like one without."""
        return infer_spec(place, shapes)

    def wiring(self, metadata: Mapping[str, Any]) -> Wiring:
        """Files of before pools and the last ReLU could differ do not have them."""
        return Wiring(
            int(metadata["head_padding"]),
            bool(metadata["simple_bypass"]),
            head_relu=bool(metadata.get("head_relu", True)),
            pools=tuple(PoolBorder(**border) for border in metadata.get("pools", [{}] * 3)),
        )

    def wired(
        self, path: Path, raw: Raw, spec: SqueezeNetSpec, chosen: Preprocessing
    ) -> tuple[SqueezeNetSpec, list[str]]:
        """Padding of conv10, bypasses, pools and the last ReLU."""
        known = Wiring() if raw.wiring is None else raw.wiring
        padding, notes = known.head_padding, []
        if known.pools is None or known.head_relu is None:
            notes = [
                f"{path.name}: connections assumed as published (pools that round up, a ReLU in front of the average), "
                f"for a {raw.source} file does not tell"
            ]
        if padding is None:
            # Only the authors' Caffe 1.0 pads conv10; torchvision's 1.0 does not, and 1.1 never does.
            padding = int(spec.version == "1.0" and chosen.source_order == "BGR")
            if spec.version == "1.0":
                notes.append(
                    f"{path.name}: padding of conv10 assumed {padding}, as with {chosen.source_order} pictures"
                )
        wired = replace(
            spec,
            head_padding=padding,
            bypass="simple" if known.simple_bypass else spec.bypass,
            head_relu=known.head_relu is not False,
            pools=known.pools or spec.pools,
        )
        around = tuple(number for number in FIRE_NUMBERS if wired.bypass_of(number))
        if known.bypassed not in (None, around):
            raise InputError(
                f"{path}: bypasses must be around fires {list(around)}, whose outputs are as wide as their inputs, "
                f"not {list(known.bypassed or ())}; give a SqueezeNet with a bypass around each of them or none"
            )
        if known.average is not None and known.average[1] != (wired.head_side,) * 2:
            name, kernel = known.average
            raise InputError(
                f"{path}: {shown(name)}: the average must take all of its map, {wired.head_side}x{wired.head_side} at "
                f"input {wired.input_size}, not {'x'.join(map(str, kernel))}; "
                "choose the --input-size that it was made for"
            )
        return wired, notes


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
