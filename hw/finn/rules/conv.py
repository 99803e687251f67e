"""Convolutions: integer weights in a file's Quant nodes, FINN's Im2Col and MatMul, our matrix products."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import numpy as np
from finn.transformation.streamline.reorder import MoveScalarMulPastConv
from numpy.typing import NDArray
from onnx import AttributeProto, NodeProto, helper
from qonnx.core.datatype import DataType
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import getCustomOp
from qonnx.transformation.extract_conv_bias import ExtractBiasFromConv
from qonnx.transformation.lower_convs_to_matmul import LowerConvsToMatMul

from fireflow.hw.errors import InputError
from fireflow.hw.finn.edits import complete_attributes, integers, new_constant, new_tensor
from fireflow.hw.finn.qonnx_file import QONNX, attribute, is_weight, place, quantizer
from fireflow.hw.finn.rules.base import WINDOW, Form, Forms, Rule, Scales, Stage, Step, Steps
from fireflow.hw.finn.writer import Writer
from fireflow.hw.graph import Node
from fireflow.hw.limits import MAX_WEIGHT_BITS, MIN_WEIGHT_BITS
from fireflow.hw.ops import Conv


def _convolutions(model: ModelWrapper) -> list[NodeProto]:
    return [node for node in model.graph.node if node.op_type == "Conv"]


def _complete_convolutions(model: ModelWrapper) -> None:
    for node in _convolutions(model):
        kernel = list(model.get_tensor_shape(node.input[1])[2:])
        plain = {"strides": [1, 1], "pads": [0, 0, 0, 0], "dilations": [1, 1]}
        complete_attributes(node, {**plain, "kernel_shape": kernel, "group": 1})


def _integer_weights(model: ModelWrapper) -> None:
    """Conv with weights of Quant of scale s  ->  Conv with the integers, Mul by s.

    FINN's FoldQuantWeights gives the same, but infers all shapes anew for every layer: half of the time of a
    whole lowering.
    """
    for node in [n for n in model.graph.node if n.op_type == "Quant" and is_weight(model, n)]:
        (conv,) = model.find_consumers(node.output[0])
        found = quantizer(model, node)
        top = 2 ** (found.bits - 1) - 1
        lo, hi = (-top if found.narrow else -top - 1), top
        steps = model.get_initializer(node.input[0]) / found.scale  # float32, as QONNX and Brevitas divide
        weights = new_constant(model, np.clip(np.round(steps), lo, hi))
        model.set_tensor_datatype(weights, DataType[f"INT{found.bits}"])
        scaled = new_tensor(model, model.get_tensor_shape(conv.output[0]))
        factor = new_constant(model, found.scale.reshape(1, -1, 1, 1))
        model.graph.node.append(helper.make_node("Mul", [scaled, factor], [conv.output[0]]))
        conv.input[1], conv.output[0] = weights, scaled
        model.graph.node.remove(node)


def _trim_kernels(model: ModelWrapper) -> None:
    """Drop kernel rows and columns that only ever meet padding.

    Behind the last pool of a small picture a map may be one pixel wide; QONNX's Im2Col takes such a map for
    one-dimensional, and refuses kernels and padding across it.

    Raises:
        InputError: padding across such a map remains, as in the last layer of SqueezeNet 1.0.
    """
    for node in _convolutions(model):
        attributes = {item.name: item for item in node.attribute}
        sizes = model.get_tensor_shape(node.input[0])[2:]
        outputs = model.get_tensor_shape(node.output[0])[2:]
        strides, pads = attributes["strides"].ints, list(attributes["pads"].ints)
        weights = model.get_initializer(node.input[1])
        for axis, (size, count, stride) in enumerate(zip(sizes, outputs, strides, strict=True)):
            taps = weights.shape[2 + axis]
            at = np.arange(count)[:, None] * stride + np.arange(taps) - pads[axis]  # (outputs, taps)
            used = np.flatnonzero(((at >= 0) & (at < size)).any(axis=0))
            first, last = int(used[0]), int(used[-1])
            weights = weights.take(range(first, last + 1), axis=2 + axis)
            pads[axis], pads[2 + axis] = pads[axis] - first, pads[2 + axis] - (taps - 1 - last)
        if 1 in sizes and any(pads):
            raise InputError(
                f"{place(node)}: a map of {sizes[0]}x{sizes[1]} must not be padded, and pads are {pads}; "
                "use larger pictures"
            )
        if weights.shape == model.get_initializer(node.input[1]).shape:
            continue
        narrow = new_constant(model, weights)
        model.set_tensor_datatype(narrow, model.get_tensor_datatype(node.input[1]))
        node.input[1] = narrow
        attributes["pads"].ints[:] = pads
        attributes["kernel_shape"].ints[:] = weights.shape[2:]


class ConvRule(Rule, op=Conv):
    """Conv in a file; Im2Col, where there is a window to lay out, and MatMul in the lowered model."""

    takes = ("Conv",)
    forms: ClassVar[Forms] = {
        "Conv": Form(
            2,
            3,
            {
                **dict.fromkeys(WINDOW, AttributeProto.INTS),
                "group": AttributeProto.INT,
                "auto_pad": AttributeProto.STRING,
            },
        )
    }
    steps: ClassVar[Steps] = {
        Stage.ATTRIBUTES: (_complete_convolutions,),
        Stage.WEIGHTS: (ExtractBiasFromConv(), _integer_weights),
        Stage.WINDOWS: (_trim_kernels,),
        Stage.SCALES_FORWARD: (MoveScalarMulPastConv(),),
        Stage.NHWC: (LowerConvsToMatMul(),),
    }
    lowered = "MatMul"
    helpers: ClassVar[Mapping[str, str]] = {"Im2Col": "im2col"}
    parameter = "weight"
    hardware_turn = 1

    def complete(
        self, node: NodeProto, producers: Mapping[str, NodeProto], shapes: Mapping[str, tuple[int, ...]]
    ) -> None:
        """One that leaves out its `kernel_shape` gets that of its weights."""
        before = producers.get(node.input[1])
        while before is not None and before.op_type in ("Identity", "Dropout"):
            before = producers.get(before.input[0])
        source = before.input[0] if before is not None and before.op_type == "Quant" else node.input[1]
        weights = shapes.get(source)
        if weights is None:
            raise InputError(
                f"{place(node)}: weights must be quantized constants, not computed from the picture; "
                "quantize this layer"
            )
        if len(weights) != 4:
            raise InputError(
                f"{place(node)}: weights must be (channels, depth, height, width), not {weights}; use Conv2d"
            )
        given = attribute(node, "kernel_shape", None)
        if given is not None and tuple(given) != weights[2:]:
            raise InputError(
                f"{place(node)}: kernel_shape must be that of the weights, {list(weights[2:])}, not {given}; "
                "export it again"
            )
        complete_attributes(node, {"kernel_shape": list(weights[2:])})

    def check(self, model: ModelWrapper, node: NodeProto, scales: Scales) -> None:
        weights = _check_inputs(model, node, scales)
        _check_weights(model, node, weights)
        plain = {"dilations": [1, 1], "auto_pad": b"NOTSET"}
        for name, value in plain.items():
            if (actual := attribute(node, name, value)) != value:
                raise InputError(
                    f"{place(node)}: {name} must be {value}, not {actual}; use a plain convolution"
                )
        _check_readers(model, node)

    def read(self, model: ModelWrapper, node: NodeProto) -> tuple[Conv, list[str]]:
        """Weights (KH * KW * IC, OC) -> (OC, KH, KW, IC)."""
        weight = integers(model, node.input[1])
        assert weight is not None, f"{node.name}: weights are not constant"
        bits = model.get_tensor_datatype(node.input[1]).bitwidth()
        before = model.find_producer(node.input[0])
        if before is None or before.op_type != "Im2Col":
            return Conv(weight.T.reshape(weight.shape[1], 1, 1, -1), weight_bits=bits), [node.input[0]]
        gather = getCustomOp(before)
        kernel, stride, padding = (
            gather.get_nodeattr(name) for name in ("kernel_size", "stride", "pad_amount")
        )
        shaped = weight.T.reshape(weight.shape[1], *kernel, -1)
        return Conv(shaped, tuple(stride), tuple(padding), weight_bits=bits), [before.input[0]]

    def write(self, writer: Writer, node: Node, op: Conv) -> None:
        if op.groups != 1:
            raise InputError(
                f"{node.name}: groups must be 1 for FINN's matrix products, not {op.groups}; ungroup it"
            )
        width, *kernel, depth = op.weight.shape
        source = node.inputs[0]
        if (*kernel, *op.stride) != (1, 1, 1, 1) or any(op.padding):
            height_width = writer.graph.types[node.name].shape[:2]
            window = writer.tensor(f"{node.name}.window", (1, *height_width, kernel[0] * kernel[1] * depth))
            writer.node(
                "Im2Col",
                [source],
                window,
                QONNX,
                kernel_size=kernel,
                stride=list(op.stride),
                pad_amount=list(op.padding),
                pad_value=op.pad_value,
                input_shape=str((1, *writer.graph.types[source].shape)),
            )
            source = window
        kind = DataType[f"INT{max(2, op.weight_bits or 0)}"]
        weight = writer.constant(f"{node.name}.weight", op.weight.reshape(width, -1).T, kind)
        writer.node("MatMul", [source, weight], node.name)

    def magnitude(
        self, node: Node, model: ModelWrapper, scales: Mapping[str, float], source: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], int] | None:
        """Bias included."""
        assert isinstance(node.op, Conv)
        absolute = replace(node.op, weight=np.abs(node.op.weight))
        total = absolute.eval([np.abs(source)]).astype(np.float64)
        conv = model.find_producer(node.name)
        step = quantizer(model, model.find_producer(conv.input[1])).scale.reshape(-1).astype(np.float64)
        bias = model.get_initializer(conv.input[2]) if len(conv.input) > 2 else np.zeros(1)
        size = total * step * scales[node.inputs[0]] + np.abs(bias.reshape(-1).astype(np.float64))
        return size, int(np.prod(node.op.weight.shape[1:])) + 1

    def hardware(self) -> tuple[Step, ...]:
        """The products; their windows are made layers together with those of the pools."""
        from finn.transformation.fpgadataflow.convert_to_hw.quantized_matrix_vector_activation import (
            InferQuantizedMatrixVectorActivation,
        )

        return (InferQuantizedMatrixVectorActivation(),)


def _check_inputs(model: ModelWrapper, node: NodeProto, scales: Scales) -> NodeProto:
    """The quantizer of the weights."""
    weights: NodeProto | None = model.find_producer(node.input[1])
    if weights is None or weights.op_type != "Quant" or not is_weight(model, weights):
        raise InputError(
            f"{place(node)}: weights must be quantized constants, not floats; quantize this layer"
        )
    if node.input[0] not in scales:
        raise InputError(
            f"{place(node)}: the input must be quantized, not {node.input[0]} as it is; quantize it"
        )
    if len(node.input) == 3 and model.get_initializer(node.input[2]) is None:
        raise InputError(
            f"{place(node)}: the bias must be constant, not computed from the picture; use a float bias or Int32Bias"
        )
    if len(model.find_consumers(weights.output[0])) != 1:
        raise InputError(f"{place(node)}: weights must belong to one layer, not be shared; copy them")
    return weights


def _check_weights(model: ModelWrapper, node: NodeProto, weights: NodeProto) -> None:
    found = quantizer(model, weights)
    if not MIN_WEIGHT_BITS <= found.bits <= MAX_WEIGHT_BITS:
        raise InputError(
            f"{place(node)}: weights must have {MIN_WEIGHT_BITS} to {MAX_WEIGHT_BITS} bits, "
            f"not {found.bits}; choose another policy"
        )
    if (group := attribute(node, "group", 1)) != 1:
        raise InputError(
            f"{place(node)}: group must be 1, not {group}; use a plain convolution, since depthwise and grouped "
            "ones are not supported"
        )
    channels, depth, *kernel = model.get_tensor_shape(weights.input[0])
    given = model.get_tensor_shape(node.input[0])[1]
    sizes = [model.get_initializer(name).shape for name in node.input[2:]]
    if depth != given or len(kernel) != 2 or sizes not in ([], [(channels,)]):
        raise InputError(
            f"{place(node)}: weights must be (channels, {given}, height, width) and a bias for each channel, "
            f"not {(channels, depth, *kernel)} with biases {sizes}; export it again"
        )
    if not found.signed or found.scale.shape not in ((), (1,), (1, 1, 1, 1), (channels, 1, 1, 1)):
        sign = "signed" if found.signed else "unsigned"
        raise InputError(
            f"{place(node)}: weights must be signed with one scale or one for each output channel, "
            f"not {sign} with scales {found.scale.shape}; change the weight quantizer"
        )


def _check_readers(model: ModelWrapper, node: NodeProto) -> None:
    readers = model.find_consumers(node.output[0])
    if len(readers) != 1 or readers[0].op_type not in Rule.sum_readers():
        kinds = ", ".join(reader.op_type for reader in readers) or "nothing"
        hint = ""
        if any(reader.op_type == "Quant" and attribute(reader, "signed", 0) for reader in readers):
            hint = " in place of the signed quantizer (in front of a sum, one QuantReLU shared by both sides)"
        raise InputError(
            f"{place(node)}: the result must go into one Relu, not into {kinds}; add QuantReLU{hint}"
        )
