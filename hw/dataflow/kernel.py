"""A layer as Verilog: the module that computes it, what that is built with, and how it is instantiated."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Mapping, Sequence

from fireflow.hw.dataflow.stream import Port, Stream
from fireflow.hw.packing import pack_bits

if TYPE_CHECKING:
    from fireflow.hw.types import Int64Array

RTL = Path(__file__).parents[1] / "rtl"
"""The folder of our kernels."""


@dataclass(frozen=True)
class Module:
    """A module with values for its parameters.

    Attributes:
        name: the module's.
        parameters: numbers and texts by name.
        inputs, outputs: its streams.
        vector: the outputs are slices of one port, out_V.
    """

    name: str
    parameters: Mapping[str, int | str]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    vector: bool = False

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
        return f"  {self.name} #(\n{_list(values)}\n  ) {name} (\n{_list(lines)}\n  );\n"


@dataclass(frozen=True)
class Kernel(Module):
    """A module of ours: its file is hw/rtl/NAME.sv.

    A word of a stream moves every cycle if it is there and there is room; no kernel adds cycles between frames. All
    are correct under any pattern of TVALID and TREADY.

    Attributes:
        helpers: further modules that it instantiates.
        images: files that it reads with $readmemh, by relative path.
    """

    helpers: tuple[str, ...] = ()
    images: Mapping[str, str] = field(default_factory=dict)

    @property
    def sources(self) -> tuple[Path, ...]:
        """The files to compile."""
        return tuple(RTL / f"{module}.sv" for module in (*self.helpers, self.name))


def ports(direction: str, streams: Sequence[Stream]) -> tuple[Port, ...]:
    """The ports of streams, numbered; direction: "in" or "out"."""
    return tuple(Port(f"{direction}{number}_V", stream.tdata_bits) for number, stream in enumerate(streams))


def two_inputs(first: Stream, second: Stream, output: Stream) -> dict[str, int | str]:
    """The parameters of a kernel that reads two streams of as many lanes and extends their elements."""
    return {
        "LANES": first.lanes,
        "ELEM0_BITS": first.bits,
        "ELEM0_SIGNED": int(first.signed),
        "ELEM1_BITS": second.bits,
        "ELEM1_SIGNED": int(second.signed),
        "OUT_BITS": output.bits,
    }


def memory_image(rows: Int64Array, bits: int) -> str:
    """The text of a $readmemh file: a line per row of (rows, lanes) signed numbers, lane 0 in the lowest bits.

    >>> import numpy as np
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


def _literal(value: int | str) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _list(items: Sequence[str]) -> str:
    return ",\n".join(items)
