"""Our RTL kernels: for a layer the module, its parameters and its ports.

A word of a stream moves every cycle if it is there and there is room; no kernel adds cycles between frames. All are
correct under any pattern of TVALID and TREADY. The largest, `max_pool` and `global_sum`, keep one RAM each, in which
every step writes one place and reads the next.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import singledispatch
from pathlib import Path
from typing import Mapping, Sequence

import numpy as np

from fireflow.hw.dataflow.layers import Add, Concat, Fifo, Fork, Head, Layer, MaxPool, WidthConverter
from fireflow.hw.dataflow.memory import RAM_STYLES, rom_kind
from fireflow.hw.dataflow.stream import Stream
from fireflow.hw.errors import InputError
from fireflow.hw.packing import pack_bits
from fireflow.hw.tools.axi_stream import Port
from fireflow.hw.types import signed_bits

RTL = Path(__file__).parent


@dataclass(frozen=True)
class Kernel:
    """A module with values for its parameters.

    Attributes:
        module: its name; the file is hw/rtl/MODULE.sv.
        parameters: numbers and texts by name.
        inputs, outputs: its streams, with the bits of TDATA.
        latency_cycles: from taking the last input word that an output word needs to that word's TVALID.
        helpers: further modules that it instantiates.
        images: files that it reads with $readmemh, by relative path.
        vector: the outputs are slices of one port, out_V.
    """

    module: str
    parameters: Mapping[str, int | str]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    latency_cycles: int
    helpers: tuple[str, ...] = ()
    images: Mapping[str, str] = field(default_factory=dict)
    vector: bool = False

    @property
    def sources(self) -> tuple[Path, ...]:
        """The files to compile."""
        return tuple(RTL / f"{module}.sv" for module in (*self.helpers, self.module))

    def instance(self, name: str, nets: Mapping[str, str] | None = None) -> str:
        """Verilog that instantiates the module.

        Args:
            name: of the instance.
            nets: for a port (in0_V, out0_V, ...) the prefix of the nets PREFIX_TDATA, _TVALID and _TREADY on it; by
                default the port's name.
        """
        nets = nets or {}
        lines = ["    .ap_clk(ap_clk)", "    .ap_rst_n(ap_rst_n)"]
        for port in self.inputs if self.vector else (*self.inputs, *self.outputs):
            net = nets.get(port.name, port.name)
            lines += [f"    .{port.name}_{part}({net}_{part})" for part in ("TDATA", "TVALID", "TREADY")]
        if self.vector:
            prefixes = [nets.get(port.name, port.name) for port in reversed(self.outputs)]
            for part in ("TDATA", "TVALID", "TREADY"):
                lines.append(f"    .out_V_{part}({{{', '.join(f'{prefix}_{part}' for prefix in prefixes)}}})")
        values = [f"    .{key}({_literal(value)})" for key, value in self.parameters.items()]
        return f"  {self.module} #(\n{_list(values)}\n  ) {name} (\n{_list(lines)}\n  );\n"

    def wrapper(self, name: str) -> str:
        """A module without parameters and with every stream as ports of its own."""
        ports = ["    input  wire ap_clk", "    input  wire ap_rst_n"]
        for streams, ahead, back in ((self.inputs, "input ", "output"), (self.outputs, "output", "input ")):
            for port in streams:
                ports.append(f"    {ahead} wire [{port.bits - 1}:0] {port.name}_TDATA")
                ports.append(f"    {ahead} wire {port.name}_TVALID")
                ports.append(f"    {back} wire {port.name}_TREADY")
        return f"module {name} (\n{_list(ports)}\n);\n{self.instance('kernel')}endmodule\n"


@singledispatch
def kernel(layer: Layer) -> Kernel:
    """The kernel that computes a layer.

    Args:
        layer: MaxPool, Fork, Concat, Add, Head, WidthConverter or Fifo.

    Raises:
        InputError: a layer or a shape for which there is none.
    """
    raise InputError(f"{layer.name}: a layer must have a kernel of ours, not be {layer.kind}; FINN has one")


@kernel.register
def _(layer: Fork) -> Kernel:
    bits = layer.input.tdata_bits
    outputs = tuple(Port(f"out{number}_V", bits) for number in range(layer.copies))
    parameters: dict[str, int | str] = {"COPIES": layer.copies, "BITS": layer.input.width}
    return Kernel("stream_fork", parameters, (_port("in0_V", layer.input),), outputs, 1, vector=True)


@kernel.register
def _(layer: Concat) -> Kernel:
    first, second = layer.inputs
    parameters: dict[str, int | str] = {"WORDS0": first.groups, "WORDS1": second.groups, **_two_inputs(layer)}
    return _two_to_one("stream_concat", layer, parameters)


@kernel.register
def _(layer: Add) -> Kernel:
    return _two_to_one("stream_add", layer, _two_inputs(layer))


@kernel.register
def _(layer: WidthConverter) -> Kernel:
    parameters: dict[str, int | str] = {
        "IN_LANES": layer.input.lanes,
        "OUT_LANES": layer.output.lanes,
        "ELEM_BITS": layer.input.bits,
    }
    return _one_to_one("stream_width", layer, parameters, 1)


@kernel.register
def _(layer: Fifo) -> Kernel:
    parameters: dict[str, int | str] = {
        "DEPTH": layer.depth,
        "BITS": layer.input.width,
        "RAM_STYLE": RAM_STYLES[layer.memory],
    }
    return _one_to_one("stream_fifo", layer, parameters, 1 if layer.depth == 2 else 2)


@kernel.register
def _(layer: MaxPool) -> Kernel:
    top, left, bottom, right = layer.padding
    height, width, channels = layer.input.shape
    axes = (("height", height, top, bottom), ("width", width, left, right))
    for (axis, size, before, after), window, stride in zip(axes, layer.kernel, layer.stride):
        count = (size + before + after - window) // stride + 1
        ends = [min(number * stride - before + window, size) for number in range(count)]
        if len(set(ends)) < count:
            raise InputError(
                f"{layer.name}: the windows must end at different places of the {axis} {size}, not two of size "
                f"{window} at stride {stride} with padding {before} and {after} behind the border; pad less"
            )
    parameters: dict[str, int | str] = {
        "CHANNELS": channels,
        "LANES": layer.lanes,
        "HEIGHT": height,
        "WIDTH": width,
        "ELEM_BITS": layer.input.bits,
        "SIGNED": int(layer.input.signed),
        "KERNEL_H": layer.kernel[0],
        "KERNEL_W": layer.kernel[1],
        "STRIDE_H": layer.stride[0],
        "STRIDE_W": layer.stride[1],
        "PAD_TOP": top,
        "PAD_LEFT": left,
        "PAD_BOTTOM": bottom,
        "PAD_RIGHT": right,
        "RAM_STYLE": RAM_STYLES[layer.memory],
    }
    return _one_to_one("max_pool", layer, parameters, 2, helpers=("window_max",))


@kernel.register
def _(layer: Head) -> Kernel:
    source, bias = layer.input, layer.bias
    lo, hi = source.lo + int(bias.min()), source.hi + int(bias.max())
    bias_bits = signed_bits(int(bias.min()), int(bias.max()))
    path = f"{layer.name}.bias.hex" if bias.any() else ""
    parameters: dict[str, int | str] = {
        "CHANNELS": source.channels,
        "LANES": layer.lanes,
        "PIXELS": source.pixels,
        "ELEM_BITS": source.bits,
        "SIGNED": int(source.signed),
        "BIAS_FILE": path,
        "BIAS_BITS": bias_bits,
        "VALUE_BITS": signed_bits(lo, hi),
        "RELU": int(layer.relu),
        "SUM_BITS": layer.output.bits,
        "RAM_STYLE": RAM_STYLES[layer.memory],
        # Not "distributed", by which Yosys understands a RAM.
        "ROM_STYLE": "block" if rom_kind(source.groups, layer.lanes * bias_bits) == "bram" else "auto",
    }
    images = {path: memory_image(bias.reshape(-1, layer.lanes), bias_bits)} if path else {}
    return _one_to_one("global_sum", layer, parameters, 2, images=images)


# --- memory images -----------------------------------------------------------------------------------------


def memory_image(rows: np.ndarray[tuple[int, ...], np.dtype[np.int64]], bits: int) -> str:
    """The text of a $readmemh file: a line per row of (rows, lanes) signed numbers, lane 0 in the lowest bits.

    >>> print(memory_image(np.array([[1, -2], [3, 4]]), 4), end="")
    e1 // 1 -2
    43 // 3 4
    """
    words = pack_bits(rows, bits, signed=True)
    digits = -(-rows.shape[1] * bits // 4)
    lines = []
    for word, row in zip(words, rows):
        number = int.from_bytes(word.tobytes(), "little")
        lines.append(f"{number:0{digits}x} // {' '.join(map(str, row.tolist()))}\n")
    return "".join(lines)


# --- Verilog and ports ------------------------------------------------------------------------------------


def _port(name: str, stream: Stream) -> Port:
    return Port(name, stream.tdata_bits)


def _one_to_one(
    module: str,
    layer: Layer,
    parameters: Mapping[str, int | str],
    latency_cycles: int,
    helpers: tuple[str, ...] = (),
    images: Mapping[str, str] | None = None,
) -> Kernel:
    ports = (_port("in0_V", layer.input),), (_port("out0_V", layer.output),)
    return Kernel(module, parameters, *ports, latency_cycles, helpers, images or {})


def _two_inputs(layer: Layer) -> dict[str, int | str]:
    first, second = layer.inputs
    return {
        "LANES": first.lanes,
        "ELEM0_BITS": first.bits,
        "ELEM0_SIGNED": int(first.signed),
        "ELEM1_BITS": second.bits,
        "ELEM1_SIGNED": int(second.signed),
        "OUT_BITS": layer.output.bits,
    }


def _two_to_one(module: str, layer: Layer, parameters: Mapping[str, int | str]) -> Kernel:
    inputs = tuple(_port(f"in{number}_V", stream) for number, stream in enumerate(layer.inputs))
    return Kernel(module, parameters, inputs, (_port("out0_V", layer.output),), 1)


def _literal(value: int | str) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _list(items: Sequence[str]) -> str:
    return ",\n".join(items)
