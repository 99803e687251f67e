"""From the lowered model to the integer graph, node for node."""

from __future__ import annotations

from fireflow.hw.finn.lowered import LoweredModel
from fireflow.hw.finn.rules import is_helper, rule_of_lowered
from fireflow.hw.graph import Graph, Node
from fireflow.hw.types import TensorType


def to_graph(lowered: LoweredModel, name: str = "network") -> Graph:
    """The integer graph of a lowered model.

    Args:
        lowered: what `hw.finn.lowering.lower` gave.
        name: the graph's name.

    Raises:
        InputError: a value range that the graph cannot hold.
    """
    model = lowered.model
    image = model.graph.input[0].name
    _, height, width, channels = model.get_tensor_shape(image)
    nodes = []
    for node in model.graph.node:
        if is_helper(node):
            continue  # read together with the node behind it
        op, sources = rule_of_lowered(model, node).read(model, node)
        nodes.append(Node(node.output[0], op, tuple(sources)))
    image_type = TensorType((height, width, channels), 0, 255)
    return Graph(name, image, image_type, tuple(nodes), lowered.output_scale)
