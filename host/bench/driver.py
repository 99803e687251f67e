"""Frames per second of the driver on the virtual board, beside FINN+'s own driver."""

from __future__ import annotations

import itertools
import json
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Sequence

import numpy as np

from fireflow.host.bench.boards import Recorded, check_times, virtual_board
from fireflow.host.bench.processes import python_path
from fireflow.host.driver import Accelerator
from fireflow.hw.errors import InputError

if TYPE_CHECKING:
    from fireflow.host.devices.fpga_model import FpgaModel
    from fireflow.hw.bundle import Bundle
    from fireflow.hw.types import Array

LEAST_SHARE, MOST_CPU_MS = 0.95, 0.5
OURS = "fireflow"


@dataclass(frozen=True)
class DriverRow:
    """One measurement of a driver.

    Args:
        driver: its name.
        batch: frames of a transfer.
        slots: transfers at once.
        frames: that went through.
        fps: frames a second.
        ceiling: what the accelerator allows, in frames a second; 0 for one that takes no time.
        cpu_ms: of the host's processor time for a frame, without the model's own.
        wrong: frames with other scores than the golden ones.
    """

    driver: str
    batch: int
    slots: int
    frames: int
    fps: float
    ceiling: float
    cpu_ms: float
    wrong: int


def measure_driver(
    bundle: Bundle,
    *,
    frames: int = 300,
    interval_s: float = 0.01,
    latency_s: float = 0.03,
    pynq_python: Path | None = None,
) -> list[DriverRow]:
    """Measures the driver, with several batches and slots and on an accelerator that takes no time.

    Args:
        bundle: its golden images go through, over and over.
        frames: of each row.
        interval_s, latency_s: of the accelerator, in seconds.
        pynq_python: a Python with pynq 4 and finn-plus-driver, to compare; then the bundle must lie in a folder.

    Raises:
        InputError: an interval or a latency that no accelerator has; the other Python lacks something.
    """
    check_times(interval_s, latency_s)
    rows = []
    for batch, slots in ((1, 1), (1, 2), (1, 4), (1, 6), (4, 3)):
        rows.append(_ours(bundle, frames, interval_s, latency_s, batch, slots))
    # A frame takes less than a millisecond here: of few, starting and ending would be a part.
    rows.append(_ours(bundle, max(frames, 1000), 0.0, 0.0, 1, 4))
    if pynq_python is not None:
        rows += _elsewhere(pynq_python, bundle, frames, interval_s, latency_s)
    return rows


def problems(rows: Sequence[DriverRow]) -> list[str]:
    """What the driver must do and did not."""
    ours = [row for row in rows if row.driver == OURS and row.batch == 1]
    best = max(row.fps / row.ceiling for row in ours if row.ceiling)
    least = min(row.cpu_ms for row in ours if not row.ceiling)
    missed = [f"{row.driver}: every score must be right, not {row.wrong} wrong" for row in rows if row.wrong]
    if best < LEAST_SHARE:
        missed.append(
            f"one image a transfer must reach {LEAST_SHARE:.0%} of the ceiling, not {best:.1%}; "
            "measure on an idle machine"
        )
    if least > MOST_CPU_MS:
        missed.append(
            f"a frame must cost the host at most {MOST_CPU_MS} ms, not {least:.3f}; measure on an idle machine"
        )
    return missed


def timed(
    stream: Callable[[], Sequence[Array]],
    bundle: Bundle,
    fpga: FpgaModel,
    driver: str,
    batch: int,
    slots: int,
    interval_s: float,
) -> DriverRow:
    """Measures what gives the scores of the golden images, over and over; what they are is looked at afterwards."""
    start, cpu = time.perf_counter(), time.process_time() - fpga.busy_s
    scores = stream()
    seconds, busy = time.perf_counter() - start, time.process_time() - fpga.busy_s - cpu
    frames, golden, ceiling = len(scores), bundle.golden.scores, 1 / interval_s if interval_s else 0.0
    wrong = sum(not np.array_equal(row, golden[n % len(golden)]) for n, row in enumerate(scores))
    return DriverRow(driver, batch, slots, frames, frames / seconds, ceiling, 1000 * busy / frames, wrong)


def accelerator_row(
    accelerator: Accelerator,
    fpga: FpgaModel,
    driver: str,
    batch: int,
    slots: int,
    frames: int,
    interval_s: float,
) -> DriverRow:
    images = itertools.islice(itertools.cycle(accelerator.bundle.golden.images), frames)
    return timed(
        lambda: list(accelerator.stream(images)), accelerator.bundle, fpga, driver, batch, slots, interval_s
    )


def _ours(
    bundle: Bundle, frames: int, interval_s: float, latency_s: float, batch: int, slots: int
) -> DriverRow:
    device, interface = virtual_board(bundle, interval_s, latency_s, Recorded.golden(bundle))
    with Accelerator(bundle, device, slots=slots, batch=batch, interface=interface) as accelerator:
        return accelerator_row(accelerator, device.fpga, OURS, batch, slots, frames, interval_s)


def _elsewhere(
    python: Path, bundle: Bundle, frames: int, interval_s: float, latency_s: float
) -> list[DriverRow]:
    if bundle.folder is None:
        raise InputError(
            f"{bundle.graph.name}: must lie in a folder for another Python, and it does not; save it first"
        )
    command = [
        str(python),
        "-m",
        "fireflow.host.bench.under_pynq",
        str(bundle.folder),
        str(frames),
        str(interval_s),
        str(latency_s),
    ]
    done = subprocess.run(command, env=python_path(), capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise InputError(f"{python}: must run pynq 4 and finn-plus-driver ({reason}); install both there")
    return [DriverRow(**row) for row in json.loads(done.stdout.splitlines()[-1])]
