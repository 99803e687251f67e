"""AUP-ZU3 of Real Digital for AMD's University Program, with 4 or 8 GB of DDR4: every one has the lower 2 GiB."""

from __future__ import annotations

from fireflow.hw.parts.board import Board
from fireflow.hw.parts.xcup import XCUP, ZU3EG

BOARD = Board(
    name="AUP-ZU3",
    part="xczu3eg-sfvc784-2-e",
    family=XCUP.name,
    resources=ZU3EG.resources,
    clocks_mhz=(300, 200),
    sources={
        # There its processing system has the reference clock of 33.333 MHz, the IO PLL of 1500 MHz and the ports of
        # 128 bits that our record of the family has, and the makefile of its PYNQ image names it.
        "part": "github.com/Xilinx/AUP-ZU3, docs/overview.md and AUP-ZU3/petalinux_bsp/hardware_project/aupzu3.tcl",
        "resources": ZU3EG.source,
        "clocks": XCUP.clocks_source,
    },
    pynq=("AUP-ZU3",),
    finn="AUP-ZU3_8GB",  # FINN has the board with 8 GB alone
)
