"""One top level for a whole accelerator: every layer's module, connected stream by stream.

The folder that `stitch` writes is self-contained and the same byte for byte every time: the top `accelerator.sv`,
a module for each of FINN's layers, our kernels, FINN's library, and memory images that the sources name relative to
the folder. `sources.f` lists the sources in the order in which tools
want them. What is compiled for a bundle is generated anew (`hw.rtl.regenerate`), never read back.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fireflow.hw.dataflow.kernel import Module, ports
from fireflow.hw.dataflow.layers.base import Layer
from fireflow.hw.dataflow.network import Dataflow, Edge
from fireflow.hw.dataflow.stream import Stream
from fireflow.hw.files import PathLike
from fireflow.hw.finn.generate import generate
from fireflow.hw.parts import family_of_part
from fireflow.hw.rtl.names import module_name, safe_dataflow

TOP = "accelerator"
KERNELS = "fireflow"
"""The folder of our kernels, beside the modules of the layers."""
SOURCES = "sources.f"


@dataclass(frozen=True)
class Design:
    """The sources of an accelerator.

    Args:
        folder: where they are, and where tools must run: memory images are named relative to it.
        top: the top module.
        sources: relative to the folder, packages first.
    """

    folder: Path
    top: str
    sources: tuple[str, ...]

    @property
    def paths(self) -> list[Path]:
        return [self.folder / name for name in self.sources]


def stitch(dataflow: Dataflow, part: str, clock_ns: float, folder: PathLike) -> Design:
    """Writes the RTL of an accelerator.

    Args:
        dataflow: the layers, FIFOs included.
        part: the FPGA, such as "xc7z020clg400-1".
        clock_ns: the clock's period.
        folder: exists and is empty, or is made.

    Raises:
        InputError: a layer that no kernel computes.
    """
    dataflow = safe_dataflow(dataflow)
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    sources: dict[str, None] = {}  # in the order of their first use
    instances = [
        _instance(dataflow, layer, write_layer(layer, part, clock_ns, target, sources))
        for layer in dataflow.layers
    ]
    (target / f"{TOP}.sv").write_text(_top(dataflow, instances), encoding="utf-8")
    return seal(target, f"{TOP}.sv", sources)


def write_layer(layer: Layer, part: str, clock_ns: float, folder: Path, sources: dict[str, None]) -> Module:
    """Writes what a layer needs into the folder of a design, adds its files to `sources`, and says how to use it."""
    if layer.in_finn:
        generated = generate(layer, module_name(layer.name), part, clock_ns, folder)
        sources.update(dict.fromkeys(generated.sources))
        return Module(generated.top, {}, ports("in", layer.inputs), ports("out", (layer.output,)))
    own = layer.rtl(family_of_part(part).name)
    (folder / KERNELS).mkdir(exist_ok=True)
    for path in own.sources:
        shutil.copyfile(path, folder / KERNELS / path.name)
        sources[f"{KERNELS}/{path.name}"] = None
    for name, text in own.images.items():
        (folder / name).write_text(text, encoding="utf-8")
    return own


def seal(folder: Path, top: str, sources: Iterable[str]) -> Design:
    """Writes the list of sources, the packages first and the file of the top, named after it, last."""
    names = list(sources)
    packages = [name for name in names if name.endswith("_pkg.sv")]
    ordered = (*packages, *(name for name in names if name not in packages), top)
    (folder / SOURCES).write_text("".join(f"{name}\n" for name in ordered), encoding="utf-8")
    return Design(folder, Path(top).stem, ordered)


def _net(dataflow: Dataflow, edge: Edge) -> str:
    if edge.source == dataflow.input_name:
        return "in0_V"
    return f"{module_name(edge.target)}_in{edge.target_port}"


def _instance(dataflow: Dataflow, layer: Layer, used: Module) -> str:
    nets = {f"in{edge.target_port}_V": _net(dataflow, edge) for edge in dataflow.inward[layer.name]}
    nets.update({f"out{edge.source_port}_V": _net(dataflow, edge) for edge in dataflow.outward[layer.name]})
    return f"  // {layer.kind}: {_describe(layer)}\n" + used.instance(f"u_{module_name(layer.name)}", nets)


def _describe(layer: Layer) -> str:
    shown = [f"{name} {value}" for name, value in layer.parameters().items()]
    streams = f"{_stream(layer.input)} to {_stream(layer.output)}"
    return "; ".join([f"{layer.name}, {streams}", *shown])


def _stream(stream: Stream) -> str:
    sign = "i" if stream.signed else "u"
    return f"{' x '.join(map(str, stream.shape))} of {sign}{stream.bits} in words of {stream.lanes}"


def _top(dataflow: Dataflow, instances: list[str]) -> str:
    wires = []
    for edge in dataflow.edges:
        name = _net(dataflow, edge)
        if edge.source != dataflow.input_name:
            wires.append(f"  wire [{dataflow.stream(edge).tdata_bits - 1}:0] {name}_TDATA;\n")
            wires.append(f"  wire {name}_TVALID;\n  wire {name}_TREADY;\n")
    return f"""\
// {dataflow.name}: pixels in, class scores out.
//
// in0_V: {_stream(dataflow.input)}.
// out0_V: {_stream(dataflow.output)}.
module {TOP} (
    input  wire ap_clk,
    input  wire ap_rst_n,

    input  wire [{dataflow.input.tdata_bits - 1}:0] in0_V_TDATA,
    input  wire in0_V_TVALID,
    output wire in0_V_TREADY,

    output wire [{dataflow.output.tdata_bits - 1}:0] out0_V_TDATA,
    output wire out0_V_TVALID,
    input  wire out0_V_TREADY
);

{"".join(wires)}
{chr(10).join(instances)}
endmodule
"""
