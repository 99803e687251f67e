"""RTL simulation of an accelerator: the stitched top, or every layer on its own, against the integers."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fireflow.hw.dataflow.layers.base import Layer
from fireflow.hw.dataflow.network import Dataflow
from fireflow.hw.dataflow.stream import Stream
from fireflow.hw.dataflow.timing import ANY_FAMILY
from fireflow.hw.files import PathLike
from fireflow.hw.rtl.names import module_name, modules, safe_layers
from fireflow.hw.rtl.stitch import Design, seal, write_layer
from fireflow.hw.tools.axi_stream import pack_words, unpack_words
from fireflow.hw.tools.verilator import Simulation

if TYPE_CHECKING:
    from fireflow.hw.types import Array, Int64Array

Progress = Callable[[int, float], None]
MVU_MODEL = Path(__file__).parent / "finn" / "mvu_model.sv"
"""Takes the place of FINN's mvu.sv, whose packed DSPs take minutes to compile; the same words in the same cycles."""
_LAYERS_TOP = "layers"


@dataclass(frozen=True, eq=False)
class RtlRun:
    """What a simulation of the whole accelerator gave.

    Args:
        scores: int64 (N, classes), or of the shape that the last tensor has.
        accepted, emitted: the cycle in which each word went in, and came out, int64 (words,); cycle 0 is the first
            after reset.
        cycles: until the last word moved.
        fifo_levels: most words that each FIFO held, by its name in the dataflow.
    """

    scores: Int64Array
    accepted: Int64Array
    emitted: Int64Array
    cycles: int
    fifo_levels: Mapping[str, int]

    @property
    def finished(self) -> Int64Array:
        """The cycle of each frame's last score, int64 (N,)."""
        last: Int64Array = self.emitted.reshape(len(self.scores), -1)[:, -1]
        return last

    @property
    def latency_cycles(self) -> int:
        """From the first pixel to the last score of the first frame."""
        return int(self.finished[0]) + 1

    @property
    def interval_cycles(self) -> int | None:
        """Between the last two frames; None for a single one."""
        return int(self.finished[-1] - self.finished[-2]) if len(self.finished) > 1 else None


def simulate(
    dataflow: Dataflow,
    design: Design,
    images: Array,
    *,
    stalls: float = 0.0,
    seed: int = 0,
    optimize: bool = True,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> RtlRun:
    """Runs pictures through the RTL, one behind the other.

    Args:
        dataflow: what `design` was stitched from.
        design: the sources.
        images: uint8 (N, H, W, C).
        stalls: the probability with which the source or the sink pauses in a cycle.
        seed: of the stalls, and of whatever the RTL leaves uninitialized.
        optimize: compile for long runs.
        jobs: compilers beside each other; by default one for each core.
        progress: called now and then with the cycles and the done part of the work.

    Raises:
        InputError: no Verilator or C++ compiler.
        DeadlockError: the accelerator stands still.
        SimulationError: it breaks the rules of AXI-stream.
    """
    simulation = build(design, optimize, jobs)
    words = _pack(dataflow.input, images)
    result = simulation.run(
        [words],
        [len(images) * dataflow.output.words],
        stalls=stalls,
        seed=seed,
        cwd=design.folder,
        max_idle_cycles=4 * _longest(dataflow.layers) + 10_000,
        progress=progress,
    )
    scores = _unpack(dataflow.output, result.outputs[0], len(images))
    fifos = dataflow.fifo_depths
    names = {f"u_{module}": name for name, module in modules(dataflow.layers).items() if name in fifos}
    levels = {
        names[part]: level
        for path, level in result.fifo_levels.items()
        for part in path.split(".")
        if part in names
    }
    return RtlRun(scores, result.accepted[0], result.emitted[0], result.cycles, levels)


def build(design: Design, optimize: bool = True, jobs: int | None = None) -> Simulation:
    """Compiles a design, or takes it from the cache; arguments and errors as in `simulate`."""
    return Simulation.build(design.top, modelled(design), optimize=optimize, jobs=jobs or os.cpu_count() or 1)


def modelled(design: Design) -> list[Path]:
    """The sources for a simulation: FINN's multiplier core gives way to its model."""
    return [MVU_MODEL if path.name == "mvu.sv" else path for path in design.paths]


def layer_bench(layers: Sequence[Layer], part: str, clock_ns: float, folder: PathLike) -> Design:
    """A top with every layer on its own, all streams as ports: one build serves for all of them."""
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    sources: dict[str, None] = {}
    ports, instances = ["    input wire ap_clk", "    input wire ap_rst_n"], []
    for layer in safe_layers(layers):
        used = write_layer(layer, part, clock_ns, target, sources)
        prefix = module_name(layer.name)
        nets = {}
        for port, ahead, back in (
            *((port, "input", "output") for port in used.inputs),
            *((port, "output", "input") for port in used.outputs),
        ):
            nets[port.name] = net = f"{prefix}_port_{port.name}"
            ports += [
                f"    {ahead} wire [{port.bits - 1}:0] {net}_TDATA",
                f"    {ahead} wire {net}_TVALID",
                f"    {back} wire {net}_TREADY",
            ]
        instances.append(used.instance(f"u_{prefix}", nets))
    listed = ",\n".join(ports)
    text = f"// Every layer on its own.\nmodule {_LAYERS_TOP} (\n{listed}\n);\n\n{chr(10).join(instances)}\nendmodule\n"
    (target / f"{_LAYERS_TOP}.sv").write_text(text, encoding="utf-8")
    return seal(target, f"{_LAYERS_TOP}.sv", sources)


def check_layers(
    dataflow: Dataflow,
    design: Design,
    images: Array,
    *,
    stalls: float = 0.0,
    seed: int = 0,
    optimize: bool = True,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Int64Array]:
    """What every layer computes in RTL from the integers that `dataflow` says it reads.

    Args:
        dataflow: the layers of `design`, which `layer_bench` wrote.
        images, stalls, seed, optimize, jobs, progress: as in `simulate`.

    Returns:
        int64 (N, H, W, C) or (N, C) by layer; a Fork's copies are checked to agree and given once.
    """
    simulation = build(design, optimize, jobs)
    tensors = dataflow.run(images)
    owners = {module: dataflow[name] for name, module in modules(dataflow.layers).items()}
    inputs, counts = [], []
    for port in simulation.inputs:
        layer, number = _owner(port.name, owners)
        inputs.append(_pack(layer.inputs[number], tensors[layer.sources[number]]))
    for port in simulation.outputs:
        layer, _number = _owner(port.name, owners)
        counts.append(len(images) * layer.output.words + layer.ahead)
    result = simulation.run(
        inputs, counts, stalls=stalls, seed=seed, cwd=design.folder, record=False,
        max_idle_cycles=_longest(dataflow.layers) + 10_000, progress=progress,
    )  # fmt: skip
    found: dict[str, Int64Array] = {}
    for port, words in zip(simulation.outputs, result.outputs, strict=True):
        layer, _number = _owner(port.name, owners)
        values = _unpack(layer.output, words[: len(words) - layer.ahead], len(images))
        if layer.name in found and not np.array_equal(found[layer.name], values):
            # The copies of a Fork: one that differs from the first must not hide behind it.
            values = np.where(found[layer.name] == tensors[layer.name], values, found[layer.name])
        found[layer.name] = values
    return found


def _longest(layers: Sequence[Layer]) -> int:
    """Cycles a frame of the slowest."""
    return max(layer.timing(ANY_FAMILY).interval for layer in layers)


def _owner(port: str, owners: Mapping[str, Layer]) -> tuple[Layer, int]:
    """The layer of a port of the bench, and the port's number there."""
    prefix, _, own = port.rpartition("_port_")
    return owners[prefix], int("".join(filter(str.isdigit, own)))


def _pack(stream: Stream, values: Array) -> Array:
    return pack_words(values, stream.lanes, stream.bits, stream.signed)


def _unpack(stream: Stream, words: Array, frames: int) -> Int64Array:
    values = unpack_words(words, stream.lanes, stream.bits, stream.signed)
    return values.reshape(frames, *stream.shape)
