"""Which convolution of an imported graph is which layer of a SqueezeNet, by how they are connected.

Names differ between exporters and change with fine-tuning; the connections do not. Every operation between the
picture and the scores must be one that the network built from the file has too, at its place: what is left over,
missing or of another kind is refused by its name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fireflow.hw.errors import InputError
from fireflow.quant.imported.input_record import Told
from fireflow.quant.imported.operations import (
    Add,
    Average,
    Concat,
    Conv,
    Flatten,
    MaxPool,
    Scaling,
    Softmax,
    listed,
    shown,
    wrong,
)  # fmt: skip
from fireflow.quant.imported.raw import Raw
from fireflow.quant.imported.step_graph import PICTURE, Layer, StepGraph
from fireflow.quant.networks.squeezenet.spec import FIRE_NUMBERS, PoolBorder, Version

# Borders of a pool as (first, last) padding of an axis and rounding up: those that a 3x3 pool of stride 2 has by
# another name too. Rounding up is a row of padding at the end: (n + 1 - 3) // 2 is (n - 3) / 2 rounded up.
_BORDERS = {
    (0, 0, False): PoolBorder(0, ceil=False),
    (0, 0, True): PoolBorder(0, ceil=True),
    (0, 1, False): PoolBorder(0, ceil=True),
    (1, 1, False): PoolBorder(1, ceil=False),
    (1, 0, True): PoolBorder(1, ceil=False),
    (1, 1, True): PoolBorder(1, ceil=True),
}


@dataclass
class _Found:
    """What has been recognised so far, by our names."""

    layers: dict[str, Layer] = field(default_factory=dict)
    pools: dict[str, tuple[str, MaxPool]] = field(default_factory=dict)
    bypassed: list[int] = field(default_factory=list)

    def pool_behind(self, place: str, pool: tuple[str, MaxPool] | None) -> None:
        if pool is not None:
            self.pools[place] = pool


@dataclass(frozen=True, slots=True)
class Wiring:
    """What a file tells of a SqueezeNet beside its tensors.

    Args:
        head_padding: padding of conv10 where the file tells, else None.
        simple_bypass: the file shows sums without convolutions around Fires.
        bypassed: the Fires that something goes around; None where the file does not tell.
        head_relu: whether a ReLU follows conv10; None where the file does not tell.
        pools: border rules of the max pools, in order; None where the file does not tell.
        average: name and kernel of the average at the end, where it is not over all of its map by itself.
    """

    head_padding: int | None = None
    simple_bypass: bool = False
    bypassed: tuple[int, ...] | None = None
    head_relu: bool | None = None
    pools: tuple[PoolBorder, ...] | None = None
    average: tuple[str, tuple[int, ...]] | None = None


def recognised(graph: StepGraph, source: str, scores: int | None, told: Told) -> Raw:
    """Gives every convolution its name in our naming; see `WeightFiles.recognised`.

    Raises:
        InputError: this is not how a SqueezeNet is connected.
    """
    found = _Found()
    current, normalised = _stem(graph, found)
    for number in FIRE_NUMBERS:
        current = _fire(graph, found, number, current)
    average, ending = _head(graph, found, current, scores)
    left = [node for node in range(len(graph.nodes)) if node not in graph.used]
    if left:
        raise wrong(graph.path, "must have no operations but those of a SqueezeNet", graph.names(left))
    for layer, made in found.layers.items():
        _check_geometry(graph.path, layer, made)
    arrays = {}
    for layer, made in found.layers.items():
        arrays[f"{layer}.weight"] = made.conv.weight
        missing_bias = np.zeros(len(made.conv.weight), np.float32)
        arrays[f"{layer}.bias"] = missing_bias if made.conv.bias is None else made.conv.bias
    return Raw(
        arrays,
        source,
        told.without_guess("it normalises the picture itself") if normalised else told,
        Wiring(
            head_padding=found.layers["conv10"].conv.padding[0],
            simple_bypass=bool(found.bypassed) and not any(name.endswith(".bypass") for name in found.layers),
            bypassed=tuple(found.bypassed),
            head_relu=found.layers["conv10"].relu,
            pools=_pools(graph.path, found),
            average=average,
        ),
        softmax=ending,
    )


def _stem(graph: StepGraph, found: _Found) -> tuple[int, bool]:
    """Recognises conv1; gives the node behind it, and whether the file scales the picture before."""
    node, before = PICTURE, []
    while (reader := graph.sole_reader(node)) is not None:
        operation = graph.nodes[reader].operation
        if not isinstance(operation, Scaling):
            break
        before.append(operation)
        graph.used.add(reader)
        node = reader
    convs = graph.reading(node, Conv)
    if len(convs) != 1 or len(graph.readers[node]) != 1:
        raise wrong(graph.path, "one convolution must read the image", graph.names(graph.readers[node]))
    stem = graph.nodes[convs[0]].operation
    assert isinstance(stem, Conv)
    channels = {part.size for scaling in before for part in (scaling.scale, scaling.shift)} - {1}
    if before and (any(stem.padding) or channels - {stem.weight.shape[1]}):
        raise wrong(
            graph.path, "a scaling of the picture must stand before a convolution without padding",
            graph.names(convs),
        )  # fmt: skip
    layer = graph.layer(convs[0], before)
    found.layers["conv1"] = layer
    if not layer.relu:
        raise _no_relu(graph, "conv1", layer)
    found.pool_behind("conv1", layer.pool)
    return layer.last, bool(before)


def _fire(graph: StepGraph, found: _Found, number: int, source: int) -> int:
    """Recognises a Fire module that reads node `source`; gives the node behind it."""
    fire = f"fire{number}"
    squeeze, around = _squeeze(graph, fire, source)
    expands = [graph.layer(conv) for conv in graph.reading(squeeze.last, Conv)]
    by_kernel = {layer.conv.weight.shape[2:]: layer for layer in expands}
    if set(by_kernel) != {(1, 1), (3, 3)}:
        shapes = listed([str(layer.conv.weight.shape) for layer in expands])
        raise wrong(
            graph.path, f"{fire}: expand convolutions must have kernels 1x1 and 3x3", f"weights {shapes}"
        )
    one, three = by_kernel[1, 1], by_kernel[3, 3]
    found.layers |= {f"{fire}.squeeze": squeeze, f"{fire}.expand1x1": one, f"{fire}.expand3x3": three}
    joined = _concat(graph, fire, one, three)
    last, relu, pool = graph.tail(joined)
    for layer in (one, three):
        if not (layer.relu or relu):
            raise _no_relu(graph, f"{fire}.expand", layer)
    if around is not None:
        found.layers[f"{fire}.bypass"] = around
    behind = source if around is None else around.last
    sums = [n for n in graph.reading(last, Add) if sorted(graph.nodes[n].reads) == sorted((last, behind))]
    if sums:  # others that read this module's output belong to the next
        if len(sums) > 1 or pool is not None:
            raise wrong(
                graph.path, f"{fire}: a bypass must be added to the expand branches", graph.names(sums)
            )
        graph.used.add(sums[0])
        found.bypassed.append(number)
        last, relu, pool = graph.tail(sums[0])
    elif around is not None:
        raise wrong(graph.path, f"{fire}: a bypass must be added to the expand branches", around.step)
    others = [n for n in graph.readers[source] if n not in graph.used]
    if others:
        raise wrong(
            graph.path, f"{fire}: its input must go to its squeeze and a bypass only", graph.names(others)
        )
    found.pool_behind(fire, pool)
    return last


def _squeeze(graph: StepGraph, fire: str, source: int) -> tuple[Layer, Layer | None]:
    """The squeeze layer of a Fire module, and the convolution around it if there is one."""
    layers = [graph.layer(conv) for conv in graph.reading(source, Conv)]
    squeezes = [layer for layer in layers if graph.reading(layer.last, Conv)]
    bypasses = [layer for layer in layers if not graph.reading(layer.last, Conv)]
    expands = graph.readers[squeezes[0].last] if squeezes else []
    if (
        len(squeezes) != 1
        or len(bypasses) > 1
        or len(expands) != 2
        or len(graph.reading(squeezes[0].last, Conv)) != 2
    ):
        found = f"{listed(layer.step for layer in layers)} read by {graph.names(expands)}"
        rule = f"{fire}: must be one squeeze convolution that two expand convolutions read"
        raise wrong(graph.path, rule, found)
    for name, layer in [(f"{fire}.squeeze", squeezes[0]), *((f"{fire}.bypass", layer) for layer in bypasses)]:
        if not layer.relu:
            raise _no_relu(graph, name, layer)
        if layer.pool is not None:
            raise wrong(graph.path, f"{name}: no pool must follow it", layer.pool[0])
    return squeezes[0], bypasses[0] if bypasses else None


def _concat(graph: StepGraph, fire: str, one: Layer, three: Layer) -> int:
    rule = f"{fire}: expand1x1 and expand3x3 must be concatenated in this order"
    for layer in (one, three):
        if layer.pool is not None:
            raise wrong(graph.path, f"{fire}: no pool must stand before the concat", layer.pool[0])
    readers = sorted({*graph.readers[one.last], *graph.readers[three.last]})
    if len(readers) != 1 or graph.nodes[readers[0]].reads != (one.last, three.last):
        raise wrong(graph.path, rule, graph.names(readers))
    operation = graph.nodes[readers[0]].operation
    if not isinstance(operation, Concat):
        raise wrong(graph.path, rule, graph.names(readers))
    if operation.axis not in (1, -3):
        place = f"{shown(graph.nodes[readers[0]].name)}: a concat must be along the channels, axis 1"
        raise wrong(graph.path, place, operation.axis)
    graph.used.add(readers[0])
    return readers[0]


def _head(
    graph: StepGraph, found: _Found, source: int, scores: int | None
) -> tuple[tuple[str, tuple[int, ...]] | None, str | None]:
    """Recognises all from conv10 to the scores; gives an average that has a kernel, and what a softmax reads."""
    convs = graph.reading(source, Conv)
    if len(convs) != 1 or len(graph.readers[source]) != 1:
        raise wrong(graph.path, "conv10: one convolution must read fire9", graph.names(graph.readers[source]))
    head = found.layers["conv10"] = graph.layer(convs[0])
    node = graph.sole_reader(head.last)
    average = None if node is None else graph.nodes[node].operation
    if node is None or head.pool is not None or not isinstance(average, Average):
        raise wrong(
            graph.path, f"conv10 ({shown(head.step)}): an average over its maps must follow",
            head.pool[0] if head.pool else graph.names(graph.readers[head.last]),
        )  # fmt: skip
    ending = None
    graph.used.add(node)
    kernel = None if average.kernel is None else (graph.nodes[node].name, average.kernel)
    while (reader := graph.sole_reader(node)) is not None:
        operation = graph.nodes[reader].operation
        classes = len(head.conv.weight)
        if isinstance(operation, Flatten) and operation.classes not in (None, classes):
            place = f"{shown(graph.nodes[reader].name)}: must leave {classes} classes"
            raise wrong(graph.path, place, operation.classes)
        if isinstance(operation, Softmax) and ending is None:
            ending = graph.nodes[reader].tensor
        elif not isinstance(operation, Flatten):
            break
        graph.used.add(reader)
        node = reader
    if graph.readers[node] or scores not in (None, node):
        raise wrong(graph.path, "the network must end behind its average", graph.names(graph.readers[node]))
    return kernel, ending


def _no_relu(graph: StepGraph, name: str, layer: Layer) -> InputError:
    following = graph.names(graph.readers[layer.last])
    return wrong(graph.path, f"{name} ({shown(layer.step)}): a ReLU must follow", following)


def _version(found: _Found) -> Version:
    return "1.0" if found.layers["conv1"].conv.weight.shape[2:] == (7, 7) else "1.1"


def _check_geometry(path: Path, layer: str, made: Layer) -> None:
    stride = (2, 2) if layer == "conv1" else (1, 1)
    pad = 1 if layer.endswith("expand3x3") else 0
    paddings = [(pad,) * 4] + ([(1,) * 4] if layer == "conv10" else [])
    rules: dict[str, tuple[object, Sequence[object]]] = {
        "stride": (made.conv.stride, [stride]),
        "padding": (made.conv.padding, paddings),
        "groups": (made.conv.groups, [1]),
        "dilation": (made.conv.dilation, [(1, 1)]),
    }
    for what, (value, allowed) in rules.items():
        if value not in allowed:
            raise wrong(
                path, f"{layer} ({shown(made.step)}): {what} must be {listed(allowed, ' or ')}", str(value)
            )


def _pools(path: Path, found: _Found) -> tuple[PoolBorder, ...]:
    """The border rule of each max pool, in order."""
    version = _version(found)
    wanted = ["conv1", "fire4", "fire8"] if version == "1.0" else ["conv1", "fire3", "fire5"]
    if sorted(found.pools) != sorted(wanted):
        raise wrong(
            path, f"max pools must follow {listed(wanted)} in SqueezeNet {version}", listed(found.pools)
        )
    return tuple(_border(path, place, *found.pools[place]) for place in wanted)


def _border(path: Path, place: str, name: str, pool: MaxPool) -> PoolBorder:
    where = f"pool behind {place} ({shown(name)})"
    if (pool.kernel, pool.stride) != ((3, 3), (2, 2)):
        raise wrong(
            path, f"{where}: must be 3x3 with stride 2", f"kernel {pool.kernel}, stride {pool.stride}"
        )
    top, left, bottom, right = pool.padding
    border = _BORDERS.get((top, bottom, pool.ceil)) if (top, bottom) == (left, right) else None
    if border is None:
        raise wrong(
            path, f"{where}: padding must be 0 or 1 and alike in both directions",
            f"{pool.padding} and rounding {'up' if pool.ceil else 'down'}",
        )  # fmt: skip
    return border
