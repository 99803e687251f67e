"""A netlist behind place and route, or recovered from a bitstream, on pictures: memory to memory, as on a board."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fireflow.hw.bitstream.errors import CheckError
from fireflow.hw.bitstream.open_flow import BITSTREAM
from fireflow.hw.bitstream.recover import Database, recover
from fireflow.hw.bitstream.routed import Routed
from fireflow.hw.bitstream.routed_verilog import verilog
from fireflow.hw.bitstream.routing import ROUTED
from fireflow.hw.bitstream.steps import Step, Work
from fireflow.hw.dataflow.network import Dataflow
from fireflow.hw.dataflow.stream import Stream
from fireflow.hw.files import read_tool_json
from fireflow.hw.tools.axi_stream import pack_words, unpack_words
from fireflow.hw.tools.verilator import Simulation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fireflow.hw.types import Array, Int64Array

MODELS = Path(__file__).parent / "sim"
_BUS_BYTES = 8
_PORT = re.compile(r"(input|output)\s+(?:wire\s+)?(?:\[\s*(\d+)\s*:\s*0\s*\]\s*)?(\w+)\s*[,)\n]")
_BENCH = ("FCLKCLK", "FCLKRESETN", "MAXIGP0", "SAXIHP0")
"""How the names of the pins begin that the bench has."""


_VERILOG, _SCORES = "netlist.v", "scores.json"


def check_step(
    which: str,
    database: Database,
    dataflow: Dataflow,
    images: Array,
    scores: Int64Array,
    *,
    max_idle_cycles: int,
    estimate_s: float,
) -> Step:
    """A step behind those of `open_flow`: a netlist gives the scores of pictures.

    Args:
        which: "routed": the netlist that nextpnr routed; "bits": the one that the finished bits make.
        database: of the part.
        dataflow: what the bitstream computes.
        images: uint8 (N, H, W, C).
        scores: int64 (N, classes), of the integer graph.
        max_idle_cycles: as in `simulate_netlist`.
        estimate_s: for the user to see.
    """

    def run(work: Work) -> None:
        netlist, ports = work.folder / _VERILOG, read_tool_json(database.folder / "ps7_ports.json")
        if which == "routed":
            text = verilog(Routed(work.done["route"] / ROUTED), ports, which)
        else:
            recovered = recover(work.done["pack"] / BITSTREAM, database, which)
            if recovered.unexplained:
                raise CheckError(
                    f"bits: prjxray's database must explain every bit, and does not explain {recovered.unexplained[0]}"
                )
            text = recovered.verilog
        netlist.write_text(text, encoding="utf-8")
        work.say("building the simulation")
        found = simulate_netlist(
            netlist,
            which,
            dataflow,
            images,
            ports,
            max_idle_cycles=max_idle_cycles,
            # The words move at once into the model of the memory; they say nothing of what is left.
            progress=lambda cycles, _part: work.say(f"{cycles} cycles"),
        )
        differing = np.flatnonzero((found != scores).any(axis=1))
        if differing.size:
            picture = int(differing[0])
            raise CheckError(
                f"{which}: the scores of picture {picture} must be {scores[picture].tolist()}, "
                f"not {found[picture].tolist()}; do not use this bitstream"
            )
        (work.folder / _SCORES).write_text(json.dumps(found.tolist()) + "\n")

    data = hashlib.sha256(images.tobytes() + scores.tobytes()).hexdigest()
    return Step(f"simulate-{which}", run, (data, *sorted(MODELS.glob("*.sv")), Path(__file__)), estimate_s)


def simulate_netlist(
    netlist: Path,
    top: str,
    dataflow: Dataflow,
    images: Array,
    ps7_ports: Mapping[str, Any],
    *,
    max_idle_cycles: int,
    progress: Callable[[int, float], None] | None = None,
) -> Int64Array:
    """Runs pictures through a netlist whose ports are the pins of the PS7.

    Args:
        netlist: the Verilog of module `top`; its primitives are those in the folder `sim`.
        top: the module.
        dataflow: what it computes.
        images: uint8 (N, H, W, C).
        ps7_ports: the PS7's ports by name, from prjxray's ps7_ports.json.
        max_idle_cycles: cycles that a frame may take at most, bus pauses included.
        progress: called now and then with the cycles and the part of all words that moved.

    Returns:
        int64 (N, classes).

    Raises:
        InputError: no Verilator or C++ compiler.
        DeadlockError: no scores come.
        SimulationError: the logic breaks a rule of the bus.
    """
    adapter = netlist.with_name(f"{netlist.stem}.logic_side.sv")
    adapter.write_text(_adapter(top, netlist.read_text(encoding="utf-8"), ps7_ports), encoding="utf-8")
    frames = _to_memory(dataflow.input, images)
    words = _bus_words(_frame_bytes(dataflow.output))
    simulation = Simulation.build(
        "processor",
        [*sorted(MODELS.glob("*.sv")), netlist, adapter],
        parameters={"IN_WORDS": frames.shape[1], "OUT_WORDS": words},
        optimize=True,
        jobs=os.cpu_count() or 1,
    )
    result = simulation.run(
        [frames.reshape(-1, _BUS_BYTES)],
        [len(images) * words],
        max_idle_cycles=max_idle_cycles,
        record=False,
        progress=progress,
    )
    return _from_memory(dataflow.output, result.outputs[0].reshape(len(images), -1))


def _frame_bytes(stream: Stream) -> int:
    return stream.words * stream.tdata_bits // 8


def _bus_words(count: int) -> int:
    return -(-count // _BUS_BYTES)


def _to_memory(stream: Stream, values: Array) -> Array:
    """Frames as they lie in memory: uint8 (N, words of the bus, 8)."""
    count = _frame_bytes(stream)
    packed = pack_words(values, stream.lanes, stream.bits, stream.signed).reshape(len(values), count)
    padded = np.zeros((len(values), _bus_words(count) * _BUS_BYTES), np.uint8)
    padded[:, :count] = packed
    return padded.reshape(len(values), -1, _BUS_BYTES)


def _from_memory(stream: Stream, data: Array) -> Int64Array:
    """uint8 (N, bytes) to int64 (N, classes)."""
    words = np.ascontiguousarray(data[:, : _frame_bytes(stream)]).reshape(-1, stream.tdata_bits // 8)
    values = unpack_words(words, stream.lanes, stream.bits, stream.signed)
    return values.reshape(len(data), *stream.shape)


def _adapter(top: str, netlist: str, ps7_ports: Mapping[str, Any]) -> str:
    """`logic_side`: the netlist with all ports of the bench, those that it lacks included."""
    start = re.search(rf"^module {re.escape(top)}\b", netlist, re.MULTILINE)
    assert start is not None, f"no module {top}"
    header = netlist[start.start() : netlist.index(");", start.start()) + 1]
    has = {name: direction for direction, _, name in _PORT.findall(header)}
    ports, missing = [], []
    for name, port in ps7_ports.items():
        if not name.startswith(_BENCH) or port["class"] != "normal":
            continue
        width = f"[{port['width'] - 1}:0] " if port["width"] > 1 else ""
        ports.append(f"  {'output' if port['direction'] == 'input' else 'input'} {width}{name}")
        if port["direction"] == "input" and name not in has:
            # The netlist leaves out what is constant: it is always ready, and each beat of its registers the last.
            missing.append(f"  assign {name} = {port['width']}'d{int(name.endswith(('READY', 'LAST')))};")
    wired = [f"    .{name}({name})" for name in has if name.startswith(_BENCH)]
    wired += [
        f"    .{name}('0)"
        for name, direction in has.items()
        if not name.startswith(_BENCH) and direction == "input"
    ]
    lines = ["module logic_side (", ",\n".join(ports), ");", *missing]
    return "\n".join([*lines, f"  {top} netlist (", ",\n".join(wired), "  );", "endmodule", ""])
