"""QONNX networks built node by node, valid or with one fault."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

QONNX = "qonnx.custom_op.general"


class Builder:
    """Adds layers to a network; scales are powers of two, so that float32 computes it exactly.

    Args:
        seed: of the weights.
        shape: (channels, height, width) of the picture.
    """

    def __init__(self, seed: int = 0, shape: tuple[int, int, int] = (3, 9, 9)) -> None:
        self.rng = np.random.default_rng(seed)
        self.shape, self.opset = shape, 13
        self.channels = {"image": shape[0]}
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def constant(self, name: str, value: Any, dtype: Any = np.float32) -> str:
        self.constants[name] = numpy_helper.from_array(np.asarray(value, dtype), name)
        return name

    def node(self, kind: str, inputs: list[str], name: str, domain: str = "", **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, domain=domain, **attributes))
        return name

    def quant(self, source: str, name: str, scale: Any, bits: int, **attributes: Any) -> str:
        parameters = [
            self.constant(f"{name}.scale", scale),
            self.constant(f"{name}.zero", attributes.pop("zero_point", 0)),
            self.constant(f"{name}.bits", bits),
        ]
        attributes = {"signed": 0, "narrow": 0, "rounding_mode": "ROUND", **attributes}
        return self.node("Quant", [source, *parameters], name, QONNX, **attributes)

    def conv(
        self,
        name: str,
        source: str,
        channels: int,
        kernel: int = 1,
        stride: int = 1,
        pad: int = 0,
        bits: int = 4,
        per_channel: bool = True,
        bias_step: float = 1 / 16,
        **attributes: Any,
    ) -> str:
        shape = (channels, self.channels[source], kernel, kernel)
        top = 2 ** (bits - 1) - 1
        scales = 2.0 ** -self.rng.integers(1, 4, (channels if per_channel else 1, 1, 1, 1))
        weight = self.constant(f"{name}.weight", self.rng.integers(-top, top + 1, shape) * scales)
        quantized = self.quant(weight, f"{name}.weight.quant", scales, bits, signed=1, narrow=1)
        # Often a multiple of the accumulator's scale: then thresholds are reached exactly at a half.
        bias = self.constant(f"{name}.bias", self.rng.integers(-40, 40, channels) * bias_step)
        self.channels[name] = channels
        attributes = {"strides": [stride] * 2, "pads": [pad] * 4, **attributes}
        return self.node("Conv", [source, quantized, bias], name, **attributes)

    def act(self, source: str, scale: float = 0.5, bits: int = 4, **attributes: Any) -> str:
        relu = self.node("Relu", [source], f"{source}.relu")
        self.channels[f"{source}.act"] = self.channels[source]
        return self.quant(relu, f"{source}.act", scale, bits, **attributes)

    def pool(
        self, name: str, source: str, kernel: int = 3, stride: int = 2, pad: int = 0, ceil: int = 1
    ) -> str:
        self.channels[name] = self.channels[source]
        return self.node(
            "MaxPool",
            [source],
            name,
            kernel_shape=[kernel] * 2,
            strides=[stride] * 2,
            pads=[pad] * 4,
            ceil_mode=ceil,
        )

    def join(self, kind: str, name: str, *sources: str) -> str:
        widths = [self.channels[source] for source in sources]
        self.channels[name] = sum(widths) if kind == "Concat" else widths[0]
        return self.node(kind, list(sources), name, **({"axis": 1} if kind == "Concat" else {}))

    def map_size(self, tensor: str) -> list[int]:
        """Rows and columns of a tensor so far."""
        shapes = plain_shapes(self.model(tensor))
        return shapes[tensor][2:]

    def gate(self, name: str, source: str, scale: float = 0.5, bits: int = 4, swapped: bool = False) -> str:
        """The map times a factor for each channel, which the whole map decides: squeeze and excitation."""
        whole = self.node(
            "MaxPool", [source], f"{name}.pool", kernel_shape=self.map_size(source), strides=[1, 1]
        )
        self.channels[whole] = self.channels[source]
        factors = self.act(self.conv(f"{name}.excite", whole, self.channels[source]), scale, bits)
        return self.join("Mul", f"{name}.scaled", *((factors, source) if swapped else (source, factors)))

    def head(
        self, source: str, scale: float = 0.5, classes: int = 5, relu: bool = True, **attributes: Any
    ) -> None:
        """Conv with a bias of whole accumulator steps (the source has `scale`), Relu, average."""
        last = self.conv("head", source, classes, per_channel=False, **attributes)
        step = float(numpy_helper.to_array(self.constants["head.weight.quant.scale"]).item()) * scale
        self.constant("head.bias", self.rng.integers(-30, 30, classes) * step)
        if relu:
            last = self.node("Relu", [last], "head.relu")
        self.node("GlobalAveragePool", [last], "average")
        self.node("Flatten", ["average"], "scores", axis=1)

    def model(self, output: str = "scores") -> onnx.ModelProto:
        outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)]
        inputs = [helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, *self.shape))]
        graph = helper.make_graph(self.nodes, "test", inputs, outputs, list(self.constants.values()))
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid(QONNX, 2)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)

    def save(self, path: Path) -> Path:
        onnx.save(self.model(), str(path))
        return path


def plain_shapes(model: onnx.ModelProto) -> dict[str, list[int]]:
    """The shapes of a model's tensors by ONNX's own inference, which does not know quantizers."""
    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    for node in plain.graph.node:
        if node.op_type == "Quant":
            node.op_type, node.domain = "Identity", ""
            del node.input[1:], node.attribute[:]
    graph = onnx.shape_inference.infer_shapes(plain).graph
    return {
        item.name: [axis.dim_value for axis in item.type.tensor_type.shape.dim]
        for item in (*graph.value_info, *graph.output)
    }


def fire(
    builder: Builder, name: str, source: str, scale: float = 0.5, widths: tuple[int, int, int] = (2, 3, 3)
) -> str:
    """A Fire module without bypass; gives its concat."""
    squeezed = builder.act(builder.conv(f"{name}.squeeze", source, widths[0]))
    branches = [
        builder.act(builder.conv(f"{name}.expand1x1", squeezed, widths[1]), scale),
        builder.act(builder.conv(f"{name}.expand3x3", squeezed, widths[2], kernel=3, pad=1), scale),
    ]
    return builder.join("Concat", f"{name}.concat", *branches)


def valid(seed: int = 0) -> Builder:
    """A small network with every operation."""
    builder = Builder(seed)
    first = builder.act(builder.conv("conv1", "image", 4, kernel=3, bits=6))
    pooled = builder.pool("pool1", first)
    inside = fire(builder, "fire2", pooled)
    around = builder.act(builder.conv("fire2.bypass", pooled, 6))
    joined = builder.act(builder.join("Add", "fire2.add", inside, around))
    builder.head(builder.act(builder.gate("gate", joined)))
    return builder
