"""The routed netlist as Verilog, to be simulated with the models in the folder `sim`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from fireflow.hw.bitstream.errors import CheckError
from fireflow.hw.bitstream.recover.netlist import bus, lut
from fireflow.hw.bitstream.routed import Cell, Routed


def verilog(routed: Routed, ps7_ports: Mapping[str, Any], top: str = "routed") -> str:
    """A module of the netlist's cells, as models in the folder `sim` and expressions.

    Its ports are the pins of the PS7, the other way round, as in `hw.bitstream.recover`.

    Args:
        routed: the netlist.
        ps7_ports: the PS7's ports by name, from prjxray's ps7_ports.json.
        top: the module's name.

    Raises:
        CheckError: a cell that has no model.
    """
    return _Writer(routed, ps7_ports).module(top)


# What is inverted shows at the ports; patterns, error correction and cascades of block RAMs are not used.
_UNUSED_PARAMETERS = (
    *(
        "X_",
        "SIM_",
        "RDADDR_",
        "EN_ECC",
        "INIT_FILE",
        "IS_",
        "MASK",
        "PATTERN",
        "SEL_",
        "AUTORESET",
        "USE_PATTERN",
    ),
    "RAM_EXTENSION",
)
_UNUSED_PORTS = frozenset(
    (
        "CASCADEINA",
        "CASCADEINB",
        "CASCADEOUTA",
        "CASCADEOUTB",
        "INJECTDBITERR",
        "INJECTSBITERR",
        "DBITERR",
        "SBITERR",
        "ECCPARITY",
        "RDADDRECC",
        "OVERFLOW",
        "UNDERFLOW",
        "PATTERNDETECT",
        "PATTERNBDETECT",
    )
)
_CASCADES = ("ACIN", "BCIN", "PCIN", "CARRYCASCIN", "MULTSIGNIN")


class _Writer:
    def __init__(self, routed: Routed, ps7_ports: Mapping[str, Any]) -> None:
        self.routed, self.ps7_ports = routed, ps7_ports
        self.nets: set[int] = set()
        self.ports: list[str] = []
        self.lines: list[str] = []

    def module(self, top: str) -> str:
        for number, cell in enumerate(self.routed.cells):
            self._write(cell, f"u{number}")
        wires = "".join(f"  wire n{net};\n" for net in sorted(self.nets - self.routed.constants.keys()))
        ports = ",\n".join(self.ports)
        return f"module {top} (\n{ports}\n);\n{wires}" + "\n".join(self.lines) + "\nendmodule\n"

    def _net(self, cell: Cell, port: str, open_value: str | None = None) -> str:
        """What is at a port; `open_value` where nothing is."""
        net = cell.nets.get(port)
        if net is None:
            tied = self.routed.value(cell, port) if cell.kind == "DSP48E1" else None
            if tied is not None:
                return f"1'b{tied ^ cell.inverted(port)}"
            if open_value is None:
                raise CheckError(f"{cell.name}: {cell.kind}.{port} must be connected, and is not")
            return open_value
        self.nets.add(net)
        constant = self.routed.constants.get(net)
        return f"n{net}" if constant is None or port in cell.outputs else f"1'b{constant}"

    def _assign(self, cell: Cell, port: str, expression: str) -> None:
        if cell.nets.get(port) is not None:
            self.lines.append(f"  assign {self._net(cell, port)} = {expression};")

    def _instance(
        self, kind: str, name: str, parameters: Mapping[str, str], ports: Mapping[str, str]
    ) -> None:
        given = ", ".join(f".{key}({value})" for key, value in parameters.items())
        wired = ", ".join(f".{key}({value})" for key, value in ports.items())
        self.lines.append(f"  {kind} #({given}) {name} ({wired});")

    def _write(self, cell: Cell, name: str) -> None:
        kind = cell.kind
        if found := re.fullmatch("LUT([1-6])|INV", kind):
            count = int(found[1] or 1)
            inputs = ["I0"] if kind == "INV" and "I0" in cell.nets else ["I"] if kind == "INV" else []
            inputs = inputs or [f"I{i}" for i in range(count)]
            init = 1 if kind == "INV" else cell.number("INIT")
            self._assign(cell, "O", lut(init, [self._net(cell, port, "1'b1") for port in inputs]))
        elif kind in ("FDRE", "FDSE", "FDCE", "FDPE"):
            self._flip_flop(cell, name)
        elif kind == "CARRY4":
            self._carry(cell)
        elif kind in ("MUXF7", "MUXF8"):
            net = self._net
            self._assign(cell, "O", f"{net(cell, 'S')} ? {net(cell, 'I1')} : {net(cell, 'I0')}")
        elif kind.startswith(("RAMD", "RAMS")):
            self._memory(cell, name)
        elif kind.startswith("SRL"):
            self._shift(cell, name)
        elif kind in ("RAMB18E1", "RAMB36E1", "DSP48E1"):
            self._hard(cell, name)
        elif kind in ("BUFGCTRL", "BUFG"):
            self._assign(cell, "O", self._net(cell, "I0" if kind == "BUFGCTRL" else "I"))
        elif kind == "PS7":
            self._processor(cell)
        else:
            raise CheckError(f"{cell.name}: {kind} has no model here")

    def _clock(self, cell: Cell, port: str) -> str:
        return ("~" if cell.inverted(port) else "") + self._net(cell, port)

    def _flip_flop(self, cell: Cell, name: str) -> None:
        reset = {"FDRE": "R", "FDSE": "S", "FDCE": "CLR", "FDPE": "PRE"}[cell.kind]
        ports = {
            "C": self._clock(cell, "C"),
            "CE": self._net(cell, "CE", "1'b1"),
            "D": self._net(cell, "D"),
            reset: self._net(cell, reset, "1'b0"),
            "Q": self._net(cell, "Q", ""),
        }
        self._instance(cell.kind, name, {"INIT": f"1'b{cell.number('INIT') & 1}"}, ports)

    def _carry(self, cell: Cell) -> None:
        first = self._net(cell, "CI", "1'b0") + " | " + self._net(cell, "CYINIT", "1'b0")
        for bit in range(4):
            s, di = self._net(cell, f"S[{bit}]", "1'b0"), self._net(cell, f"DI[{bit}]", "1'b0")
            self._assign(cell, f"O[{bit}]", f"{s} ^ ({first})")
            first = f"{s} ? ({first}) : {di}"
            if cell.nets.get(f"CO[{bit}]") is not None:
                self._assign(cell, f"CO[{bit}]", first)
                first = self._net(cell, f"CO[{bit}]")

    def _memory(self, cell: Cell, name: str) -> None:
        dual = cell.kind.startswith("RAMD")
        width = 5 if "32" in cell.kind else 6

        def address(prefix: str) -> str:
            return bus([self._net(cell, f"{prefix}{i}", "1'b1") for i in range(width)])

        if cell.nets.get("O") is None:
            return
        read = address("RADR" if dual else "ADR")
        ports = {
            "CLK": ("~" if cell.inverted("WCLK") else "") + self._net(cell, "CLK"),
            "WE": self._net(cell, "WE"),
            "D": self._net(cell, "I", "1'b0"),
            "RA": read,
            "WA": address("WADR") if dual else read,
            "O": self._net(cell, "O"),
        }
        init = f"{1 << width}'h{cell.number('INIT'):x}"
        self._instance("DISTRIBUTED_RAM", name, {"WIDTH": str(width), "INIT": init}, ports)

    def _shift(self, cell: Cell, name: str) -> None:
        depth = 16 if "16" in cell.kind else 32
        names = [f"A{i}" if f"A{i}" in cell.nets else f"A[{i}]" for i in range(4 if depth == 16 else 5)]
        ports = {
            "CLK": self._clock(cell, "CLK"),
            "WE": self._net(cell, "CE", "1'b1"),
            "D": self._net(cell, "D"),
            "A": bus([self._net(cell, port, "1'b0") for port in names]),
            "Q": self._net(cell, "Q", ""),
            "Q31": self._net(cell, "Q31", ""),
        }
        self._instance(
            "SHIFT_REGISTER", name, {"DEPTH": str(depth), "INIT": f"{depth}'h{cell.number('INIT'):x}"}, ports
        )

    def _hard(self, cell: Cell, name: str) -> None:
        """A cell whose model has its own parameters and ports; those that the models lack are of no use here."""
        parameters = {}
        for key, text in cell.parameters.items():
            if key.startswith(_UNUSED_PARAMETERS):
                continue
            if not re.fullmatch("[01xz]+ ?", text):
                parameters[key] = json.dumps(text)
            elif key.startswith(("INIT", "SRVAL")):
                parameters[key] = f"{len(text.strip())}'h{cell.number(key):x}"
            else:
                parameters[key] = str(cell.number(key))
        ports = {}
        for base in dict.fromkeys(re.sub(r"\[\d+\]$", "", port) for port in cell.nets):
            bits = cell.bits(base)
            if base in _UNUSED_PORTS:
                continue
            if any(port in cell.outputs for port in bits):
                if any(cell.nets.get(port) is not None for port in bits):
                    ports[base] = bus([self._output(cell, port) for port in bits])
                continue
            # Nothing comes from a cascade that is not there; a pin of the fabric that is left open is 1.
            open_value = "1'b0" if base in _CASCADES else "1'b1" if cell.kind != "DSP48E1" else None
            inverted = sum(cell.inverted(port) << i for i, port in enumerate(bits))
            inverter = f" ^ {len(bits)}'h{inverted:x}" if inverted else ""
            ports[base] = bus([self._net(cell, port, open_value) for port in bits]) + inverter
        self._instance(cell.kind, name, parameters, ports)

    def _output(self, cell: Cell, port: str) -> str:
        if cell.nets.get(port) is not None:
            return self._net(cell, port)
        unread = f"open_{len(self.lines)}_{len(self.nets)}_{re.sub(r'[^A-Za-z0-9]', '_', port)}"
        self.lines.append(f"  wire {unread};")
        return unread

    def _processor(self, cell: Cell) -> None:
        for name, port in self.ps7_ports.items():
            if port["class"] != "normal":
                continue
            width = port["width"]
            bits = [name] if width == 1 else [f"{name}[{i}]" for i in range(width)]
            nets = [cell.nets.get(bit) for bit in bits]
            if all(net is None for net in nets):
                continue
            declared = f"[{width - 1}:0] {name}" if width > 1 else name
            if port["direction"] == "input":
                self.ports.append(f"  output {declared}")
                value = bus([self._net(cell, bit, "1'b0") for bit in bits])
                self.lines.append(f"  assign {name} = {value};")
                continue
            self.ports.append(f"  input {declared}")
            for i, bit in enumerate(bits):
                self._assign(cell, bit, name if width == 1 else f"{name}[{i}]")
