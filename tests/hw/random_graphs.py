"""Random small graphs that use every operation, for property tests."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from fireflow.hw.graph import Graph, Node
from fireflow.hw.ops import Add, Bias, Concat, Conv, GlobalSum, MaxPool, Multiply, Op, Relu, Threshold
from fireflow.hw.types import TensorType

# Magnitudes of weights: with the first, accumulators fit 15 bits; then float32, float64, and more than
# float64.
WEIGHTS = (1, 7, 1 << 14, 1 << 36, 1 << 50)


class Builder:
    """Adds nodes and keeps track of the types, so that every draw fits."""

    def __init__(self, rng: np.random.Generator, shape: tuple[int, int, int], hi: int) -> None:
        self.rng, self.nodes = rng, list[Node]()
        self.types = {"image": TensorType(shape, 0, hi)}

    def add(self, op: Op, *inputs: str) -> str:
        name = f"{type(op).__name__.lower()}{len(self.nodes)}"
        self.types[name] = op.infer([self.types[source] for source in inputs])
        self.nodes.append(Node(name, op, inputs))
        return name

    def conv(self, source: str, width: int, kernel: int, stride: int, magnitude: int, same: bool) -> str:
        height, image_width, depth = self.types[source].shape
        pad = (kernel - 1) // 2 if same else 0
        kernel = min(kernel, height + 2 * pad, image_width + 2 * pad)
        weight = self.rng.integers(-magnitude, magnitude + 1, (width, kernel, kernel, depth))
        if self.rng.integers(4) == 0:
            weight[0] = 0  # an output that never changes
        value = int(self.rng.integers(-2, 20)) if pad and self.rng.integers(3) == 0 else 0
        return self.add(Conv(weight, (stride, stride), (pad,) * 4, pad_value=value), source)

    def threshold(self, source: str, affine: bool, steps: int) -> str:
        kind = self.types[source]
        span = max(4, (kind.hi - kind.lo) // 8)
        channels = kind.shape[-1] if self.rng.integers(4) else 1
        if affine:
            step = self.rng.uniform(span / 100, span / steps, (channels, 1)) + 1
            start = self.rng.uniform(-span, span / 2, (channels, 1))
            table = np.ceil(start + step * np.arange(steps)).astype(np.int64)
        else:  # repeated, unreachable and crowded thresholds among them
            table = self.rng.integers(-span, span + 1, (channels, steps))
            table[self.rng.random(table.shape) < 0.1] = kind.lo - 5
            table[self.rng.random(table.shape) < 0.1] = kind.hi + 5
        return self.add(Threshold(np.sort(table, axis=1)), source)

    def pool(self, source: str) -> str:
        height, width, _ = self.types[source].shape
        if min(height, width) < 3:
            return source
        extra = [(size - 3) % 2 for size in (height, width)]
        return self.add(MaxPool((3, 3), (2, 2), (0, 0, extra[0], extra[1])), source)

    def fire(
        self, source: str, widths: tuple[int, int, int], magnitude: int, affine: bool, steps: int
    ) -> str:
        squeeze = self.threshold(self.conv(source, widths[0], 1, 1, magnitude, True), affine, steps)
        one = self.threshold(self.conv(squeeze, widths[1], 1, 1, magnitude, True), affine, steps)
        nine = self.threshold(self.conv(squeeze, widths[2], 3, 1, magnitude, True), affine, steps)
        return self.add(Concat(), one, nine)

    def gate(self, source: str, magnitude: int, affine: bool, steps: int) -> str:
        """The map times a factor for each channel, which the whole map decides."""
        height, width, channels = self.types[source].shape
        whole = self.add(MaxPool((height, width), (1, 1)), source)
        factors = self.threshold(self.conv(whole, channels, 1, 1, magnitude, True), affine, steps)
        return self.threshold(self.add(Multiply(), source, factors), affine, steps)


@st.composite
def graphs(draw: st.DrawFn, weights: tuple[int, ...] = WEIGHTS) -> Graph:
    """A network of two to five blocks and one of several ends."""
    rng = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    shape = (draw(st.integers(3, 11)), draw(st.integers(3, 11)), draw(st.integers(1, 3)))
    build = Builder(rng, shape, draw(st.sampled_from((255, 15))))
    numbers: dict[str, Any] = {"affine": draw(st.booleans()), "steps": draw(st.sampled_from((1, 3, 15, 63)))}
    tensor = "image"
    for block in draw(
        st.lists(
            st.sampled_from(("conv", "fire", "pool", "bypass", "grouped", "gate")), min_size=2, max_size=5
        )
    ):
        magnitude = draw(st.sampled_from(weights))
        width = draw(st.integers(1, 6))
        if block == "conv":
            kernel, stride = draw(st.integers(1, 3)), draw(st.integers(1, 2))
            conv = build.conv(tensor, width, kernel, stride, magnitude, draw(st.booleans()))
            tensor = build.threshold(conv, **numbers)
        elif block == "fire":
            tensor = build.fire(tensor, (width, width, width + 1), magnitude, **numbers)
        elif block == "pool":
            tensor = build.pool(tensor)
        elif block == "gate":
            tensor = build.gate(tensor, magnitude, **numbers)
        elif block == "bypass":
            other = build.threshold(build.conv(tensor, width, 3, 1, magnitude, True), **numbers)
            again = build.threshold(build.conv(tensor, width, 1, 1, magnitude, True), **numbers)
            tensor = build.threshold(build.add(Add(), other, again), **numbers)
        else:
            channels = build.types[tensor].shape[2]
            weight = rng.integers(-3, 4, (2 * channels, 1, 1, 1))
            tensor = build.threshold(build.add(Conv(weight, groups=channels), tensor), **numbers)
    tensor = build.conv(tensor, draw(st.integers(1, 5)), 1, 1, draw(st.sampled_from(weights[:3])), True)
    if draw(st.booleans()):
        tensor = build.add(Bias(rng.integers(-300, 300, build.types[tensor].shape[2])), tensor)
    if draw(st.booleans()):
        tensor = build.add(Relu(), tensor)
    if draw(st.booleans()):
        tensor = build.add(GlobalSum(), tensor)
    return Graph("random", "image", build.types["image"], tuple(build.nodes), 0.5)


def pictures(graph: Graph, count: int, seed: int = 0) -> Any:
    """Random images in the graph's range, with its extremes among them."""
    kind = graph.input_type
    images = (
        np.random.default_rng(seed).integers(kind.lo, kind.hi + 1, (count, *kind.shape)).astype(kind.dtype)
    )
    images[:1] = kind.hi
    return images
