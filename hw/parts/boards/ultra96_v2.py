"""Ultra96-V2 of Avnet."""

from __future__ import annotations

from fireflow.hw.parts.board import Board
from fireflow.hw.parts.xcup import XCUP, ZU3EG

BOARD = Board(
    name="Ultra96-V2",
    part="xczu3eg-sbva484-1-e",
    family=XCUP.name,
    resources=ZU3EG.resources,
    clocks_mhz=(300, 200),
    sources={
        "part": "Avnet Ultra96-V2 hardware user guide (industrial boards: -1-i)",
        "resources": ZU3EG.source,
        "clocks": XCUP.clocks_source,
    },
    pynq=("Ultra96", "Ultra96-V1"),
    finn="Ultra96-V2",
)
