"""Shells of several shapes in one module: word sizes that divide the bus, do not, and exceed it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fireflow.hw.dataflow.kernel import RTL
from fireflow.hw.rtl.shell import AXI
from fireflow.hw.tools.yosys import CELLS

HASH = "".join(f"{byte:02x}" for byte in range(0x80, 0xA0))
SHELL_SOURCES = [
    AXI / "shell_pkg.sv",
    RTL / "stream_fifo.sv",
    *(
        AXI / f"{module}.sv"
        for module in (
            "byte_gearbox",
            "axi_lite",
            "dma_control",
            "dma_read",
            "dma_write",
            "frame_tags",
            "shell",
        )
    ),
]


@dataclass(frozen=True)
class Case:
    """A shell: the bus, and the bytes of words and frames in both directions."""

    bus: int
    address_bits: int
    beats: int
    word_in: int
    frame_in: int
    word_out: int
    frame_out: int
    quiet: int = 0


CASES = {
    "rgb": Case(8, 32, 16, 3, 30, 3, 30, 40),
    "bytes": Case(8, 32, 16, 1, 7, 1, 1),
    "wide": Case(8, 32, 16, 12, 24, 30, 60),
    "odd": Case(8, 32, 2, 7, 7, 5, 15),
    "broad": Case(16, 64, 16, 3, 768, 4, 40),
    "whole": Case(16, 64, 256, 16, 4096, 16, 48),
    "long": Case(16, 40, 256, 6, 18, 9, 27),
}

# Ports of a shell's buses: name, bits (0 for one wire), whether the shell drives it.
_LITE = (
    ("awaddr", 17, 0), ("awprot", 3, 0), ("awvalid", 0, 0), ("awready", 0, 1),
    ("wdata", 32, 0), ("wstrb", 4, 0), ("wvalid", 0, 0), ("wready", 0, 1),
    ("bresp", 2, 1), ("bvalid", 0, 1), ("bready", 0, 0),
    ("araddr", 17, 0), ("arprot", 3, 0), ("arvalid", 0, 0), ("arready", 0, 1),
    ("rdata", 32, 1), ("rresp", 2, 1), ("rvalid", 0, 1), ("rready", 0, 0),
)  # fmt: skip
_ABSENT = (
    "awprot",
    "arprot",
    "awid",
    "awsize",
    "awburst",
    "arid",
    "arsize",
    "arburst",
    "bid",
    "rid",
    "rlast",
)


def _full(bus: int) -> Iterator[tuple[str, int, int]]:
    for channel in ("aw", "ar"):
        yield from ((f"{channel}{name}", bits, 1) for name, bits in (("id", 1), ("addr", 64), ("len", 8)))
        yield from ((f"{channel}{name}", bits, 1) for name, bits in (("size", 3), ("burst", 2), ("valid", 0)))
        yield f"{channel}ready", 0, 0
    yield from (("wdata", 8 * bus, 1), ("wstrb", bus, 1), ("wlast", 0, 1), ("wvalid", 0, 1), ("wready", 0, 0))
    yield from (("bid", 1, 0), ("bresp", 2, 0), ("bvalid", 0, 0), ("bready", 0, 1))
    yield from (("rid", 1, 0), ("rdata", 8 * bus, 0), ("rresp", 2, 0), ("rlast", 0, 0), ("rvalid", 0, 0))
    yield "rready", 0, 1


def write_bench(folder: Path) -> list[Path]:
    """The sources of the module `bench`: every case's ports begin with its name, and all have checks."""
    ports, body = ["input wire clk"], []
    for name, case in CASES.items():
        streams = (("in_data", 8 * case.word_in, 1), ("in_valid", 0, 1), ("in_ready", 0, 0))
        streams += (("out_data", 8 * case.word_out, 0), ("out_valid", 0, 0), ("out_ready", 0, 1))
        listed = [("resetn", 0, 0), *((f"s_axi_{p}", b, o) for p, b, o in _LITE)]
        listed += [(f"m_axi_{p}", b, o) for p, b, o in _full(case.bus)]
        pins = []
        for port, bits, out in (*listed, *streams):
            width = f"[{bits - 1}:0] " if bits else ""
            ports.append(f"{'output' if out else 'input'} wire {width}{name}_{port}")
            if port.rpartition("_")[2] not in _ABSENT:
                pins.append(f".{port}({name}_{port})")
        size = case.bus.bit_length() - 1
        for channel in ("aw", "ar"):
            for part, value in (("id", "1'b0"), ("size", f"3'd{size}"), ("burst", "2'b01")):
                body.append(f"assign {name}_m_axi_{channel}{part} = {value};")
        values = {
            "BUS_BYTES": case.bus, "ADDRESS_BITS": case.address_bits, "BURST_BEATS": case.beats,
            "IN_WORD_BYTES": case.word_in, "IN_FRAME_BYTES": case.frame_in,
            "OUT_WORD_BYTES": case.word_out, "OUT_FRAME_BYTES": case.frame_out,
            "QUIET": case.quiet, "HASH": f"256'h{HASH}",
        }  # fmt: skip
        given = ", ".join(f".{key}({value})" for key, value in values.items())
        body.append(f"shell #({given}) {name} (.clk(clk), .accelerator_resetn(), {', '.join(pins)});")
        watched = [
            p
            for p, *_ in _full(case.bus)
            if p.endswith(("valid", "ready", "last", "addr", "len", "wdata", "wstrb"))
        ]
        wires = ", ".join(f".{p}({name}_m_axi_{p})" for p in watched if p != "rlast")
        body.append(
            f"axi_checks #(.BUS_BYTES({case.bus}), .BURST_BEATS({case.beats})) {name}_checks "
            f"(.clk(clk), .resetn({name}_resetn), {wires});"
        )
        body.append(
            f"stable_check #(.BITS({8 * case.word_in})) {name}_words (.clk(clk), .resetn({name}_resetn), "
            f".valid({name}_in_valid), .ready({name}_in_ready), .payload({name}_in_data));"
        )
    bench = folder / "bench.sv"
    bench.write_text(
        "module bench (\n  " + ",\n  ".join(ports) + "\n);\n" + "\n".join(body) + "\nendmodule\n"
    )
    return [*SHELL_SOURCES, Path(__file__).with_name("axi_checks.sv"), bench]


_PS7 = """
  logic clk, resetn;
  logic [11:0] gp0_awid, gp0_arid, gp0_bid, gp0_rid;
  logic [31:0] gp0_awaddr, gp0_araddr, gp0_wdata, gp0_rdata;
  logic [7:0] gp0_awlen, gp0_arlen;
  logic [2:0] gp0_awsize, gp0_arsize;
  logic [1:0] gp0_awburst, gp0_arburst, gp0_bresp, gp0_rresp;
  logic [3:0] gp0_wstrb;
  logic gp0_awvalid, gp0_awready, gp0_wlast, gp0_wvalid, gp0_wready, gp0_bvalid, gp0_bready;
  logic gp0_arvalid, gp0_arready, gp0_rlast, gp0_rvalid, gp0_rready;
  assign FCLKCLK = {3'b0, clk};
  assign FCLKRESETN = {3'b0, resetn};
  assign {MAXIGP0AWID, MAXIGP0AWADDR, MAXIGP0AWLEN} = {gp0_awid, gp0_awaddr, gp0_awlen[3:0]};
  assign {MAXIGP0AWSIZE, MAXIGP0AWBURST, MAXIGP0AWVALID} = {gp0_awsize[1:0], gp0_awburst, gp0_awvalid};
  assign {MAXIGP0WDATA, MAXIGP0WSTRB, MAXIGP0WVALID} = {gp0_wdata, gp0_wstrb, gp0_wvalid};
  assign {MAXIGP0BREADY, MAXIGP0RREADY} = {gp0_bready, gp0_rready};
  assign {MAXIGP0ARID, MAXIGP0ARADDR, MAXIGP0ARLEN} = {gp0_arid, gp0_araddr, gp0_arlen[3:0]};
  assign {MAXIGP0ARSIZE, MAXIGP0ARBURST, MAXIGP0ARVALID} = {gp0_arsize[1:0], gp0_arburst, gp0_arvalid};
  assign {gp0_awready, gp0_wready, gp0_arready} = {MAXIGP0AWREADY, MAXIGP0WREADY, MAXIGP0ARREADY};
  assign {gp0_bid, gp0_bresp, gp0_bvalid} = {MAXIGP0BID, MAXIGP0BRESP, MAXIGP0BVALID};
  assign {gp0_rid, gp0_rdata, gp0_rresp} = {MAXIGP0RID, MAXIGP0RDATA, MAXIGP0RRESP};
  assign {gp0_rlast, gp0_rvalid} = {MAXIGP0RLAST, MAXIGP0RVALID};

  logic [5:0] hp0_awid, hp0_arid, hp0_bid, hp0_rid;
  logic [31:0] hp0_awaddr, hp0_araddr;
  logic [7:0] hp0_awlen, hp0_arlen, hp0_wstrb;
  logic [2:0] hp0_awsize, hp0_arsize;
  logic [1:0] hp0_awburst, hp0_arburst, hp0_bresp, hp0_rresp;
  logic [63:0] hp0_wdata, hp0_rdata;
  logic hp0_awvalid, hp0_awready, hp0_wlast, hp0_wvalid, hp0_wready, hp0_bvalid, hp0_bready;
  logic hp0_arvalid, hp0_arready, hp0_rlast, hp0_rvalid, hp0_rready;
  assign {hp0_awid, hp0_awaddr, hp0_awlen} = {SAXIHP0AWID, SAXIHP0AWADDR, 4'b0, SAXIHP0AWLEN};
  assign {hp0_awsize, hp0_awburst, hp0_awvalid} = {1'b0, SAXIHP0AWSIZE, SAXIHP0AWBURST, SAXIHP0AWVALID};
  assign {hp0_wdata, hp0_wstrb, hp0_wlast, hp0_wvalid} = {SAXIHP0WDATA, SAXIHP0WSTRB, SAXIHP0WLAST, SAXIHP0WVALID};
  assign {hp0_arid, hp0_araddr, hp0_arlen} = {SAXIHP0ARID, SAXIHP0ARADDR, 4'b0, SAXIHP0ARLEN};
  assign {hp0_arsize, hp0_arburst, hp0_arvalid} = {1'b0, SAXIHP0ARSIZE, SAXIHP0ARBURST, SAXIHP0ARVALID};
  assign {hp0_bready, hp0_rready} = {SAXIHP0BREADY, SAXIHP0RREADY};
  assign {SAXIHP0AWREADY, SAXIHP0WREADY, SAXIHP0ARREADY} = {hp0_awready, hp0_wready, hp0_arready};
  assign {SAXIHP0BRESP, SAXIHP0BVALID} = {hp0_bresp, hp0_bvalid};
  assign {SAXIHP0RDATA, SAXIHP0RRESP, SAXIHP0RLAST, SAXIHP0RVALID} = {hp0_rdata, hp0_rresp, hp0_rlast, hp0_rvalid};

  axi_checks checks (
      .clk, .resetn, .awvalid(hp0_awvalid), .awready(hp0_awready), .wvalid(hp0_wvalid), .wready(hp0_wready),
      .wlast(hp0_wlast), .bvalid(hp0_bvalid), .bready(hp0_bready), .arvalid(hp0_arvalid), .arready(hp0_arready),
      .rvalid(hp0_rvalid), .rready(hp0_rready), .awaddr(64'(hp0_awaddr)), .araddr(64'(hp0_araddr)),
      .awlen(hp0_awlen), .arlen(hp0_arlen), .wdata(hp0_wdata), .wstrb(hp0_wstrb)
  );
  always_ff @(posedge clk)
    if (resetn && (MAXIGP0ACLK !== clk || SAXIHP0WID != '0 || IRQF2P != '0)) $error("%m: wrong wires");
endmodule

module BUFG (input wire I, output wire O);
  assign O = I;
endmodule
"""


def write_ps7(folder: Path) -> list[Path]:
    """A processing system for simulation: its buses as variables gp0_... and hp0_... that tests drive."""
    cells = CELLS.read_text()
    start = cells.index("module PS7")
    ports = cells[start : cells.index(");", start) + 2]
    model = folder / "ps7.sv"
    model.write_text(ports + _PS7)
    return [Path(__file__).with_name("axi_checks.sv"), model]
