"""Quantizers of activations: QONNX's Quant, FINN's MultiThreshold."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from finn.transformation.streamline.absorb import AbsorbTransposeIntoMultiThreshold
from onnx import AttributeProto, NodeProto, helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import getCustomOp

from fireflow.hw.errors import InputError
from fireflow.hw.finn.datatypes import smallest_type
from fireflow.hw.finn.edits import affine, constants_before, integers, new_constant, new_tensor, remove
from fireflow.hw.finn.lowered import ACCUMULATOR_LIMIT
from fireflow.hw.finn.qonnx_file import QONNX, is_weight, place, quantizer
from fireflow.hw.finn.rules.base import Form, Forms, Rule, Scales, Stage, Step, Steps
from fireflow.hw.finn.writer import Writer
from fireflow.hw.graph import Graph, Node
from fireflow.hw.limits import MAX_ACTIVATION_BITS
from fireflow.hw.ops import Threshold

_TIE = 1e-9
"""Relative distance at which a threshold counts as an integer. Float64 leaves 1e-15, other numbers 1e-7."""


def _plain_quantizers(model: ModelWrapper) -> None:
    """Parameters in the one form that FINN reads: widths and zero points as scalars, ROUND by its usual name."""
    for node in model.graph.node:
        if node.op_type != "Quant":
            continue
        found = quantizer(model, node)
        for index, value in ((2, 0.0), (3, float(found.bits))):
            name = f"{node.output[0]}.{('zero_point', 'bits')[index - 2]}"
            while model.get_tensor_shape(name) is not None:
                name += "_"
            node.input[index] = name
            model.set_initializer(name, np.array(value, np.float32))
        for item in node.attribute:
            if item.name == "rounding_mode":
                item.s = b"ROUND"


def _take_scales_out_of_quantizers(model: ModelWrapper) -> None:
    """Relu, Quant of scale s  ->  Div by s, Relu, Quant of scale 1, Mul by s.

    FINN then makes the thresholds 0.5, 1.5, ..., exact in float32, and s is left to `_fold_into_thresholds`.
    """
    for node in [n for n in model.graph.node if n.op_type == "Quant" and not is_weight(model, n)]:
        scale = np.float32(quantizer(model, node).scale.flat[0])
        if scale == 1:
            continue
        relu = model.find_producer(node.input[0])
        shape = model.get_tensor_shape(node.output[0])
        divided, quantized = new_tensor(model, shape), new_tensor(model, shape)
        model.graph.node.extend(
            [
                helper.make_node("Div", [relu.input[0], new_constant(model, scale)], [divided]),
                helper.make_node("Mul", [quantized, new_constant(model, scale)], [node.output[0]]),
            ]
        )
        relu.input[0] = divided
        node.input[1] = new_constant(model, np.float32(1))
        node.output[0] = quantized


def _fold_into_thresholds(model: ModelWrapper) -> None:
    """Fold the constants before every MultiThreshold into it: integer thresholds for integer inputs.

    Takes the place of FINN's AbsorbAddIntoMultiThreshold, AbsorbMulIntoMultiThreshold and
    RoundAndClipThresholds: in their float32 an accumulator next to a threshold may change sides. Here all constants
    of a layer stay nodes of their own until they are folded at once, in float64.

    An integer x comes through x * c, x + c and x / c to the thresholds as a * x + b. Level k is reached where
    round(a * x + b) >= k. At a * x + b = k - 1/2 exactly, round goes to the even one of k - 1 and k.
    """
    for node in [n for n in model.graph.node if n.op_type == "MultiThreshold"]:
        chain = constants_before(model, node)
        scale, offset = affine(model, chain)
        if not np.all(scale > 0):
            raise InputError(f"{place(node)}: scales must be above 0, not {scale.min()}; calibrate again")
        levels = model.get_initializer(node.input[1]).astype(np.float64)  # (1, T): 0.5, 1.5, ...
        exact = (levels - offset[:, None]) / scale[:, None]  # (C, T), or (1, T) after a sum
        nearest = np.round(exact)
        tie = np.abs(exact - nearest) <= _TIE * np.maximum(1, np.abs(nearest))
        rounds_up = np.round(levels) > levels
        thresholds = np.where(tie, np.where(rounds_up, nearest, nearest + 1), np.ceil(exact))
        # No accumulator goes further, and float32 holds every integer up to here.
        thresholds = np.clip(thresholds, -ACCUMULATOR_LIMIT, ACCUMULATOR_LIMIT)
        model.set_initializer(node.input[1], thresholds.astype(np.float32))
        if chain:
            node.input[0] = chain[0].input[0]
        remove(model, chain)


class ThresholdRule(Rule, op=Threshold):
    """Quant of what a picture decides; those of weights are the convolution's, and pass here unread."""

    takes = ("Quant",)
    respells = ("IntQuant",)
    forms: ClassVar[Forms] = {
        "Quant": Form(
            4,
            4,
            {
                **dict.fromkeys(("signed", "narrow"), AttributeProto.INT),
                "rounding_mode": AttributeProto.STRING,
            },
        )
    }
    steps: ClassVar[Steps] = {
        Stage.SIMPLIFY: (_plain_quantizers,),
        Stage.SCALES: (_take_scales_out_of_quantizers,),
        Stage.THRESHOLDS: (_fold_into_thresholds,),
        Stage.TRANSPOSES: (AbsorbTransposeIntoMultiThreshold(),),
    }
    lowered = "MultiThreshold"
    parameter = "thresholds"
    hardware_turn = 0

    def check(self, model: ModelWrapper, node: NodeProto, scales: Scales) -> None:
        if is_weight(model, node):
            return
        found = quantizer(model, node)
        before = model.find_producer(node.input[0])
        kind = before.op_type if before is not None else "the input"
        if kind != "Relu" or found.signed or found.narrow:
            raise InputError(
                f"{place(node)}: an activation must follow a Relu, unsigned and not narrow, not follow {kind} "
                f"with signed={int(found.signed)}, narrow={int(found.narrow)}; use QuantReLU"
            )
        if found.bits > MAX_ACTIVATION_BITS:
            raise InputError(
                f"{place(node)}: activations must have at most {MAX_ACTIVATION_BITS} bits, not {found.bits}; "
                "choose a policy of fewer"
            )
        if found.scale.size != 1:
            raise InputError(
                f"{place(node)}: an activation must have one scale, not {found.scale.size}; use a per-tensor one"
            )
        scales[node.output[0]] = float(found.scale.flat[0])

    def named(self, model: ModelWrapper, node: NodeProto) -> str | None:
        return None if is_weight(model, node) else super().named(model, node)

    def read(self, model: ModelWrapper, node: NodeProto) -> tuple[Threshold, list[str]]:
        attributes = getCustomOp(node)
        assert attributes.get_nodeattr("out_scale") == 1, node.name
        assert attributes.get_nodeattr("data_layout") == "NHWC", node.name
        thresholds = integers(model, node.input[1])
        assert thresholds is not None
        return Threshold(thresholds, int(attributes.get_nodeattr("out_bias"))), [node.input[0]]

    def write(self, writer: Writer, node: Node, op: Threshold) -> None:
        kind = writer.graph.types[node.name]
        writer.node(
            "MultiThreshold",
            [node.inputs[0], writer.constant(f"{node.name}.thresholds", op.thresholds)],
            node.name,
            QONNX,
            out_dtype=f"{'INT' if kind.signed else 'UINT'}{kind.bits}",
            out_bias=float(op.out_lo),
            out_scale=1.0,
            data_layout="NHWC",
        )

    def annotate(self, model: ModelWrapper, node: Node, graph: Graph) -> None:
        """Clips the thresholds to what is read; the type of the result is an attribute of the node."""
        assert isinstance(node.op, Threshold)
        source, name = graph.types[node.inputs[0]], model.find_producer(node.name).input[1]
        tight = np.clip(node.op.thresholds, source.lo, source.hi + 1)
        model.set_initializer(name, tight.astype(np.float32))
        model.set_tensor_datatype(name, smallest_type(source.lo, source.hi + 1))

    def hardware(self) -> tuple[Step, ...]:
        from finn.transformation.fpgadataflow.convert_to_hw.thresholding import InferThresholdingLayer

        return (InferThresholdingLayer(),)
