"""AXI-streams of a simulated module: their words, and how C++ reaches their wires."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple, Sequence

import numpy as np

from fireflow.hw.dataflow.stream import Port
from fireflow.hw.errors import InputError
from fireflow.hw.packing import pack_bits, unpack_bits

if TYPE_CHECKING:
    from fireflow.hw.types import Array, Int64Array


def pack_words(values: Array, lanes: int, bits: int, signed: bool) -> Array:
    """The words of a stream: any shape whose last axis `lanes` divides -> uint8 (words, bytes)."""
    return pack_bits(np.asarray(values).reshape(-1, lanes), bits, signed)


def unpack_words(words: Array, lanes: int, bits: int, signed: bool) -> Int64Array:
    """The elements of a stream's words: uint8 (words, bytes) -> int64 (words, lanes)."""
    return unpack_bits(words, bits, signed, lanes).astype(np.int64)


class ModulePort(NamedTuple):
    """A port of a module as Verilator declares it."""

    name: str
    bits: int
    is_input: bool


def module_ports(header: str) -> list[ModulePort]:
    """Name, bits and direction (True: in) of the top's ports, from Verilator's header."""
    found = re.findall(r"^ +VL_(IN|OUT)(?:8|16|64|W|)\(&(\w+),(\d+),(\d+)", header, re.MULTILINE)
    return [
        ModulePort(name, int(high) - int(low) + 1, direction == "IN") for direction, name, high, low in found
    ]


def streams(top: str, ports: Sequence[ModulePort]) -> list[tuple[Port, bool]]:
    """The streams, True for inputs, by name with numbers in order."""
    widths = {name: bits for name, bits, _ in ports}
    result = []
    for name, bits, is_input in ports:
        stream = name[: -len("_TDATA")]
        if name.endswith("_TDATA") and {f"{stream}_TVALID", f"{stream}_TREADY"} <= set(widths):
            result.append((Port(stream, bits), is_input))
    if not result or not {"ap_clk", "ap_rst_n"} <= set(widths):
        raise InputError(
            f"{top}: the ports must be ap_clk, ap_rst_n and streams NAME_TDATA, _TVALID, _TREADY, "
            f"not {', '.join(widths)}; wrap the module"
        )
    return sorted(result, key=lambda entry: _natural(entry[0].name))


def _natural(name: str) -> list[tuple[str, int]]:
    """in10 after in9."""
    return [(text, int(digits or 0)) for text, digits in re.findall(r"(\D+)(\d*)", name)]


def bindings(top: str, ports: Sequence[ModulePort]) -> str:
    """The C++ that gives the driver its ports; inputs of no stream are held at zero."""
    found = streams(top, ports)
    used = {f"{port.name}_{part}" for port, _ in found for part in ("TDATA", "TVALID", "TREADY")}
    lines = ["using Model = Vtop;"]
    lines += ["inline void bind(Model& m, std::vector<Port>& in, std::vector<Port>& out) {"]
    for port, is_input in found:
        name = port.name
        fields = f'"{name}", &m.{name}_TDATA, {port.bytes}, &m.{name}_TVALID, &m.{name}_TREADY'
        lines.append(f"  {'in' if is_input else 'out'}.push_back({{{fields}}});")
    for name, _, is_input in ports:
        if is_input and name not in used:
            lines.append(f"  std::memset(&m.{name}, 0, sizeof m.{name});")
    lines += ["}", "inline void clock(Model& m, int level) { m.ap_clk = level; }"]
    lines += ["inline void reset(Model& m, bool active) { m.ap_rst_n = !active; }"]
    return '#include "Vtop.h"\n' + "\n".join(lines) + "\n"
