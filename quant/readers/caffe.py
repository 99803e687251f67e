"""Caffe's .caffemodel files, old and new, without Caffe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fireflow.hw.errors import InputError
from fireflow.quant.imported.input_record import Told
from fireflow.quant.imported.operations import Step, listed, shown
from fireflow.quant.imported.raw import Raw
from fireflow.quant.networks import name_layers
from fireflow.quant.readers.base import Reader
from fireflow.quant.readers.caffe_format import V1_TYPES, parse, unknown_field
from fireflow.quant.readers.caffe_layers import Layer, operation
from fireflow.quant.readers.caffe_pictures import layer_told, nothing_told, shape_told

_TRAIN, _TEST = 0, 1
_SOURCES = {
    "Data",
    "HDF5Data",
    "ImageData",
    "WindowData",
    "MemoryData",
    "DummyData",
    "Input",
    "AnnotatedData",
}
_ENDS = {"Accuracy", "MultinomialLogisticLoss", "Silence", "SoftmaxWithLoss"}
"""Layers that measure what comes out; the scores are what they read."""
_IN_PLACE = {"BatchNorm", "Bias", "Dropout", "Power", "ReLU", "Scale", "Softmax"}
"""Layers that Caffe lets overwrite their input."""


def read_caffemodel(path: Path) -> Raw:
    """The convolutions of a network from a .caffemodel file.

    Raises:
        InputError: no network that is known here. On damage, whatever protobuf raises.
    """
    net = parse(path.read_bytes())
    layers = _layers(path, net)
    if not layers:
        raise InputError(f"{path}: a .caffemodel file must hold layers, not none; download it again")
    number = unknown_field(net)
    if number is not None and number not in (5, 7):  # force_backward, debug_info
        raise InputError(
            f"{path}: must have the fields of BVLC Caffe, not field {number}; give a plain SqueezeNet"
        )
    included = [layer for layer in layers if _is_included(net, layer, _TEST)]
    if not any(layer.kind in _SOURCES for layer in included):
        # Snapshots are of the network in training, and so is its data layer.
        included = [
            layer
            for layer in layers
            if layer in included or (layer.kind in _SOURCES and _is_included(net, layer, _TRAIN))
        ]
    picture, told, outside = _picture(path, net, included)
    return name_layers(path, "caffe", _steps(included, picture, outside), picture, None, told)


def _layers(path: Path, net: Any) -> list[Layer]:
    if len(net.layer) and len(net.layers):
        raise InputError(f"{path}: must have layers of one version, not of two; upgrade it with Caffe")
    found = []
    for message in list(net.layer) or list(net.layers):
        kind = (
            message.type
            if isinstance(message.type, str)
            else V1_TYPES.get(message.type, f"type {message.type}")
        )
        found.append(Layer(f"{path}: {shown(message.name)}", kind, message))
    return found


def _is_included(net: Any, layer: Layer, phase: int) -> bool:
    """Whether a layer is part of the network in a phase, by Caffe's rules."""
    include, exclude = layer.message.include, layer.message.exclude
    if include and exclude:
        raise layer.wrong("a layer must have rules of inclusion or of exclusion", "both")
    if include:
        return any(_meets(net.state, rule, phase) for rule in include)
    return not any(_meets(net.state, rule, phase) for rule in exclude)


def _meets(state: Any, rule: Any, phase: int) -> bool:
    stages = set(state.stage)
    return not (
        (rule.HasField("phase") and rule.phase != phase)
        or (rule.HasField("min_level") and state.level < rule.min_level)
        or (rule.HasField("max_level") and state.level > rule.max_level)
        or not stages.issuperset(rule.stage)
        or not stages.isdisjoint(rule.not_stage)
    )


def _picture(path: Path, net: Any, layers: Sequence[Layer]) -> tuple[str, Told, set[str]]:
    """The tensor of the pictures, what is told of them, and the other tensors that come from outside."""
    told: dict[str, Told | Layer] = {}
    for position, name in enumerate(net.input):
        dims = list(net.input_dim[4 * position : 4 * position + 4])
        if position < len(net.input_shape):
            dims = list(net.input_shape[position].dim)
        told[name] = shape_told(f"{path}: {shown(name)}", dims) if dims and position == 0 else nothing_told()
    outside = set(net.input)
    for layer in layers:
        if layer.kind in _SOURCES and layer.message.top:
            if outside.intersection(layer.message.top):
                raise layer.wrong("each tensor must come from one layer", "two")
            told[layer.message.top[0]] = layer
            outside.update(layer.message.top)
    behind = {name: name for name in outside}  # through splits, to what they split
    read: set[str] = set()
    for layer in layers:
        if layer.kind == "Split":
            sources = [behind[name] for name in layer.message.bottom if name in behind]
            behind.update({top: sources[0] for top in layer.message.top if sources})
        elif layer.kind not in _ENDS and layer.kind not in _SOURCES:
            read.update(behind[name] for name in layer.message.bottom if name in behind)
            for name in layer.message.top:
                behind.pop(name, None)
    if len(read) != 1 or not read <= set(told):
        raise InputError(
            f"{path}: the network must read one input, not {listed(sorted(read))}; give the whole network"
        )
    (picture,) = read
    what = told[picture]
    return picture, layer_told(what) if isinstance(what, Layer) else what, outside - {picture}


def _steps(layers: Sequence[Layer], picture: str, outside: set[str]) -> Iterator[Step]:
    """The layers that the picture passes through; labels, which are `outside` too, go to what measures only."""
    given = {picture, *outside}
    for layer in layers:
        bottoms, tops = tuple(layer.message.bottom), tuple(layer.message.top)
        if layer.kind in _SOURCES or layer.kind in _ENDS:
            continue
        if layer.kind == "Split" and outside.issuperset(bottoms):
            outside.update(tops)
            continue
        for position, top in enumerate(tops):
            in_place = layer.kind in _IN_PLACE and bottoms[position : position + 1] == (top,)
            if top in given and not in_place:
                raise layer.wrong("each tensor must come from one layer", f"{shown(top)} from two")
        given.update(tops)
        yield Step(operation(layer), layer.message.name, bottoms, tops if layer.kind == "Split" else tops[:1])


Reader((".caffemodel",), read_caffemodel)
