"""Float networks in ONNX files: the model zoo's, exports of torchvision's, and any connected like them."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import external_data_helper, numpy_helper

from fireflow.hw.errors import InputError
from fireflow.quant.imported.operations import Step, shown
from fireflow.quant.imported.raw import MAX_BYTES, Raw
from fireflow.quant.networks import name_layers, told_by_names
from fireflow.quant.readers.base import Reader
from fireflow.quant.readers.onnx_operations import Node, operation
from fireflow.quant.readers.onnx_pictures import metadata_told
from fireflow.quant.readers.onnx_shapes import Shape, as_shape, computed_shape, shape_of_tensor

_MOST_NODES = 2000
_OLDEST_OPSET = 7
_FLATTENING = ("Flatten", "Reshape", "Squeeze")


def read_onnx(path: Path) -> Raw:
    """The convolutions of a network from an ONNX file (its external data must lie beside it).

    Raises:
        InputError: no float network that is known here. On damage, whatever onnx raises.
    """
    model = load_model(path)
    graph = model.graph
    initializers = {tensor.name: tensor for tensor in graph.initializer}
    image = _picture(path, graph, set(initializers))
    opset = _check(path, model)
    sides, batch = _sides(path, image)
    reader = _Reader(path, graph, image.name, opset, batch)
    return name_layers(
        path,
        "onnx",
        reader.steps(),
        image.name,
        graph.output[0].name,
        metadata_told(path, model, told_by_names(initializers), sides),
    )


def load_model(path: Path) -> onnx.ModelProto:
    """The model of a file, with external data from beside it.

    Raises:
        InputError: external data that is too large, or is no regular file. On damage, whatever onnx raises.
    """
    model = onnx.load(str(path), load_external_data=False)
    external = [t for t in model.graph.initializer if external_data_helper.uses_external_data(t)]
    files = {path.parent / external_data_helper.ExternalDataInfo(tensor).location for tensor in external}
    found = [file.stat() for file in files]
    if not all(stat.S_ISREG(one.st_mode) for one in found):
        raise InputError(f"{path}: external data must be regular files, not others; copy them beside it")
    size = sum(one.st_size for one in found)
    if size > MAX_BYTES:
        raise InputError(
            f"{path}: external data must have at most {MAX_BYTES} bytes, not {size}; is it a SqueezeNet?"
        )
    if external:
        # onnx refuses locations that leave the folder.
        external_data_helper.load_external_data_for_model(model, str(path.parent))
    return model


def _picture(path: Path, graph: onnx.GraphProto, constants: set[str]) -> onnx.ValueInfoProto:
    images: list[onnx.ValueInfoProto] = [value for value in graph.input if value.name not in constants]
    if len(images) != 1:
        found = ", ".join(shown(value.name) for value in images) or "none"
        raise InputError(f"{path}: the graph must have one input, not {found}; export it again")
    if len(graph.output) != 1:
        found = ", ".join(shown(value.name) for value in graph.output) or "none"
        raise InputError(f"{path}: the graph must have one output, not {found}; export the scores alone")
    return images[0]


def _check(path: Path, model: onnx.ModelProto) -> int:
    """The version of ONNX's operators, after a check of what is outside of single nodes."""
    if len(model.graph.node) > _MOST_NODES:
        count = len(model.graph.node)
        raise InputError(f"{path}: must have at most {_MOST_NODES} nodes, not {count}; is it a SqueezeNet?")
    if model.functions or model.graph.sparse_initializer:
        what = "functions of its own" if model.functions else "sparse weights"
        raise InputError(f"{path}: must be plain ONNX, not with {what}; inline them and export it again")
    versions = [item.version for item in model.opset_import if item.domain in ("", "ai.onnx")]
    newest = onnx.defs.onnx_opset_version()
    if len(versions) != 1 or not _OLDEST_OPSET <= versions[0] <= newest:
        found = ", ".join(map(str, versions)) or "none"
        raise InputError(
            f"{path}: opset must be {_OLDEST_OPSET} to {newest}, not {found}; convert it with onnx.version_converter"
        )
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        reason = shown(str(error).strip().splitlines()[0], 200)
        raise InputError(f"{path}: must be valid ONNX, and is not ({reason}); export it again") from None
    return int(versions[0])


def _sides(path: Path, image: onnx.ValueInfoProto) -> tuple[int | None, int | None]:
    """Side of the picture and number of pictures, None where the graph leaves them open."""
    kind = image.type.tensor_type
    dims = [dim.dim_value if dim.dim_value > 0 else None for dim in kind.shape.dim]
    place = f"{path}: {shown(image.name)}"
    if kind.elem_type != onnx.TensorProto.FLOAT:
        name = onnx.TensorProto.DataType.Name(kind.elem_type)
        raise InputError(f"{place}: the input must be float32, not {name}; convert the network to float32")
    if not kind.HasField("shape"):
        return None, None
    text = ", ".join("any" if dim is None else str(dim) for dim in dims)
    if len(dims) != 4 or dims[1] not in (3, None) or (dims[2] or dims[3]) != (dims[3] or dims[2]):
        raise InputError(f"{place}: the input must be (N, 3, side, side), not ({text}); export it again")
    return dims[2] or dims[3] or None, dims[0]


class _Reader:
    """The nodes of a graph that the picture passes through; constants and shapes are computed on the way."""

    def __init__(self, path: Path, graph: onnx.GraphProto, image: str, opset: int, batch: int | None) -> None:
        self.path, self.graph, self.opset, self.batch = path, graph, opset, batch
        self.ranks = {image: 4}
        self.stored = {tensor.name: tensor for tensor in graph.initializer}
        self.constants: dict[str, npt.NDArray[Any]] = {}
        self.shapes: dict[str, Shape] = {}

    def steps(self) -> Iterator[Step]:
        for number, proto in enumerate(self.graph.node):
            name = proto.name or f"{proto.op_type} {number}"
            place = f"{self.path}: {shown(name)}"
            if proto.domain not in ("", "ai.onnx"):
                raise InputError(
                    f"{place}: operations must be ONNX's own, not {shown(proto.domain)}.{shown(proto.op_type)}; "
                    "export the plain float network"
                )
            attributes = {a.name: onnx.helper.get_attribute_value(a) for a in proto.attribute}
            inputs = list(proto.input)
            picture = [tensor for tensor in inputs if tensor in self.ranks]
            if not picture:
                self._aside(proto, attributes, inputs)
            elif proto.op_type in ("Shape", "Size"):
                if proto.op_type == "Shape":
                    shape = shape_of_tensor(inputs[0], self.ranks[inputs[0]], attributes)
                    self.shapes[proto.output[0]] = shape
            else:
                node = self._node(place, proto.op_type, attributes, inputs, picture)
                if proto.op_type == "BatchNormalization" and len([o for o in proto.output if o]) > 1:
                    raise node.wrong("a BatchNormalization must give one output", "those of training")
                made = operation(node)
                rank = self.ranks[picture[0]]
                flat = proto.op_type in _FLATTENING or (proto.op_type, attributes.get("keepdims")) == (
                    "ReduceMean",
                    0,
                )
                self.ranks[proto.output[0]] = 2 if flat else rank
                yield Step(made, name, tuple(picture), (proto.output[0],))

    def _node(
        self, place: str, kind: str, attributes: dict[str, Any], inputs: list[str], picture: list[str]
    ) -> Node:
        constants = {name: array for name in inputs if (array := self._constant(name)) is not None}
        shapes = {name: shape for name in inputs if (shape := self._shape(name)) is not None}
        return Node(place, kind, attributes, inputs, picture, constants, shapes, self.opset, self.batch)

    def _aside(self, proto: onnx.NodeProto, attributes: dict[str, Any], inputs: list[str]) -> None:
        """A node that the picture does not pass through: a constant, or a part of a shape."""
        if proto.op_type == "Constant":
            (value,) = attributes.values()
            is_tensor = isinstance(value, onnx.TensorProto)
            dtypes = {float: np.float32, int: np.int64}
            first = value[0] if isinstance(value, list) and value else value
            array = numpy_helper.to_array(value) if is_tensor else np.asarray(value, dtypes.get(type(first)))
            self.constants[proto.output[0]] = array
            return
        constants = [self._constant(name) for name in inputs]
        if proto.op_type in ("Identity", "Cast") and len(constants) == 1 and constants[0] is not None:
            array = constants[0]
            if proto.op_type == "Cast" and attributes.get("to") == onnx.TensorProto.FLOAT:
                array = array.astype(np.float32)
            if proto.op_type == "Identity" or attributes.get("to") == onnx.TensorProto.FLOAT:
                self.constants[proto.output[0]] = array
                return
        shapes = [self._shape(name) for name in inputs if name]
        if all(shape is not None for shape in shapes):
            shape = computed_shape(proto.op_type, attributes, shapes)
            if shape is not None:
                self.shapes[proto.output[0]] = shape

    def _constant(self, name: str) -> npt.NDArray[Any] | None:
        if name not in self.constants and name in self.stored:
            self.constants[name] = numpy_helper.to_array(self.stored[name])
        return self.constants.get(name)

    def _shape(self, name: str) -> Shape | None:
        return self.shapes[name] if name in self.shapes else as_shape(self._constant(name))


Reader((".onnx",), read_onnx)
