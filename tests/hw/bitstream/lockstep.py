"""Runs a recovered netlist and the design that it was made of side by side."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fireflow.hw.bitstream.simulate import MODELS
from fireflow.hw.tools.verilator import Simulation

_PIN = r"(input|output) (?:\[\d+:0\] )?(\w+)[,\n]"
_KNOWN = {"FCLKCLK": 4, "FCLKRESETN": 4}


def outputs(
    folder: Path, design: str, recovered: str, pins: tuple[int, int], cycles: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """What both give in each cycle, for the same random inputs.

    Args:
        folder: for the Verilog.
        design: Verilog of `core`, with FCLKCLK, FCLKRESETN, EMIOGPIOO and EMIOGPIOI.
        recovered: of `recovered`, which may lack inputs that it does not read.
        pins: the widths of EMIOGPIOO and EMIOGPIOI, whole bytes.
        cycles: how many.

    Returns:
        uint8 (cycles, bytes) of the design, and of the recovered netlist.
    """
    # All pins of the bench, whether the netlist reads them or not.
    has = {name for _, name in re.findall(_PIN, recovered[: recovered.index(");")])}
    wanted = {**_KNOWN, "EMIOGPIOO": pins[0]}
    lacking = "".join(
        f"  input [{width - 1}:0] {name},\n" for name, width in wanted.items() if name not in has
    )
    (folder / "core.v").write_text(design)
    (folder / "recovered.v").write_text(recovered.replace("(\n", f"(\n{lacking}", 1))
    sources = [*sorted(MODELS.glob("*.sv")), folder / "core.v", folder / "recovered.v"]
    sources.append(Path(__file__).with_name("lockstep.sv"))
    # The bench of a whole accelerator is none of these.
    sources = [path for path in sources if path.name != "processor.sv"]
    simulation = Simulation.build("lockstep", sources, parameters={"IN": pins[0], "OUT": pins[1]})
    random = np.random.default_rng(0)
    words = random.integers(0, 256, (cycles, simulation.inputs[0].bytes), np.uint8)
    words[:, pins[0] // 8] = np.where(random.random(cycles) < 0.98, 15, 0)  # a reset now and then
    result = simulation.run([words], [cycles], max_idle_cycles=1000)
    both = result.outputs[0]
    return both[:, : pins[1] // 8], both[:, pins[1] // 8 :]
