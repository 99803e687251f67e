"""PYNQ-Z2 of TUL."""

from __future__ import annotations

from fireflow.hw.parts.board import Board
from fireflow.hw.parts.xc7 import XC7, Z7020

BOARD = Board(
    name="PYNQ-Z2",
    part="xc7z020clg400-1",
    family=XC7.name,
    resources=Z7020.resources,
    clocks_mhz=(100,),
    sources={"part": "TUL PYNQ-Z2 user manual", "resources": Z7020.source, "clocks": XC7.clocks_source},
    pynq=("Pynq-Z2",),
    finn="Pynq-Z2",
    open_tools=True,
)
