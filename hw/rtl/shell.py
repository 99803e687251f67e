"""The shell: AXI masters and registers around a stitched accelerator, so that a processor can feed it from memory.

`fireflow_shell` has one AXI4-Lite slave and one AXI4 master; for Zynq-7000 `fireflow_z7` joins it to the processing
system. The sources are in the folder `axi`; here their parameters are chosen, from the streams and the board.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np

from fireflow.hw.bundle import sources_hash
from fireflow.hw.dataflow.kernel import RTL
from fireflow.hw.dataflow.network import Dataflow
from fireflow.hw.dataflow.schedule import Timing
from fireflow.hw.dataflow.stream import Stream
from fireflow.hw.errors import InputError
from fireflow.hw.files import PathLike, sha256
from fireflow.hw.parts import FAMILIES, Board
from fireflow.hw.parts.family import Bus
from fireflow.hw.rtl.stitch import KERNELS, SOURCES, Design, seal

SHELL = "fireflow_shell"
"""The top for a block design of Vivado; a family may have another one, with the processing system, for open tools."""
FOLDER, AXI = "shell", RTL / "axi"
"""Where the sources of the shell are in a design; where they come from."""
_MODULES = ("byte_gearbox", "axi_lite", "dma_control", "dma_read", "dma_write", "frame_tags", "shell")
_ADDRESS_BITS = 17
_MARGIN, _LEAST_QUIET = 4, 64
"""A pause between frames is so many of the longest within a frame, and these cycles more."""
_BURST_BEATS = 16
"""As many as AXI3 allows, which S_AXI_HP is on Zynq-7000; on UltraScale+ 256 bytes, four of its memory's own bursts."""


def content_hash(design: Design) -> str:
    """The `sources_hash` of a design that `stitch` wrote. A bundle that has it in its folder `rtl` has it too."""
    files = sorted(path for path in design.folder.rglob("*") if path.is_file())
    return sources_hash({path.relative_to(design.folder).as_posix(): sha256(path) for path in files})


def write_shell(design: Design, dataflow: Dataflow, board: Board, content: str, folder: PathLike) -> Design:
    """Writes an accelerator with its shell.

    Args:
        design: that `stitch` wrote.
        dataflow: what it was stitched from.
        board: that it is for.
        content: its `content_hash`, which the board will tell.
        folder: is made, or empty; gets a copy of the design's files.

    Returns:
        the design whose top is the family's `shell_top`. PS7 and BUFG are cells.

    Raises:
        InputError: no hash, or a folder with other things in it.
    """
    if not re.fullmatch("[0-9a-f]{64}", content):
        raise InputError(f"shell: the hash must be 64 digits of SHA-256, not {content!r}; use content_hash")
    target = Path(folder)
    if target.is_dir() and any(target.iterdir()):
        raise InputError(f"{target}: the folder of a shell must be empty; give another one")
    shutil.copytree(design.folder, target, ignore=shutil.ignore_patterns(SOURCES), dirs_exist_ok=True)
    sources = dict.fromkeys(design.sources)

    def add(path: Path, below: str) -> None:
        (target / below).mkdir(exist_ok=True)
        shutil.copyfile(path, target / below / path.name)
        sources[f"{below}/{path.name}"] = None

    family = FAMILIES[board.family]
    add(RTL / "stream_fifo.sv", KERNELS)
    for module in ("shell_pkg", *_MODULES, *family.shell_modules):
        add(AXI / f"{module}.sv", FOLDER)
    (target / f"{SHELL}.v").write_text(_wrapper(dataflow, board.family, content), encoding="utf-8")
    if family.shell_top == SHELL:
        return seal(target, f"{SHELL}.v", sources)
    sources[f"{SHELL}.v"] = None
    shutil.copyfile(AXI / f"{family.shell_top}.sv", target / f"{family.shell_top}.sv")
    return seal(target, f"{family.shell_top}.sv", sources)


def frame_bytes(stream: Stream) -> int:
    """Bytes of a frame in memory: words without gaps, each of whole bytes."""
    return stream.words * stream.tdata_bits // 8


def quiet_cycles(dataflow: Dataflow, family: str) -> int:
    """A pause of the output that only comes between frames: cycles; 0 where none tells them from those within a frame.

    A network that ends with sums over all pixels gives the scores while its last pixel passes, one after the other, and
    then nothing until the next frame's last pixel.
    """
    if not dataflow.layers[-1].gives_at_the_end or dataflow.output.words < 2:
        return 0
    timing = Timing(dataflow, family)
    given = timing.steady(timing.interval)[dataflow.output_name].visible
    quiet = _MARGIN * int(np.diff(given).max()) + _LEAST_QUIET
    pause = timing.interval - int(given[-1] - given[0])
    return quiet if 2 * quiet <= pause else 0


# Signals of the ports by channel, as AXI names them, and their bits.
_LITE = {
    "aw": {"addr": _ADDRESS_BITS, "prot": 3},
    "w": {"data": 32, "strb": 4},
    "b": {"resp": 2},
    "ar": {"addr": _ADDRESS_BITS, "prot": 3},
    "r": {"data": 32, "resp": 2},
}


def _full(bus: Bus) -> dict[str, dict[str, int]]:
    address = {"addr": 64, "len": 8, "size": 3, "burst": 2, "cache": 4, "prot": 3}
    data = {"data": 8 * bus.bytes}
    return {
        "aw": address,
        "w": {**data, "strb": bus.bytes, "last": 1},
        "b": {"resp": 2},
        "ar": address,
        "r": {**data, "resp": 2, "last": 1},
    }


def _constant(bus: Bus) -> dict[str, str]:
    """What every transfer of the memory port has, which `shell` leaves out."""
    return {
        "size": f"3'd{bus.bytes.bit_length() - 1}",
        "burst": "2'b01",  # addresses that go up
        "cache": "4'b0011",  # memory that is not cached
        "prot": "3'b000",
    }


def _mark(signal: str, parameters: str = "") -> str:
    """What Vivado needs to see an interface in a port, and once for each interface what it is like."""
    line = f'    (* X_INTERFACE_INFO = "{signal}" *)\n'
    return line + (
        f'    (* X_INTERFACE_PARAMETER = "XIL_INTERFACENAME {parameters}" *)\n' if parameters else ""
    )


def _ports(prefix: str, channels: dict[str, dict[str, int]], parameters: str, master: bool) -> list[str]:
    """Declarations of an AXI port."""
    lines: list[str] = []
    for channel, signals in channels.items():
        forward = "output" if master == (channel in ("aw", "w", "ar")) else "input"
        back = "input" if forward == "output" else "output"
        for name, bits in {**signals, "valid": 1, "ready": 1}.items():
            signal = f"xilinx.com:interface:aximm:1.0 {prefix} {(channel + name).upper()}"
            width = f"[{bits - 1}:0] " if bits > 1 else ""
            declared = f"    {back if name == 'ready' else forward} wire {width}{prefix}_{channel}{name}"
            lines.append(_mark(signal, "" if lines else f"{prefix}, {parameters}") + declared)
    return lines


def _declared(bus: Bus) -> list[str]:
    """The ports of the shell."""
    clock, reset = "xilinx.com:signal:clock:1.0 clk CLK", "xilinx.com:signal:reset:1.0 resetn RST"
    lite = f"PROTOCOL AXI4LITE, ADDR_WIDTH {_ADDRESS_BITS}, DATA_WIDTH 32"
    full = (
        f"PROTOCOL AXI4, ADDR_WIDTH 64, DATA_WIDTH {8 * bus.bytes}, MAX_BURST_LENGTH {_BURST_BEATS}, "
        "SUPPORTS_NARROW_BURST 0"
    )
    return [
        _mark(clock, "clk, ASSOCIATED_BUSIF s_axi:m_axi, ASSOCIATED_RESET resetn") + "    input wire clk",
        _mark(reset, "resetn, POLARITY ACTIVE_LOW") + "    input wire resetn",
        *_ports("s_axi", _LITE, lite, master=False),
        *_ports("m_axi", _full(bus), full, master=True),
    ]


def _pins(bus: Bus) -> list[str]:
    """What `shell` is connected to."""
    pins = [".clk(clk)", ".resetn(resetn)"]
    for prefix, channels in (("s_axi", _LITE), ("m_axi", _full(bus))):
        for channel, signals in channels.items():
            names = [name for name in (*signals, "valid", "ready") if name not in _constant(bus)]
            if channel == "r" and prefix == "m_axi":
                names.remove("last")  # the reader counts
            pins += [f".{prefix}_{channel}{name}({prefix}_{channel}{name})" for name in names]
    return pins + [
        f".{name}_{part}({name}_{part})" for name in ("in", "out") for part in ("data", "valid", "ready")
    ]


def _parameters(dataflow: Dataflow, family: str, content: str) -> dict[str, int | str]:
    bus = FAMILIES[family].bus
    parameters: dict[str, int | str] = {
        "BUS_BYTES": bus.bytes,
        "ADDRESS_BITS": bus.address_bits,
        "BURST_BEATS": _BURST_BEATS,
    }
    for name, stream in (("IN", dataflow.input), ("OUT", dataflow.output)):
        parameters[f"{name}_WORD_BYTES"] = stream.tdata_bits // 8
        parameters[f"{name}_FRAME_BYTES"] = frame_bytes(stream)
    return {**parameters, "QUIET": quiet_cycles(dataflow, family), "HASH": f"256'h{content}"}


def _wrapper(dataflow: Dataflow, family: str, content: str) -> str:
    """`fireflow_shell`, in Verilog 2001: Vivado takes nothing newer into a block design."""
    bus = FAMILIES[family].bus
    listed = ",\n".join(_declared(bus))
    parameters = _parameters(dataflow, family, content)
    values = ",\n".join(f"      .{key}({value})" for key, value in parameters.items())
    nets = ",\n".join(f"      {pin}" for pin in _pins(bus))
    fixed = "\n".join(
        f"  assign m_axi_{channel}{name} = {value};"
        for channel in ("aw", "ar")
        for name, value in _constant(bus).items()
    )
    return f"""\
// {dataflow.name} with registers and DMAs around it.
module {SHELL} (
{listed}
);
  wire accelerator_resetn;
  wire [{dataflow.input.tdata_bits - 1}:0] in_data;
  wire in_valid;
  wire in_ready;
  wire [{dataflow.output.tdata_bits - 1}:0] out_data;
  wire out_valid;
  wire out_ready;

{fixed}

  shell #(
{values}
  ) u_shell (
{nets},
      .accelerator_resetn(accelerator_resetn)
  );

  accelerator u_accelerator (
      .ap_clk(clk),
      .ap_rst_n(accelerator_resetn),
      .in0_V_TDATA(in_data),
      .in0_V_TVALID(in_valid),
      .in0_V_TREADY(in_ready),
      .out0_V_TDATA(out_data),
      .out0_V_TVALID(out_valid),
      .out0_V_TREADY(out_ready)
  );
endmodule
"""
