"""The names of the QONNX file, carried over to the lowered model.

FINN's transformations rename and swap tensors as they move nodes, so names are matched by position: both
graphs are walked from the output, inputs before their readers, and give the same sequence of operations.
"""

from __future__ import annotations

from collections.abc import Iterator

from onnx import NodeProto
from qonnx.core.modelwrapper import ModelWrapper

from fireflow.hw.finn.rules import is_helper, rule_of_file, rule_of_lowered
from fireflow.hw.finn.rules.base import Rule


def qonnx_names(model: ModelWrapper) -> list[tuple[Rule, str]]:
    """The rule and the tensor of every operation of a QONNX model that the integer graph has too, in post-order."""
    found = []
    for node in _post_order(model):
        rule = rule_of_file(model, node)
        name = rule.named(model, node)
        if name is not None:
            found.append((rule, name))
    return found


def give_names(model: ModelWrapper, wanted: list[tuple[Rule, str]]) -> None:
    """Rename the tensors and nodes of a lowered model to the names of its QONNX file.

    What the file has no name for is called after its operation: NAME.bias behind the last layer, the gathered windows
    of a convolution NAME.im2col, parameters NAME.weight, NAME.thresholds, NAME.bias.values. The nodes are put in
    post-order, so that the same file always gives the same model.
    """
    left = iter(wanted)
    taken = {model.graph.input[0].name, *(name for _, name in wanted)}

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
        if is_helper(node):
            continue
        rule = rule_of_lowered(model, node)
        if rule.suffix:
            name = own(f"{renamed[node.input[0]]}.{rule.suffix}")
        else:
            expected, name = next(left)
            assert rule is expected, f"{node.name}: {node.op_type} where {name} belongs"
        renamed[node.output[0]] = name
        before = model.find_producer(node.input[0])
        if before is not None and before.op_type in rule.helpers:
            renamed[before.output[0]] = own(f"{name}.{rule.helpers[before.op_type]}")
        if rule.parameter:
            renamed[node.input[1]] = own(f"{name}.{rule.parameter}")
    assert next(left, None) is None, "the lowered model lacks operations"
    _rename(model, renamed)


def graph_tensors(model: ModelWrapper) -> list[str]:
    """The tensors of a lowered model that the integer graph has too, the input first, in topological order."""
    made = [node.output[0] for node in model.graph.node if not is_helper(node)]
    return [model.graph.input[0].name, *made]


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
