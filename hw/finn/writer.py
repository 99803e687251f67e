"""Nodes and constants of a model of FINN's, collected operation by operation."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper
from qonnx.core.datatype import BaseDataType
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.util.basic import qonnx_make_model

from fireflow.hw.finn.datatypes import smallest_type
from fireflow.hw.graph import Graph


class Writer:
    """The model of an integer graph in the making: NHWC, integers in float32, tensors under the graph's names.

    Args:
        graph: gives the shapes.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, NDArray[Any]] = {}
        self._extra: list[onnx.ValueInfoProto] = []
        image = graph.input_type
        self._types: dict[str, BaseDataType] = {graph.input_name: smallest_type(image.lo, image.hi)}

    def node(self, kind: str, inputs: list[str], output: str, domain: str = "", **attributes: Any) -> None:
        """Adds a node, named as its output."""
        self._nodes.append(helper.make_node(kind, inputs, [output], name=output, domain=domain, **attributes))

    def constant(self, name: str, value: NDArray[Any], kind: BaseDataType | None = None) -> str:
        """Adds a constant, stored as float32, under the name that it returns; `kind` is its integer type."""
        self._constants[name] = value.astype(np.float32)
        if kind is not None:
            self._types[name] = kind
        return name

    def axes(self, name: str, axes: tuple[int, ...]) -> str:
        """Adds a list of axes, stored as int64."""
        self._constants[name] = np.array(axes, np.int64)
        return name

    def tensor(self, name: str, shape: tuple[int, ...]) -> str:
        """Adds a tensor that the graph does not have, of (N, H, W, C)."""
        self._extra.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape))
        return name

    def model(self) -> ModelWrapper:
        """What was added, as a model; made inside `environment.finn`."""
        model = ModelWrapper(qonnx_make_model(self._proto()))
        for name, value in self._constants.items():
            model.set_initializer(name, value)
        for name, kind in self._types.items():
            model.set_tensor_datatype(name, kind)
        return model

    def _proto(self) -> onnx.GraphProto:
        graph = self.graph
        ends = (graph.input_name, graph.output_name)
        source, output = (self._info(name) for name in ends)
        inner = [self._info(name) for name in graph.types if name not in ends]
        return helper.make_graph(
            self._nodes, graph.name, [source], [output], value_info=[*inner, *self._extra]
        )

    def _info(self, name: str) -> onnx.ValueInfoProto:
        shape = (1, *self.graph.types[name].shape)
        return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
