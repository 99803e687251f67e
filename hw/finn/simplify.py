"""The same network in the operations that the lowering knows: constants computed, what changes nothing removed."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.general.quant import quant
from qonnx.transformation.general import RemoveUnusedTensors, SortGraph
from qonnx.transformation.infer_shapes import InferShapes

from fireflow.hw.errors import InputError
from fireflow.hw.finn import constants
from fireflow.hw.finn.load import QUANT_DOMAINS, opset
from fireflow.hw.finn.qonnx_file import place, quantizer
from fireflow.hw.finn.rules import SUPPORTED, steps, taken
from fireflow.hw.finn.rules.base import Stage, apply
from fireflow.hw.finn.unsupported import check_operations, refusal

_OPSET = 13
"""The oldest in which the lowering's own operations mean what they mean today."""


def simplify(model: ModelWrapper) -> ModelWrapper:
    """A copy of a loaded model with such nodes only as a rule takes.

    Tensors that stay keep their names. Constants are computed, Identity and Dropout go, an average pool over the
    whole map is an average of all pixels, what reshapes the average is one Flatten, a bias quantized by itself
    is a constant.

    Raises:
        InputError: a Dropout that trains, a constant that cannot be computed, or an operation that remains.
    """
    model = ModelWrapper(model.model, make_deepcopy=True)
    _fold_constants(model)
    for node in list(model.graph.node):
        if node.op_type in constants.IDLE:
            _check_dropout(model, node)
            _bypass(model, node)
    for step in steps(Stage.SIMPLIFY):
        model = apply(step, model)
    check_operations(model.graph.node, partial(taken, model), ("", *QUANT_DOMAINS), SUPPORTED)
    found = opset(model.model)
    for item in model.model.opset_import:
        if item.domain == "" and found is not None:
            item.version = max(found, _OPSET)
    _forget_annotations(model)
    for cleaning in (RemoveUnusedTensors(), SortGraph(), InferShapes()):
        model = model.transform(cleaning)
    return model


def _fold_constants(model: ModelWrapper) -> None:
    """The quantizers of biases, and what is computed from shapes: nodes of which no operation comes."""
    for node in list(model.graph.node):  # sorted: what a node reads is folded before it
        if node.op_type == "Shape":
            shape = model.get_tensor_shape(node.input[0])
            if shape is None or node.attribute:
                raise refusal(node, ("",), SUPPORTED)
            result: NDArray[Any] | None = np.array(shape, np.int64)
        elif node.op_type == "Quant" and all(model.get_initializer(name) is not None for name in node.input):
            result = _quantized_bias(model, node)
        else:
            result = constants.evaluate(node, model.model)
        if result is not None:
            model.graph.node.remove(node)
            model.set_initializer(node.output[0], result)


def _quantized_bias(model: ModelWrapper, node: NodeProto) -> NDArray[Any] | None:
    """The value of a quantizer of constants whose only readers are biases; None for one of weights."""
    readers = model.find_consumers(node.output[0]) or []
    if not readers or any(list(reader.input[2:3]) != [node.output[0]] for reader in readers):
        return None
    found = quantizer(model, node)
    if found.bits > 32:
        raise InputError(f"{place(node)}: a bias must have at most 32 bits, not {found.bits}; use Int32Bias")
    bits, zero = np.float32(found.bits), np.float32(0)
    value = model.get_initializer(node.input[0])
    result: NDArray[Any] = quant(value, found.scale, zero, bits, found.signed, found.narrow, "ROUND")
    return result.astype(np.float32)


def _check_dropout(model: ModelWrapper, node: NodeProto) -> None:
    """Without a training mode, which has to be a constant, Dropout gives its input."""
    if node.op_type != "Dropout" or len(node.input) < 3:
        return
    training = model.get_initializer(node.input[2])
    if training is None or bool(np.any(training)):
        raise refusal(node, ("",), SUPPORTED)


def _bypass(model: ModelWrapper, node: NodeProto) -> None:
    """Takes a node out whose result is its first input."""
    source, result = node.input[0], node.output[0]
    model.graph.node.remove(node)
    if result != model.graph.output[0].name:
        for reader in model.graph.node:
            for index, name in enumerate(reader.input):
                if name == result:
                    reader.input[index] = source
        return
    before = model.find_producer(source)
    if before is None or len(model.find_consumers(source) or []) > 0:
        raise InputError(
            f"{place(node)}: the output must be the scores of one layer, not {source} itself; change it"
        )
    before.output[0] = result


def _forget_annotations(model: ModelWrapper) -> None:
    """Types that another tool noted; the lowering finds its own. The input's must be one that uint8 pixels fit."""
    name = model.graph.input[0].name
    kind = model.get_tensor_datatype(name).name
    if kind not in ("FLOAT32", "UINT8"):
        raise InputError(
            f"{name}: the input must hold uint8 pixels, not {kind} as its annotation says; export it again"
        )
    del model.graph.quantization_annotation[:]
