"""The integer graph beside the file's own engine, layer by layer, on pictures: a misread file is an error.

Compared are the results of QONNX's quantizers, Quant, for between them a file has real numbers and no integers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from qonnx.core.modelwrapper import ModelWrapper

from fireflow.hw.errors import InputError
from fireflow.hw.finn import checks, environment
from fireflow.hw.finn.convert import to_graph
from fireflow.hw.finn.execute import Images, Tensors, written_trace
from fireflow.hw.finn.load import load
from fireflow.hw.finn.lowered import MAX_BIAS_ERROR, LoweredModel
from fireflow.hw.finn.read import read_model
from fireflow.hw.finn.rules import rule_of
from fireflow.hw.graph import Graph, Node
from fireflow.hw.preprocessing import Preprocessing

Integers: TypeAlias = "NDArray[np.int64]"
Reals: TypeAlias = "NDArray[np.float64]"

_EPSILON = float(np.finfo(np.float32).eps)
_SLACK = 8.0
"""Standard deviations of float32's rounding that count as rounding: errors of a sum of n products grow as sqrt(n)."""


@dataclass(frozen=True)
class Agreement:
    """How a file's own engine and the integer graph compare.

    Args:
        values: quantized values compared.
        on_boundary: of these, where float32 rounds to the neighbour: the exact value lies on the boundary between
            two integers within float32's own error.
    """

    values: int
    on_boundary: int


@dataclass(frozen=True)
class Described:
    """What a QONNX model says of its tensors.

    Args:
        model: as the lowering reads it.
        scales: of quantized tensors.
        record: what its input expects of a pixel.
    """

    model: ModelWrapper
    scales: Mapping[str, float]
    record: Preprocessing | None


def pictures(shape: tuple[int, ...], seed: int = 0) -> Images:
    """Three pictures that tell layers apart: noise, large structure, and faint noise, which no layer cuts off.

    Returns:
        uint8 (3, H, W, C).
    """
    random = np.random.default_rng(seed)
    height, width, channels = shape
    noise = random.integers(0, 256, shape)
    coarse = random.integers(0, 256, (4, 4, channels))
    rows, columns = np.arange(height) * 4 // height, np.arange(width) * 4 // width
    large = coarse[rows][:, columns] + random.integers(-16, 17, shape)
    faint = random.integers(0, 4, shape)
    return np.stack([noise, np.clip(large, 0, 255), faint]).astype(np.uint8)


def describe(path: str | Path, record: Preprocessing | None) -> Described:
    """A file as the lowering reads it.

    Raises:
        InputError: it breaks a rule.
    """
    model = read_model(path, record)
    return Described(model, checks.check(model), record)


def agreement_of(
    path: str | Path, lowered: LoweredModel, record: Preprocessing | None, images: Images
) -> Agreement:
    """`check_agreement` for a file and what it was lowered to."""
    with environment.finn():
        return check_agreement(load(path), describe(path, record), to_graph(lowered), images)


def check_agreement(written: ModelWrapper, described: Described, graph: Graph, images: Images) -> Agreement:
    """Runs every layer of the graph on what the file's own engine gave the layer before it.

    So each layer is compared on its own, and where float32 cannot tell two integers apart nothing follows from it.

    Args:
        written: the file as `hw.finn.load` read it.
        described: the same file as the lowering reads it, before the lowering.
        graph: what it became.
        images: uint8 (N, H, W, C).

    Raises:
        InputError: a layer differs by more than float32's rounding; names its first value.
    """
    scales, record = described.scales, described.record
    names = [*_floats_wanted(described.model, graph), *(n for n in graph.types if n in scales)]
    output = written.graph.output[0].name
    floats = written_trace(written, images, record, list(dict.fromkeys([*names, output])))
    known: dict[str, Integers] = {graph.input_name: images.astype(np.int64)}
    compared = boundary = 0
    for node in graph.nodes:
        result = node.op.eval([known[name] for name in node.inputs])
        if node.name in scales:
            actual = _integers(node.name, floats[node.name], scales[node.name])
            boundary += _compare(node, result, actual, described, graph, known, floats)
            compared += actual.size
            result = actual
        known[node.name] = result
    _compare_scores(known, described, graph, floats[output])
    return Agreement(compared, boundary)


def _floats_wanted(model: ModelWrapper, graph: Graph) -> Iterator[str]:
    """What quantizers read: the values that are rounded."""
    for name in graph.types:
        producer = model.find_producer(name)
        if producer is not None and producer.op_type == "Quant":
            yield producer.input[0]


def _integers(name: str, values: NDArray[Any], scale: float) -> Integers:
    steps = values.astype(np.float64) / scale
    whole: Integers = np.rint(steps).astype(np.int64)
    # Products of two scales are rounded where they are large.
    if np.any(np.abs(steps - whole) > np.maximum(1e-3, _SLACK * _EPSILON * np.abs(steps))):
        raise InputError(
            f"{name}: values must be multiples of the scale {scale:.9g} in the file's own engine, and they are not; "
            "export it again"
        )
    return whole


def _compare(
    node: Node,
    expected: Integers,
    actual: Integers,
    described: Described,
    graph: Graph,
    known: Mapping[str, Integers],
    floats: Tensors,
) -> int:
    """How many values differ because float32 rounds them otherwise."""
    if expected.shape != actual.shape:
        raise _differs(node.name, f"shape {actual.shape[1:]}", f"shape {expected.shape[1:]}")
    different = expected != actual
    if not different.any():
        return 0
    close = np.zeros_like(different)
    producer = described.model.find_producer(node.name)
    if producer is not None and producer.op_type == "Quant":
        steps = floats[producer.input[0]].astype(np.float64) / described.scales[node.name]
        boundary = (expected + actual) / 2
        error = _error(node.inputs[0], described, graph, known) / described.scales[node.name]
        error = error + _SLACK * _EPSILON * np.abs(steps)
        close = (np.abs(expected - actual) == 1) & (np.abs(steps - boundary) <= error)
    wrong = np.argwhere(different & ~close)
    if len(wrong):
        at = tuple(int(part) for part in wrong[0])
        where = f"{node.name}[{', '.join(map(str, at))}]"
        raise _differs(
            where, str(actual[at]), str(expected[at]), f" ({len(wrong)} of {actual.size} values differ)"
        )
    return int(different.sum())


def _error(tensor: str, described: Described, graph: Graph, known: Mapping[str, Integers]) -> Reals:
    """How much float32 may miss a tensor that the graph computes by: an array that broadcasts against it."""
    node = next(node for node in graph.nodes if node.name == tensor)
    found = _magnitude(node, described, known)
    if found is None:
        return np.zeros(1)
    size, count = found
    error: Reals = _SLACK * _EPSILON * np.sqrt(count) * size
    return error


def _magnitude(node: Node, described: Described, known: Mapping[str, Integers]) -> tuple[Reals, int] | None:
    """The sum of the absolute values that a layer adds up, as reals, and how many they are; None: it adds none."""
    return rule_of(node.op).magnitude(node, described.model, described.scales, known[node.inputs[0]])


def _compare_scores(
    known: Mapping[str, Integers], described: Described, graph: Graph, scores: NDArray[Any]
) -> None:
    """The real scores, computed from the last quantized tensor of the file's own engine."""
    expected = known[graph.output_name] * graph.output_scale
    if expected.shape != scores.shape:
        raise _differs(graph.output_name, f"shape {scores.shape[1:]}", f"shape {expected.shape[1:]}")
    magnitudes = (_magnitude(node, described, known) for node in reversed(graph.nodes))
    size, count = next(found for found in magnitudes if found is not None)
    pixels = int(np.prod(size.shape[1:3]))
    bound = _SLACK * _EPSILON * np.sqrt(count + pixels) * size.mean(axis=(1, 2))
    bound = bound + MAX_BIAS_ERROR * graph.output_scale * pixels
    wrong = np.argwhere(np.abs(scores - expected) > bound)
    if len(wrong):
        row, label = (int(part) for part in wrong[0])
        raise _differs(
            f"{graph.output_name}[{row}, {label}]", f"{scores[row, label]:.9g}", f"{expected[row, label]:.9g}"
        )


def _differs(where: str, actual: str, expected: str, more: str = "") -> InputError:
    return InputError(
        f"{where}: the integers must be what the file's own engine (qonnx) computes, not {expected} where it gives "
        f"{actual}{more}; the file means something that fireflow does not read: report it with the file"
    )
