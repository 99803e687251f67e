"""Kria KV260 of AMD."""

from __future__ import annotations

from fireflow.hw.parts.board import Board
from fireflow.hw.parts.xcup import K26, XCUP

BOARD = Board(
    name="KV260",
    part="xck26-sfvc784-2LV-c",
    family=XCUP.name,
    resources=K26.resources,
    clocks_mhz=(300, 200),
    sources={
        "part": "AMD UG1089, Kria KV260 user guide",
        "resources": K26.source,
        "clocks": XCUP.clocks_source,
    },
    pynq=("KV260",),
    finn="KV260_SOM",
)
