"""ZCU104 of AMD."""

from __future__ import annotations

from fireflow.hw.parts.board import Board
from fireflow.hw.parts.xcup import XCUP, ZU7EV

BOARD = Board(
    name="ZCU104",
    part="xczu7ev-ffvc1156-2-e",
    family=XCUP.name,
    resources=ZU7EV.resources,
    clocks_mhz=(300, 200),
    sources={
        "part": "AMD UG1267, ZCU104 user guide",
        "resources": ZU7EV.source,
        "clocks": XCUP.clocks_source,
    },
    pynq=("ZCU104",),
    finn="ZCU104",
)
