"""QONNX export with names that later stages keep, golden vectors and a model card."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import onnx
import torch
from brevitas.export import export_qonnx
from onnx import ModelProto, NodeProto
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.fold_constants import FoldConstants
from qonnx.transformation.general import (
    GiveUniqueParameterTensors,
    RemoveStaticGraphInputs,
    RemoveUnusedTensors,
)
from qonnx.transformation.infer_shapes import InferShapes
from qonnx.transformation.quant_constant_folding import FoldTransposeIntoQuantInit

from fireflow.hw.errors import InputError
from fireflow.hw.files import atomic_file
from fireflow.quant.networks.base import Network, pool_behind

_OPSET = 13

# qonnx.util.cleanup without its last two steps, which would replace our names by numbers.
_CLEANUP = (
    InferShapes(),
    GiveUniqueParameterTensors(),
    FoldConstants(exclude_op_types=["Quant"]),
    FoldTransposeIntoQuantInit(),
    RemoveUnusedTensors(),
    RemoveStaticGraphInputs(),
    InferShapes(),
)


def export(network: Network, path: Path) -> None:
    """Write a finalized network as QONNX.

    The input ``image`` is float32 (1, 3, S, S) holding uint8 RGB pixels; the output ``scores`` is float32
    (1, classes). Tensors are named as layers are: ``conv1`` (accumulator with bias), ``conv1.act``, ``pool1``; joins as
    `Network.joined` names them.

    Raises:
        InputError: the network is float or not finalized.
    """
    if network.policy is None or network.pixel_offset is not None:
        raise InputError("export: the network must be quantized and finalized; see quant.finalize")
    size = network.spec.input_size
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.onnx and its tracer warn of their own deprecations
        raw = Path(scratch) / "raw.onnx"
        pixels = torch.zeros(1, 3, size, size)
        export_qonnx(network.eval(), pixels, str(raw), opset_version=_OPSET, dynamo=False)
        model = ModelWrapper(str(raw))
        name_tensors(model, network)
        for transformation in _CLEANUP:
            model = model.transform(transformation)
    with atomic_file(path) as temporary:
        onnx.save(model.model, str(temporary))


def name_tensors(model: ModelWrapper, network: Network) -> None:
    """Give every tensor of interest its canonical name, found by how it is connected (see `export`)."""
    proto: ModelProto = model.model
    weights = {tensor.name for tensor in proto.graph.initializer}
    producers = {output: node for node in proto.graph.node for output in node.output}
    names: dict[str, str] = {proto.graph.input[0].name: "image", proto.graph.output[0].name: "scores"}
    for node in proto.graph.node:
        if (name := _canonical(node, names, producers, weights, network)) is not None:
            names.setdefault(node.output[0], name)
    for old, new in names.items():
        model.rename_tensor(old, new)
    for node in proto.graph.node:
        node.name = node.output[0]
        if node.op_type == "Quant":
            node.domain = "qonnx.custom_op.general"  # Brevitas still writes the name it had before qonnx


def _canonical(
    node: NodeProto,
    names: dict[str, str],
    producers: dict[str, NodeProto],
    weights: set[str],
    network: Network,
) -> str | None:
    if node.op_type == "Conv":
        source = node.input[1] if node.input[1] in weights else producers[node.input[1]].input[0]
        return str(source).removesuffix(".weight")
    before = names.get(node.input[0])
    if before is None:
        return None
    if node.op_type == "Relu":
        return f"{before}.relu"
    if node.op_type == "Quant":
        return before.removesuffix(".relu") + ".act"
    if node.op_type == "MaxPool":
        return pool_behind(before)
    kind = {"Concat": "concat", "Add": "add"}.get(node.op_type)
    return None if kind is None else network.joined(kind, [names.get(name, "") for name in node.input])
