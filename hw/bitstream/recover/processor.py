"""The PS7: its pins are the ports of the recovered module.

An output of the PS7, as a clock or an address of its AXI masters, is an input of the module, and the other way round.
Ports have the PS7's names and widths. What no logic reads of its outputs is left out; of its inputs all are there, also
those that the bits tie to a constant.
"""

from __future__ import annotations

from typing import Any

from fireflow.hw.bitstream.recover.netlist import Netlist, bus
from fireflow.hw.bitstream.recover.routing import NOTHING, RecoveryError
from fireflow.hw.files import read_tool_json


class Processor:
    """The module's ports."""

    def __init__(self, netlist: Netlist) -> None:
        self.netlist = netlist
        self.site = "PS7_X0Y0"
        ports = read_tool_json(netlist.database.folder / "ps7_ports.json")
        self.ports: dict[str, Any] = {name: port for name, port in ports.items() if port["class"] == "normal"}
        self.read: set[str] = set()
        self.driven: dict[str, str] = {}

    def ask(self) -> None:
        """Asks for what drives each input of the PS7: from there the netlist grows."""
        for name, port in self.ports.items():
            if port["direction"] != "input":
                continue
            sources = [self.netlist.source(self.site, pin) for pin in self._pins(name)]
            self.driven[name] = bus(
                [
                    "1'b0" if source == NOTHING else self.netlist.drive(source, f"{self.site}.{pin}")
                    for source, pin in zip(sources, self._pins(name))
                ]
            )

    def tap(self, pin: str) -> None:
        """An output of the PS7 that logic reads."""
        name = pin if pin in self.ports else pin.rstrip("0123456789")
        if name not in self.ports:
            raise RecoveryError(
                f"{self.site}.{pin}: logic must read the PS7's ports, not its test or memory pins"
            )
        self.read.add(name)
        index = int(pin[len(name) :]) - self.ports[name]["min"] if pin != name else None
        self.netlist.assign(f"{self.site}_{pin}", name if index is None else f"{name}[{index}]")

    def module(self, top: str) -> str:
        """The Verilog of all."""
        ports = [f"  input {self._range(name)}{name}" for name in sorted(self.read)]
        ports += [f"  output {self._range(name)}{name}" for name in sorted(self.driven)]
        body = [f"  wire {signal};" for signal in self.netlist.signals]
        body += [f"  assign {name} = {value};" for name, value in self.driven.items()]
        head = f"module {top} (\n" + ",\n".join(ports) + "\n);\n"
        return head + "\n".join([*body, *self.netlist.lines]) + "\nendmodule\n"

    def _pins(self, name: str) -> list[str]:
        port = self.ports[name]
        if port["width"] == 1:
            return [name]
        return [f"{name}{i}" for i in range(port["min"], port["max"] + 1)]

    def _range(self, name: str) -> str:
        width = self.ports[name]["width"]
        return f"[{width - 1}:0] " if width > 1 else ""
