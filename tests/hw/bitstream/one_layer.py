"""The network that the open tools make a bitstream of in the tests, and the command for it."""

from __future__ import annotations

import numpy as np

from fireflow.hw.bundle import Bundle, Manifest
from fireflow.hw.golden import Golden
from fireflow.hw.graph import Graph, Node
from fireflow.hw.ops import Bias, Conv, GlobalSum, Relu
from fireflow.hw.types import TensorType
from tests.hw.networks import pictures

SIZE = 6


def network() -> Graph:
    """One layer of four classes, on pictures of 6 x 6: the shell is the largest part of it."""
    weight = np.random.default_rng(3).integers(-7, 8, (4, 1, 1, 3))
    nodes = (
        Node("conv10", Conv(weight, (1, 1), (0, 0, 0, 0), weight_bits=4), ("image",)),
        Node("conv10.bias", Bias(np.array([900, -400, 0, 77])), ("conv10",)),
        Node("conv10.relu", Relu(), ("conv10.bias",)),
        Node("scores", GlobalSum(), ("conv10.relu",)),
    )
    return Graph("one-layer", "image", TensorType((SIZE, SIZE, 3), 0, 255), nodes, 0.01)


def one_layer() -> Bundle:
    """Its bundle, with three golden images whose scores differ."""
    graph = network()
    golden = Golden.record(graph, pictures(3, (SIZE, SIZE, 3)))
    assert len(np.unique(golden.scores, axis=0)) == 3
    return Bundle(graph, Manifest(), golden)
