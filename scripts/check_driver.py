"""The driver on the virtual board for long: real images, every fault among them, 100,000 frames in flat memory.

    python scripts/check_driver.py [BUNDLE] [--images PHOTOS] [--count 1000] [--fault-count 100] [--requests 800]
        [--frames 100000]

Every score is compared with the fast simulator's. Exits with 1 if one differs or comes out of order, a fault is
reported otherwise than it should be or too late, a buffer is left, or memory grows.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fireflow import Accelerator, Bundle, DeviceError, Simulator, lower, open_pictures
from fireflow.host.bench.boards import Recorded
from fireflow.host.bench.processes import resident_mib
from fireflow.host.devices.faults import OUTCOMES, Fault
from fireflow.host.devices.virtual import VirtualDevice
from fireflow.host.interface import Interface
from fireflow.hw.table import table
from fireflow.quant.data import find_data_folder

if TYPE_CHECKING:
    from fireflow.hw.types import Array

MODEL, IMAGES = "squeezenet1_1-w4a4-imagenette", "imagenette224_val.zip"
DEADLINE_S, SLACK_S, AUDIT = 0.5, 0.25, 32
REPORTS = 10
"""How often the memory is looked at."""
MAX_GROWTH_MIB = 8


def main() -> int:
    """Returns 0 if everything is as it must be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", nargs="?", type=Path, help=f"by default, the shipped {MODEL}, lowered")
    parser.add_argument(
        "--images", help=f"as `fireflow run` takes them; by default {IMAGES} of the data folder"
    )
    parser.add_argument("--count", type=int, default=1000, help="images of the stream")
    parser.add_argument("--fault-count", type=int, default=100, help="images with each fault among them")
    parser.add_argument("--requests", type=int, default=800, help="of clients under each fault")
    parser.add_argument("--frames", type=int, default=100_000, help="of the look at memory")
    args = parser.parse_args()
    folder = find_data_folder()
    if args.images is None and folder is None:
        parser.error("--images must be given, since there is no data folder (FIREFLOW_DATA)")
    images = args.images or str(Path(str(folder), IMAGES))
    bundle = lower(MODEL) if args.bundle is None else Bundle.load(args.bundle)
    problems = stream(bundle, images, args.count)
    problems += faults(bundle, images, args.fault_count)
    problems += requests(bundle, args.requests)
    problems += memory(bundle, args.frames)
    for problem in problems:
        print(f"WRONG: {problem}", flush=True)
    return int(bool(problems))


def pictures(bundle: Bundle, images: str, count: int) -> Iterable[Array]:
    """The first `count` pictures, prepared as the bundle says."""
    return (picture.pixels for picture in itertools.islice(open_pictures(images, bundle), count))


def stream(bundle: Bundle, images: str, count: int) -> list[str]:
    """Real images through the virtual board at the speed of the arithmetic."""
    device = VirtualDevice(Interface.of(bundle.graph), bundle.graph, 0, 0)
    start = time.monotonic()
    with Accelerator(bundle, device, deadline_s=60) as accelerator:
        found = np.stack(list(accelerator.stream(pictures(bundle, images, count))))
    seconds, fpga = time.monotonic() - start, device.fpga
    simulator = Simulator(bundle.graph, batch=32)
    wanted = np.concatenate(list(simulator.run_batches(pictures(bundle, images, count))))
    differing = int((found != wanted).sum()) if found.shape == wanted.shape else -1
    distinct = len(np.unique(wanted, axis=0))
    print(
        f"{len(found)} images ({distinct} with scores of their own) in {seconds:.0f} s: {differing} of {found.size} "
        f"scores differ from the simulator's; {fpga.memory.allocated} buffers left",
        flush=True,
    )
    if differing == 0 and len(found) == count and not fpga.memory.allocated and not fpga.violations:
        return []
    return [f"stream: {count} images must come out right, and no rule be broken: {fpga.violations}"]


def faults(bundle: Bundle, images: str, count: int) -> list[str]:
    """Each fault in the middle of a stream: reported in time, and after a reset the same images are right."""
    given = np.stack(list(pictures(bundle, images, count)))
    wanted = Simulator(bundle.graph, batch=32).run(given)
    rows, problems = [], []
    for kind, outcome in OUTCOMES.items():
        at_loading = outcome.phases == ("open",)
        fault = Fault(kind, 0 if at_loading else count // 2)
        device = VirtualDevice(Interface.of(bundle.graph), bundle.graph, 0, 0, faults=[fault])
        start, before, late, error, right = time.monotonic(), 0, 0.0, None, False
        try:
            with Accelerator(bundle, device, deadline_s=DEADLINE_S, audit=AUDIT) as accelerator:
                last, limit = time.monotonic(), accelerator.patience_s
                try:
                    for scores in accelerator.stream(given):
                        last = time.monotonic()
                        before += bool(np.array_equal(scores, wanted[before]))
                except DeviceError as caught:
                    error, late = caught, time.monotonic() - last
                    accelerator.reset()
                right = bool(np.array_equal(accelerator.infer(given), wanted))
        except DeviceError as caught:
            error, late, limit = caught, time.monotonic() - start, DEADLINE_S
            device = VirtualDevice(Interface.of(bundle.graph), bundle.graph, 0, 0)
            with Accelerator(bundle, device, deadline_s=DEADLINE_S) as accelerator:
                right = bool(np.array_equal(accelerator.infer(given), wanted))
        said = "nothing" if error is None else f"{type(error).__name__} in {error.phase}"
        good = isinstance(error, outcome.error) and error.phase in outcome.phases
        rows.append((kind, said, before, f"{late:.2f}", f"{limit:.2f}", "yes" if right else "NO"))
        if not good or not right or late > limit + SLACK_S or device.fpga.memory.allocated:
            problems.append(f"{kind}: {said} after {late:.2f} s, then right: {right}; expected {outcome}")
    head = ("fault", "reported as", "images before", "after s", "limit s", f"{count} right after reset")
    print(table(head, rows), flush=True)
    return problems


SHELLS: dict[str, dict[str, Any]] = {
    "tags": {},
    "before tags": {"tags": False},
    "FINN's": {"accelerator": None},
}


def requests(bundle: Bundle, count: int) -> list[str]:
    """Requests of eight clients while each fault happens, under each shell: all get an answer, none a wrong one."""
    images, rows, problems = bundle.golden.images, [], []
    recorded = Recorded.golden(bundle)
    for name, options in SHELLS.items():
        for kind, outcome in OUTCOMES.items():
            if outcome.phases == ("open",):
                continue
            fault = Fault(kind, count // 4)
            device = VirtualDevice(
                Interface.of(bundle.graph), bundle.graph, 0, 0, faults=[fault], score=recorded, **options
            )
            with Accelerator(bundle, device, deadline_s=DEADLINE_S) as accelerator:
                answers, slowest = ask(accelerator, images, count)
                limit = 2 * accelerator.patience_s + SLACK_S
            rows.append(
                (
                    name,
                    kind,
                    *(answers[key] for key in ("right", "wrong", "refused", "none")),
                    f"{slowest:.2f}",
                )
            )
            if answers["wrong"] or answers["none"] or sum(answers.values()) != count or slowest > limit:
                problems.append(f"{kind}, {name}: {dict(answers)}, the slowest after {slowest:.2f} s")
    head = ("shell", "fault", "right", "wrong", "refused", "no answer", "slowest s")
    print(table(head, rows), flush=True)
    return problems


def ask(accelerator: Accelerator, images: Array, count: int) -> tuple[Counter[str], float]:
    """What became of the requests of eight clients who reset after a fault, and how long the slowest took."""
    answers: Counter[str] = Counter()
    golden, slowest, lock = accelerator.bundle.golden.scores, [0.0], threading.Lock()

    def client(first: int) -> None:
        for number in range(first, count, 8):
            which, begin = (number * 7 + first) % len(images), time.monotonic()
            try:
                scores = (
                    accelerator.submit(images[which : which + 1]).result(4 * accelerator.patience_s).scores
                )
                outcome = "right" if np.array_equal(scores[0], golden[which]) else "wrong"
            except DeviceError:
                outcome = "refused"
            except FutureTimeout:
                outcome = "none"
            took = time.monotonic() - begin
            with lock:
                answers[outcome] += 1
                slowest[0] = max(slowest[0], took)
            with lock, contextlib.suppress(DeviceError):
                if outcome == "refused" and accelerator.fault is not None:
                    accelerator.reset()

    threads = [threading.Thread(target=client, args=(first,)) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers, slowest[0]


def memory(bundle: Bundle, frames: int) -> list[str]:
    """The memory of the process over many frames of a zero-time accelerator."""
    device = VirtualDevice(Interface.of(bundle.graph), bundle.graph, 0, 0, score=Recorded.golden(bundle))
    images, part, sizes = itertools.cycle(bundle.golden.images), max(1, frames // REPORTS), []
    with Accelerator(bundle, device, deadline_s=60) as accelerator:
        start = time.monotonic()
        for number, _scores in enumerate(accelerator.stream(itertools.islice(images, frames)), 1):
            if number % part == 0:
                sizes.append(resident_mib())
                rate = number / (time.monotonic() - start)
                print(f"{number} frames, {rate:.0f} a second: {sizes[-1]:.1f} MiB", flush=True)
    growth = max(sizes) - sizes[0]
    print(f"memory after {part} frames {sizes[0]:.1f} MiB, at most {growth:.1f} MiB more later", flush=True)
    return [f"memory: must not grow by {growth:.1f} MiB"] if growth > MAX_GROWTH_MIB else []


if __name__ == "__main__":
    sys.exit(main())
