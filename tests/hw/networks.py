"""Networks with random weights for tests and benchmarks: SqueezeNet and small ones."""

from __future__ import annotations

import numpy as np

from fireflow.hw.graph import Graph, Node
from fireflow.hw.ops import Add, Bias, Concat, Conv, GlobalSum, MaxPool, Op, Relu, Threshold
from fireflow.hw.types import TensorType

FIRES_1_1 = (((16, 64), (16, 64)), ((32, 128), (32, 128)), ((48, 192), (48, 192), (64, 256), (64, 256)))


def squeezenet(
    size: int = 224,
    classes: int = 1000,
    weight_bits: int = 4,
    bits: int = 4,
    bypass: bool = False,
    seed: int = 0,
    narrow: int = 1,
    stages: tuple[tuple[tuple[int, int], ...], ...] = FIRES_1_1,
) -> Graph:
    """SqueezeNet 1.1 with random weights and evenly spaced thresholds of a realistic size.

    `narrow` divides the channels of every layer but the last; `stages` are the squeeze and expand channels of the
    Fire modules between two pools.
    """
    rng = np.random.default_rng(seed)
    top = (1 << (weight_bits - 1)) - 1
    nodes: list[Node] = []

    def add(name: str, op: Op, *inputs: str) -> str:
        nodes.append(Node(name, op, inputs))
        return name

    def conv(name: str, source: str, depth: int, width: int, kernel: int = 1, stride: int = 1) -> str:
        weight = np.clip(np.rint(rng.standard_normal((width, kernel, kernel, depth)) * top / 2.5), -top, top)
        pad = kernel // 2 if kernel == 3 and stride == 1 else 0
        op = Conv(weight.astype(np.int64), (stride, stride), (pad,) * 4, weight_bits=weight_bits)
        return add(name, op, source)

    def act(name: str, width: int, spread: float) -> str:
        levels = (1 << bits) - 1
        step = spread * rng.uniform(1.5, 3, (width, 1)) / levels
        shift = spread * rng.normal(0, 0.3, (width, 1))
        thresholds = np.ceil(step * (np.arange(levels) + 0.5) + shift).astype(np.int64)
        return add(name + ".act", Threshold(thresholds), name)

    def pool(name: str, source: str, height: int) -> tuple[str, int]:
        after = -(-(height - 3) // 2) + 1
        extra = (after - 1) * 2 + 3 - height
        return add(name, MaxPool((3, 3), (2, 2), (0, 0, extra, extra)), source), after

    spread = top / 2.5 * 0.4 * (1 << bits)
    height = (size - 3) // 2 + 1
    tensor = act(conv("conv1", "image", 3, 64 // narrow, 3, 2), 64 // narrow, top / 2.5 * 150 * 27**0.5)
    tensor, height = pool("pool1", tensor, height)
    depth, index = 64 // narrow, 2
    for stage, fires in enumerate(stages):
        if stage:
            tensor, height = pool(f"pool{index - 1}", tensor, height)
        for wide_squeeze, wide_expand in fires:
            squeeze, expand = wide_squeeze // narrow, wide_expand // narrow
            fire, block_in = f"fire{index}", tensor
            small = act(conv(f"{fire}.squeeze", tensor, depth, squeeze), squeeze, spread * depth**0.5)
            one = act(conv(f"{fire}.expand1x1", small, squeeze, expand), expand, spread * squeeze**0.5)
            nine = act(
                conv(f"{fire}.expand3x3", small, squeeze, expand, 3), expand, spread * (9 * squeeze) ** 0.5
            )
            tensor = add(f"{fire}.concat", Concat(), one, nine)
            if bypass and depth == 2 * expand:
                add(f"{fire}.add", Add(), tensor, block_in)
                tensor = act(f"{fire}.add", 2 * expand, float(1 << bits))
            depth, index = 2 * expand, index + 1
    tensor = conv("conv10", tensor, depth, classes)
    tensor = add("conv10.bias", Bias(rng.integers(-500, 500, classes)), tensor)
    tensor = add("conv10.relu", Relu(), tensor)
    add("scores", GlobalSum(), tensor)
    return Graph("squeezenet", "image", TensorType((size, size, 3), 0, 255), tuple(nodes), 0.001)


def pictures(count: int, shape: tuple[int, ...], seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape)).astype(np.uint8)
