"""The driver and FINN+'s under `pynq`, on the virtual board: a program for the Python that has both.

`python -m fireflow.host.bench.under_pynq BUNDLE FRAMES INTERVAL_S LATENCY_S` prints its rows as JSON.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fireflow.host.bench.boards import Recorded, timed_interface
from fireflow.host.bench.driver import DriverRow, accelerator_row, timed
from fireflow.host.devices.fpga_model import FpgaModel, Memory
from fireflow.host.devices.machine import Machine, virtual_bitstream
from fireflow.host.devices.pynq import PynqDevice
from fireflow.host.devices.pynq_virtual import make_board
from fireflow.host.driver import Accelerator
from fireflow.hw.bundle import Bundle
from fireflow.hw.parts.boards import family_of

if TYPE_CHECKING:
    from fireflow.host.interface import Interface
    from fireflow.hw.types import Array

BOARD = "KV260"
OURS_PYNQ, FINN = "fireflow, under pynq", "FINN+ 1.6.1, under pynq"


def _under_pynq(
    bundle: Bundle, frames: int, interval_s: float, latency_s: float, folder: Path
) -> list[DriverRow]:
    family = family_of(BOARD)
    bitstream = folder / "bench.bit"
    plain = replace(timed_interface(bundle, interval_s, latency_s), board=BOARD)
    bitstream.write_bytes(virtual_bitstream(plain, "xck26"))
    interface = replace(plain, bitstream=bitstream)
    memory = Memory(0x8_0000_0000, 1 << 28)
    fpga = FpgaModel(interface, Recorded.golden(bundle), memory, interval_s, latency_s)
    under = make_board(Machine(fpga, family, BOARD))
    device = PynqDevice(interface, under)
    rows = []
    for batch, slots in ((1, 4), (4, 3)):
        with Accelerator(bundle, device, slots=slots, batch=batch, interface=interface) as accelerator:
            rows.append(accelerator_row(accelerator, fpga, OURS_PYNQ, batch, slots, frames, interval_s))
    for batch in (1, 4):
        rows.append(_finn(device.overlay_file, fpga, under, bundle, frames, batch, interval_s))
    fpga.close()
    return rows


def _finn(
    file: Path, fpga: FpgaModel, board: Any, bundle: Bundle, frames: int, batch: int, interval_s: float
) -> DriverRow:
    """FINN+'s driver as its documentation uses it: `execute` for a batch, then the next."""
    driver = finn_overlay(file, fpga.interface, board, batch)
    images = bundle.golden.images

    def stream() -> list[Array]:
        scores: list[Array] = []
        for first in range(0, frames, batch):
            scores.extend(driver.execute(images[np.arange(first, first + batch) % len(images)]))
        return scores

    return timed(stream, bundle, fpga, FINN, batch, 1, interval_s)


def finn_overlay(file: Path, interface: Interface, board: Any, batch: int) -> Any:
    """FINN+'s driver on an overlay."""
    from finn_plus_driver.overlays import FINNDMAOverlay

    given, taken = interface.input, interface.output
    height, width, channels = given.kind.shape
    kind = "INT" if taken.kind.signed else "UINT"
    shapes = {
        "idt": [f"DataType['UINT{given.kind.bits}']"],
        "odt": [f"DataType['{kind}{taken.kind.bits}']"],
        "ishape_normal": [(1, height, width, channels)],
        "oshape_normal": [(1, *taken.kind.shape)],
        "ishape_folded": [(1, height, width, channels, 1)],
        "oshape_folded": [(1, *taken.kind.shape, 1)],
        "ishape_packed": [(1, height, width, channels, 1)],
        "oshape_packed": [(1, *taken.kind.shape, taken.word_bytes)],
        "input_dma_name": ["idma0"],
        "output_dma_name": ["odma0"],
        "num_inputs": 1,
        "num_outputs": 1,
    }
    return FINNDMAOverlay(str(file), "zynq-iodma", shapes, batch_size=batch, device=board)


def main(words: list[str]) -> None:
    """Prints the rows."""
    with tempfile.TemporaryDirectory() as scratch:
        path, frames, interval_s, latency_s = words
        rows = _under_pynq(Bundle.load(path), int(frames), float(interval_s), float(latency_s), Path(scratch))
        print(json.dumps([asdict(row) for row in rows]))


if __name__ == "__main__":
    main(sys.argv[1:])
