"""From the integer graph back to a model of FINN's: what the lowering gave, for builders that start from a bundle."""

from __future__ import annotations

from fireflow.hw.finn.environment import finn
from fireflow.hw.finn.lowered import LoweredModel
from fireflow.hw.finn.ranges import annotate
from fireflow.hw.finn.rules import rule_of
from fireflow.hw.finn.writer import Writer
from fireflow.hw.graph import Graph


def to_model(graph: Graph) -> LoweredModel:
    """The model that `hw.finn.convert.to_graph` makes this graph of: NHWC, integers in float32.

    Tensors have the graph's names.

    Raises:
        InputError: an operation that FINN has no node for.
    """
    writer = Writer(graph)
    for node in graph.nodes:
        rule_of(node.op).write(writer, node, node.op)
    with finn():
        lowered = LoweredModel(writer.model(), graph.output_scale)
        annotate(lowered)
    return lowered
