"""PYNQ-Z1 of Digilent."""

from __future__ import annotations

from fireflow.hw.parts.board import Board
from fireflow.hw.parts.xc7 import XC7, Z7020

BOARD = Board(
    name="PYNQ-Z1",
    part="xc7z020clg400-1",
    family=XC7.name,
    resources=Z7020.resources,
    clocks_mhz=(100,),
    sources={
        "part": "Digilent PYNQ-Z1 reference manual",
        "resources": Z7020.source,
        "clocks": XC7.clocks_source,
    },
    pynq=("Pynq-Z1",),
    finn="Pynq-Z1",
    open_tools=True,
)
