"""The names of the QONNX file, carried over to the lowered model.

FINN's transformations rename and swap tensors as they move nodes, so names are matched by position: both
graphs are walked from the output, inputs before their readers, and give the same sequence of operations.
"""

from __future__ import annotations

from collections.abc import Iterator

from onnx import NodeProto
from qonnx.core.modelwrapper import ModelWrapper

from fireflow.hw.finn.qonnx_file import AVERAGES, feeds_quantizer, is_weight

_QONNX_KINDS = {"Conv": "conv", "MaxPool": "pool", "Concat": "concat", "Add": "add"}
_QONNX_KINDS |= dict.fromkeys(AVERAGES, "sum")
_LOWERED_KINDS = {"MatMul": "conv", "MultiThreshold": "threshold", "MaxPoolNHWC": "pool", "Concat": "concat"}
_LOWERED_KINDS |= {"Relu": "relu", "ReduceSum": "sum"}
_PARAMETERS = {"conv": "weight", "threshold": "thresholds", "bias": "values", "sum": "axes"}


def qonnx_names(model: ModelWrapper) -> list[tuple[str, str]]:
    """(kind, tensor) of every operation of a QONNX model that the integer graph has too, in post-order."""
    found = []
    for node in _post_order(model):
        kind = _QONNX_KINDS.get(node.op_type)
        if node.op_type == "Quant" and not is_weight(model, node):
            kind = "threshold"
        elif node.op_type == "Relu" and not feeds_quantizer(model, node):
            kind = "relu"
        if kind is not None:
            # What follows the average only changes its shape.
            found.append((kind, model.graph.output[0].name if kind == "sum" else node.output[0]))
    return found


def give_names(model: ModelWrapper, wanted: list[tuple[str, str]]) -> dict[str, str]:
    """Rename the tensors and nodes of a lowered model to the names of its QONNX file.

    The bias of the last layer becomes NAME.bias, the gathered windows of a convolution NAME.im2col,
    parameters NAME.weight, NAME.thresholds, NAME.bias.values. The nodes are put in post-order, so that the
    same file always gives the same model.

    Returns:
        name in the integer graph -> tensor of the model (the same), the input first.
    """
    left = iter(wanted)
    names = [model.graph.input[0].name]
    taken = {*names, *(name for _, name in wanted)}

    def own(name: str) -> str:
        """A name for what the file has no name for; the file's own may look like it."""
        while name in taken:
            name += "_"
        taken.add(name)
        return name

    renamed: dict[str, str] = {}
    nodes = [NodeProto.FromString(node.SerializeToString()) for node in _post_order(model)]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    for node in nodes:
        if node.op_type == "Im2Col":
            continue
        kind = _LOWERED_KINDS.get(node.op_type)
        if node.op_type == "Add":
            kind = "add" if model.get_initializer(node.input[1]) is None else "bias"
        if kind == "bias":
            name = own(f"{names[-1]}.bias")
        else:
            expected, name = next(left)
            assert kind == expected, f"{node.name}: {node.op_type} where {name} ({expected}) belongs"
        names.append(name)
        renamed[node.output[0]] = name
        before = model.find_producer(node.input[0])
        if before is not None and before.op_type == "Im2Col":
            renamed[before.output[0]] = own(f"{name}.im2col")
        if kind in _PARAMETERS:
            renamed[node.input[1]] = own(f"{name}.{_PARAMETERS[kind]}")
    assert next(left, None) is None, "the lowered model lacks operations"
    _rename(model, renamed)
    return {name: name for name in names}


def _rename(model: ModelWrapper, renamed: dict[str, str]) -> None:
    # In two steps: by FINN's swaps a tensor may carry the name that another is about to get.
    changed = [(old, new) for old, new in renamed.items() if old != new]
    between = "fireflow.renamed"
    while any(name.startswith(between) for name in (*model.get_all_tensor_names(), *renamed.values())):
        between += "_"
    for index, (old, _) in enumerate(changed):
        model.rename_tensor(old, f"{between}.{index}")
    for index, (_, new) in enumerate(changed):
        model.rename_tensor(f"{between}.{index}", new)
    for node in model.graph.node:
        node.name = node.output[0]


def _post_order(model: ModelWrapper) -> Iterator[NodeProto]:
    """Every node that the output depends on, once, after the producers of its inputs."""
    producers = {name: node for node in model.graph.node for name in node.output}
    stack = [(producers[model.graph.output[0].name], False)]
    done: set[str] = set()
    while stack:
        node, ready = stack.pop()
        if node.output[0] in done:
            continue
        if ready:
            done.add(node.output[0])
            yield node
        else:
            stack.append((node, True))
            stack.extend((producers[name], False) for name in reversed(node.input) if name in producers)
