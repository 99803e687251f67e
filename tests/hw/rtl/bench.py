"""Many kernels in one simulation: one build for all, each with streams of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fireflow.hw.dataflow.kernel import Kernel
from fireflow.hw.dataflow.layers import Layer
from fireflow.hw.tools.axi_stream import pack_words, unpack_words
from fireflow.hw.tools.verilator import Simulation

FAMILY = "xc7"
"""Our kernels but the matrix unit are the same on every family."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one kernel did: output values per port, int64 (frames, ...), and when its words moved."""

    outputs: list[np.ndarray]
    accepted: list[np.ndarray]
    emitted: list[np.ndarray]


def write_bench(layers: dict[str, Layer], folder: Path) -> tuple[list[Path], list[str]]:
    """Writes the module `bench` with all layers' kernels; returns its sources and its memory images' names."""
    kernels: dict[str, Kernel] = {name: layer.rtl(FAMILY) for name, layer in layers.items()}
    images = {path: text for used in kernels.values() for path, text in used.images.items()}
    for path, text in images.items():
        (folder / path).write_text(text)
    ports, body = ["input wire ap_clk", "input wire ap_rst_n"], []
    for name, used in kernels.items():
        for streams, ahead, back in ((used.inputs, "input", "output"), (used.outputs, "output", "input")):
            for port in streams:
                net = f"{name}_{port.name}"
                ports += [f"{ahead} wire [{port.bits - 1}:0] {net}_TDATA", f"{ahead} wire {net}_TVALID"]
                ports.append(f"{back} wire {net}_TREADY")
        names = [port.name for port in (*used.inputs, *used.outputs)]
        body.append(used.instance(name, {port: f"{name}_{port}" for port in names}))
    bench = folder / "bench.v"
    bench.write_text("module bench (\n  " + ",\n  ".join(ports) + "\n);\n" + "".join(body) + "endmodule\n")
    return [*dict.fromkeys(path for used in kernels.values() for path in used.sources), bench], list(images)


class Bench:
    """All layers in one module; streams are called LAYER_in0_V and so on.

    Args:
        layers: by name, which must be an identifier.
        folder: for the generated sources and memory images.
        frames: how many each kernel is fed, back to back.
    """

    def __init__(self, layers: dict[str, Layer], folder: Path, frames: int, seed: int = 0) -> None:
        self.layers, self.folder, self.frames = layers, folder, frames
        self.simulation = Simulation.build("bench", write_bench(layers, folder)[0], jobs=2)
        rng = np.random.default_rng(seed)
        self.inputs = {name: self._values(rng, layer) for name, layer in layers.items()}

    def _values(self, rng: np.random.Generator, layer: Layer) -> list[np.ndarray]:
        """Random frames, extreme values among them."""
        result = []
        for stream in layer.inputs:
            values = rng.integers(stream.lo, stream.hi + 1, (self.frames, *stream.shape))
            extreme = rng.random(values.shape) < 0.1
            values[extreme] = rng.choice([stream.lo, stream.hi], extreme.sum())
            result.append(values)
        return result

    def run(self, **options: Any) -> dict[str, Outcome]:
        """One run of all kernels; the options are those of `Simulation.run`."""
        words, counts = {}, {}
        for name, layer in self.layers.items():
            for number, stream in enumerate(layer.inputs):
                values = self.inputs[name][number]
                words[f"{name}_in{number}_V"] = pack_words(values, stream.lanes, stream.bits, stream.signed)
            for number in range(layer.outputs):
                counts[f"{name}_out{number}_V"] = self.frames * layer.output.words
        ports = self.simulation.inputs, self.simulation.outputs
        result = self.simulation.run(
            [words[port.name] for port in ports[0]],
            [counts[port.name] for port in ports[1]],
            cwd=self.folder,
            **options,
        )
        places = [{port.name: place for place, port in enumerate(side)} for side in ports]
        outcomes = {}
        for name, layer in self.layers.items():
            out = layer.output
            ins = [places[0][f"{name}_in{number}_V"] for number in range(len(layer.inputs))]
            outs = [places[1][f"{name}_out{number}_V"] for number in range(layer.outputs)]
            outcomes[name] = Outcome(
                [
                    unpack_words(result.outputs[place], out.lanes, out.bits, out.signed).reshape(
                        self.frames, *out.shape
                    )
                    for place in outs
                ],
                [result.accepted[place] for place in ins],
                [result.emitted[place] for place in outs],
            )
        return outcomes

    def stalls(self, seed: int) -> dict[str, Any]:
        """For each port a way of stalling: never, at random, or in long bursts that fill and drain everything."""
        rng = np.random.default_rng(seed)
        result: dict[str, Any] = {}
        for port in (*self.simulation.inputs, *self.simulation.outputs):
            kind = rng.integers(4)
            if kind == 0:
                result[port.name] = 0.0
            elif kind < 3:
                result[port.name] = float(rng.choice([0.1, 0.5, 0.8]))
            else:
                lengths = rng.integers(1, 60, 40)
                result[port.name] = np.repeat(np.arange(len(lengths)) % 2, lengths).tolist()
        return result
