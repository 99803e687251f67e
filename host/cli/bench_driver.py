"""`fireflow bench driver`: frames per second on the virtual board, beside FINN+'s own driver.

This file is also the program that measures under `pynq`, in the environment of another Python:
`python -m fireflow.host.cli.bench_driver BUNDLE FRAMES INTERVAL LATENCY` prints its rows as JSON.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
import zlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Sequence

import numpy as np

import fireflow
from fireflow.host.cli import arguments
from fireflow.host.cli.arguments import BUNDLE_HELP
from fireflow.host.cli.output import print_json, table
from fireflow.host.design import Design
from fireflow.host.devices.fabric import Fabric, Memory
from fireflow.host.devices.virtual import VirtualDevice
from fireflow.host.driver import Accelerator
from fireflow.hw.bundle import Bundle
from fireflow.hw.errors import InputError

if TYPE_CHECKING:
    from fireflow.hw.types import Array, Int64Array

ROOT = Path(fireflow.__file__).resolve().parents[1]
BOARD = "KV260"
LEAST_SHARE, MOST_CPU_MS = 0.95, 0.5
_OURS, _OURS_PYNQ, _FINN = "fireflow", "fireflow, under pynq", "FINN+ 1.6.1, under pynq"


@dataclass(frozen=True)
class Row:
    """One measurement; `cpu_ms` is the host's processor time for a frame, without the model's own."""

    driver: str
    batch: int
    slots: int
    frames: int
    fps: float
    ceiling: float
    cpu_ms: float
    wrong: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument("bundle", metavar="BUNDLE", type=Path, help=BUNDLE_HELP)
    parser.add_argument("--frames", type=arguments.positive, default=300, metavar="N", help="of each row")
    parser.add_argument("--interval-ms", type=float, default=10.0, metavar="MS", help="of the accelerator")
    parser.add_argument("--latency-ms", type=float, default=30.0, metavar="MS", help="of the accelerator")
    parser.add_argument(
        "--pynq-python",
        type=Path,
        metavar="PYTHON",
        help="a Python with pynq 4 and finn-plus-driver, to compare",
    )
    arguments.json_output(parser)


def run(args: argparse.Namespace) -> int:
    """Measures; fails if a score is wrong or the driver is slower than it must be."""
    bundle = Bundle.load(args.bundle)
    interval, latency = times(args)
    rows = []
    for batch, slots in ((1, 1), (1, 2), (1, 4), (1, 6), (4, 3)):
        rows.append(_ours(bundle, args.frames, interval, latency, batch, slots))
    # A frame takes less than a millisecond here: of few, starting and ending would be a part.
    rows.append(_ours(bundle, max(args.frames, 1000), 0.0, 0.0, 1, 4))
    if args.pynq_python is not None:
        rows += _elsewhere(args.pynq_python, args.bundle, args.frames, interval, latency)
    if args.json:
        print_json([asdict(row) for row in rows])
    else:
        lines = [
            (
                row.driver,
                f"{row.batch} x {row.slots}",
                f"{row.fps:.1f}",
                f"{100 * row.fps / row.ceiling:.1f}" if row.ceiling else "-",
                f"{row.cpu_ms:.3f}",
                row.wrong,
            )
            for row in rows
        ]
        print(table(("driver", "batch x slots", "fps", "% of ceiling", "CPU ms/frame", "wrong"), lines))
    missed = problems(rows)
    for problem in missed:
        print(f"fireflow: {problem}", file=sys.stderr)
    return int(bool(missed))


def times(args: argparse.Namespace) -> tuple[float, float]:
    """The accelerator's interval and latency in seconds. Raises InputError."""
    if not 0 < args.interval_ms <= args.latency_ms:
        raise InputError(
            f"interval and latency: must be above 0, the latency not below the interval, not {args.interval_ms:g} and "
            f"{args.latency_ms:g} ms; give 10 and 30"
        )
    return args.interval_ms / 1e3, args.latency_ms / 1e3


def problems(rows: Sequence[Row]) -> list[str]:
    """What the driver must do and did not."""
    ours = [row for row in rows if row.driver == _OURS and row.batch == 1]
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


class Recorded:
    """The arithmetic of known images, looked up: the host alone is measured.

    Args:
        images: uint8 (N, H, W, C).
        scores: int64 (N, classes).
    """

    def __init__(self, images: Array, scores: Int64Array) -> None:
        self._scores = {zlib.crc32(image.tobytes()): scores[n : n + 1] for n, image in enumerate(images)}

    @classmethod
    def golden(cls, bundle: Bundle) -> Recorded:
        """Of a bundle's golden images."""
        return cls(bundle.golden.images, bundle.golden.scores)

    def __call__(self, images: Array) -> Int64Array:
        return self._scores[zlib.crc32(images.tobytes())]


def _timed(
    stream: Callable[[], Sequence[Array]],
    bundle: Bundle,
    fabric: Fabric,
    driver: str,
    batch: int,
    slots: int,
    interval: float,
) -> Row:
    """Measures what gives the scores of the golden images, over and over; what they are is looked at afterwards."""
    start, cpu = time.perf_counter(), time.process_time() - fabric.busy_s
    scores = stream()
    seconds, busy = time.perf_counter() - start, time.process_time() - fabric.busy_s - cpu
    frames, golden, ceiling = len(scores), bundle.golden.scores, 1 / interval if interval else 0.0
    wrong = sum(not np.array_equal(row, golden[n % len(golden)]) for n, row in enumerate(scores))
    return Row(driver, batch, slots, frames, frames / seconds, ceiling, 1000 * busy / frames, wrong)


def _accelerator_row(
    accelerator: Accelerator,
    fabric: Fabric,
    driver: str,
    batch: int,
    slots: int,
    frames: int,
    interval: float,
) -> Row:
    images = itertools.islice(itertools.cycle(accelerator.bundle.golden.images), frames)
    return _timed(
        lambda: list(accelerator.stream(images)), accelerator.bundle, fabric, driver, batch, slots, interval
    )


def board(
    bundle: Bundle, interval: float, latency: float, score: Callable[[Array], Int64Array]
) -> tuple[VirtualDevice, Design]:
    """A virtual board of this interval and latency in seconds, and the design that says so."""
    design = replace(
        Design.of(bundle.graph), interval_cycles=int(interval * 2e8), latency_cycles=int(latency * 2e8)
    )
    return VirtualDevice(design, bundle.graph, interval, latency, score=score), design


def _ours(bundle: Bundle, frames: int, interval: float, latency: float, batch: int, slots: int) -> Row:
    device, design = board(bundle, interval, latency, Recorded.golden(bundle))
    with Accelerator(bundle, device, slots, batch, design=design) as accelerator:
        return _accelerator_row(accelerator, device.fabric, _OURS, batch, slots, frames, interval)


def python_path() -> dict[str, str]:
    """The environment of a Python that finds these sources."""
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": paths}


def _elsewhere(python: Path, bundle: Path, frames: int, interval: float, latency: float) -> list[Row]:
    command = [
        str(python),
        "-m",
        "fireflow.host.cli.bench_driver",
        str(bundle),
        str(frames),
        str(interval),
        str(latency),
    ]
    done = subprocess.run(command, env=python_path(), capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise InputError(f"{python}: must run pynq 4 and finn-plus-driver ({reason}); install both there")
    return [Row(**row) for row in json.loads(done.stdout.splitlines()[-1])]


# --- under pynq -----------------------------------------------------------------------------------------------


def _under_pynq(bundle: Bundle, frames: int, interval: float, latency: float, folder: Path) -> list[Row]:
    from fireflow.host.devices.machine import Machine, virtual_bitstream
    from fireflow.host.devices.pynq import PynqDevice
    from fireflow.host.devices.pynq_virtual import make_board
    from fireflow.hw.parts.boards import family_of

    family = family_of(BOARD)
    bitstream = folder / "bench.bit"
    plain = replace(
        Design.of(bundle.graph),
        interval_cycles=int(interval * 2e8),
        latency_cycles=int(latency * 2e8),
        board=BOARD,
    )
    bitstream.write_bytes(virtual_bitstream(plain, "xck26"))
    design = replace(plain, bitstream=bitstream)
    memory = Memory(0x8_0000_0000, 1 << 28)
    fabric = Fabric(design, Recorded.golden(bundle), memory, interval, latency)
    under = make_board(Machine(fabric, family, BOARD))
    device = PynqDevice(design, under)
    rows = []
    for batch, slots in ((1, 4), (4, 3)):
        with Accelerator(bundle, device, slots, batch, design=design) as accelerator:
            rows.append(_accelerator_row(accelerator, fabric, _OURS_PYNQ, batch, slots, frames, interval))
    for batch in (1, 4):
        rows.append(_finn(device.overlay_file, fabric, under, bundle, frames, batch, interval))
    fabric.close()
    return rows


def _finn(
    file: Path, fabric: Fabric, board: Any, bundle: Bundle, frames: int, batch: int, interval: float
) -> Row:
    """FINN+'s driver as its documentation uses it: `execute` for a batch, then the next."""
    driver = finn_overlay(file, fabric.design, board, batch)
    images = bundle.golden.images

    def stream() -> list[Array]:
        scores: list[Array] = []
        for first in range(0, frames, batch):
            scores.extend(driver.execute(images[np.arange(first, first + batch) % len(images)]))
        return scores

    return _timed(stream, bundle, fabric, _FINN, batch, 1, interval)


def finn_overlay(file: Path, design: Design, board: Any, batch: int) -> Any:
    """FINN+'s driver on an overlay."""
    from finn_plus_driver.overlays import FINNDMAOverlay

    given, taken = design.input, design.output
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


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        path, *numbers = sys.argv[1:]
        measured = _under_pynq(
            Bundle.load(path), int(numbers[0]), float(numbers[1]), float(numbers[2]), Path(scratch)
        )
        print(json.dumps([asdict(row) for row in measured]))
