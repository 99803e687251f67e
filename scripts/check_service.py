"""The HTTP service for long: every fault of the board under many requests, then hostile clients beside honest ones.

    python -m scripts.check_service [BUNDLE] [--requests 800] [--clients 20] [--minutes 10] [--honest 50]

Every answer with status 200 is compared with the simulator's scores of that request's own picture. Exits with 1 if one
differs, a request has no answer within its deadline, /health is not true, the queue is not free afterwards, an honest
client is not answered beside the hostile ones, or the service takes more than 400 MiB.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import itertools
import json
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image

from fireflow import Accelerator, Bundle, Simulator, lower
from fireflow.host.bench.processes import python_path
from fireflow.host.devices.faults import OUTCOMES, Fault
from fireflow.host.devices.virtual import VirtualDevice
from fireflow.host.interface import Interface
from fireflow.host.service import Service, make_app
from fireflow.host.service.background import served
from fireflow.hw.table import table
from scripts.hostile_clients import ask, request

if TYPE_CHECKING:
    from fireflow.hw.types import Array, Int64Array

ROOT = Path(__file__).resolve().parent.parent
MODEL = "squeezenet1_1-w4a4-imagenette"
DEVICE_DEADLINE_S, DEADLINE_S, SLACK_S = 0.5, 12.0, 3.0
"""Seconds for a transfer, for a request, and what a busy machine may add before a client calls it unanswered."""
HEALTHY_WITHIN_S = 30.0
MOST_MIB = 400
AT_LOADING = {kind for kind, outcome in OUTCOMES.items() if outcome.phases == ("open",)}
FAULTS = sorted(set(OUTCOMES) - AT_LOADING)
"""What can happen while the service runs; the others keep it from starting."""


# --- pictures and requests --------------------------------------------------------------------------------------


class Pictures:
    """Pictures that all differ, every other one as a file that must be decoded, and their scores.

    Args:
        bundle: with preprocessing.
        count: how many.
    """

    def __init__(self, bundle: Bundle, count: int = 64) -> None:
        preprocessing = bundle.manifest.preprocessing
        assert preprocessing is not None
        shape, source = bundle.graph.input_type.shape, np.random.default_rng(7)
        self.images: Array = source.integers(0, 256, (count, *shape), dtype=np.uint8)
        self.requests = [request(image.tobytes()) for image in self.images]
        for number in range(0, count, 2):
            picture = PIL.Image.fromarray(source.integers(0, 256, (300, 400, 3), dtype=np.uint8))
            self.images[number] = preprocessing.prepare(picture)
            file = io.BytesIO()
            picture.save(file, format="PNG")
            self.requests[number] = request(file.getvalue(), "image/png")
        self._run = Simulator(bundle.graph, batch=16).run
        self.scores: Int64Array = self._run(self.images)
        if len(np.unique(self.scores, axis=0)) != count:
            raise AssertionError("every picture must have scores of its own")
        self._known = {zlib.crc32(image.tobytes()): n for n, image in enumerate(self.images)}

    def device_scores(self, images: Array) -> Int64Array:
        """The board's arithmetic: looked up where it is known, so that the service is what takes time."""
        number = self._known.get(zlib.crc32(images.tobytes()))
        return self._run(images) if number is None else self.scores[number : number + 1]


async def health(port: int) -> bool:
    """Whether the service says that it is healthy."""
    status, body = await ask(port, b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    healthy = json.loads(body)["healthy"]
    if healthy != (status == 200):
        raise AssertionError(f"/health: {status} with {body!r}")
    return bool(healthy)


@dataclass
class Seen:
    """What clients saw."""

    statuses: Counter[str] = field(default_factory=Counter)
    wrong: int = 0
    slowest_s: float = 0.0

    async def send(self, port: int, pictures: Pictures, which: int, patience_s: float) -> None:
        """One request, of this picture."""
        start = time.monotonic()
        try:
            status, body = await asyncio.wait_for(ask(port, pictures.requests[which]), patience_s)
        except (OSError, EOFError, ValueError, TimeoutError):
            status, body = 0, b""
        self.slowest_s = max(self.slowest_s, time.monotonic() - start)
        self.statuses[str(status) if status else "no answer"] += 1
        if status == 200:
            self.wrong += json.loads(body)["scores"] != pictures.scores[which].tolist()


# --- faults -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FaultRow:
    """One fault under many requests: what came back, and whether the service said and was what it should."""

    kind: str
    seen: Seen
    unhealthy_said: bool
    lies: int
    healthy_after_s: float | None
    under_way: int
    resets: int

    def problems(self, requests: int) -> list[str]:
        """What is not as it must be."""
        answers, found = self.seen.statuses, []
        if self.seen.wrong:
            found.append(f"{self.seen.wrong} answers of 200 have another picture's scores")
        if set(answers) - {"200", "503", "504"} or sum(answers.values()) != requests:
            found.append(f"every request must be answered or refused in time, not {dict(answers)}")
        if not answers["200"]:
            found.append("no request was answered")
        if not self.resets:
            found.append("the device must have been reset")
        if self.lies:
            found.append(f"/health must tell the truth, and did not {self.lies} times")
        if self.healthy_after_s is None:
            found.append("/health must be healthy again")
        if self.under_way:
            found.append(f"the queue must be free, not hold {self.under_way}")
        return [f"{self.kind}: {text}" for text in found]


def with_fault(bundle: Bundle, pictures: Pictures, kind: str, requests: int, clients: int) -> FaultRow:
    """Sends requests to a service whose board gets a fault in the middle of them."""
    fault = Fault(kind, requests // 2)
    device = VirtualDevice(
        Interface.of(bundle.graph), bundle.graph, 0, 0, faults=[fault], score=pictures.device_scores
    )
    with contextlib.ExitStack() as stack:
        accelerator = stack.enter_context(Accelerator(bundle, device, deadline_s=DEVICE_DEADLINE_S, audit=32))
        service = stack.enter_context(
            contextlib.closing(Service(accelerator, 2 * clients, deadline_s=DEADLINE_S))
        )
        port = stack.enter_context(served(make_app(service)))
        return asyncio.run(_fault_row(kind, port, service, pictures, requests, clients))


async def _fault_row(
    kind: str, port: int, service: Service, pictures: Pictures, requests: int, clients: int
) -> FaultRow:
    seen, said, lies, numbers = Seen(), [], 0, iter(range(requests))

    async def client() -> None:
        for number in numbers:
            which = number % len(pictures.images)
            await seen.send(port, pictures, which, DEADLINE_S + SLACK_S)

    async def watch() -> None:
        nonlocal lies
        while True:
            before = service.accelerator.fault, service.resets
            said.append(await health(port))
            same = before == (service.accelerator.fault, service.resets)
            lies += same and said[-1] and before[0] is not None
            await asyncio.sleep(0.05)

    watcher = asyncio.ensure_future(watch())
    await asyncio.gather(*(client() for _ in range(clients)))
    watcher.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watcher
    start, healthy_after = time.monotonic(), None
    while healthy_after is None and time.monotonic() - start < HEALTHY_WITHIN_S:
        if await health(port):
            healthy_after = time.monotonic() - start
        else:
            await asyncio.sleep(0.1)
    return FaultRow(kind, seen, False in said, lies, healthy_after, service.under_way, service.resets)


def faults(bundle: Bundle, pictures: Pictures, requests: int, clients: int) -> list[str]:
    """Every fault in turn."""
    rows, problems = [], []
    for kind in FAULTS:
        start = time.monotonic()
        row = with_fault(bundle, pictures, kind, requests, clients)
        problems += row.problems(requests)
        answers = ", ".join(f"{n} x {status}" for status, n in sorted(row.seen.statuses.items()))
        after = "never" if row.healthy_after_s is None else f"{row.healthy_after_s:.1f}"
        told = "yes" if row.unhealthy_said else "too short"
        rows.append(
            (
                *(kind, answers, row.seen.wrong, f"{row.seen.slowest_s:.1f}", told, after),
                *(row.resets, row.under_way, f"{time.monotonic() - start:.0f}"),
            )
        )
        print(f"{kind}: {answers}, {row.seen.wrong} wrong", flush=True)
    head = (
        "fault",
        "answers",
        "wrong",
        "slowest s",
        "health told",
        "healthy after s",
        "resets",
        "left",
        "took s",
    )
    print(table(head, rows), flush=True)
    return problems


@dataclass(frozen=True)
class HostileRow:
    """What honest clients saw beside hostile ones, and the service's memory at its peak."""

    seen: Seen
    peak_mib: float
    free_after: bool

    def problems(self) -> list[str]:
        """What is not as it must be."""
        found = []
        if set(self.seen.statuses) != {"200"} or self.seen.wrong:
            found.append(f"every honest request must be answered right, not {self}")
        if self.peak_mib > MOST_MIB:
            found.append(f"the service must take at most {MOST_MIB} MiB, not {self.peak_mib:.0f}")
        if not self.free_after:
            found.append("the service must be healthy and its queue free afterwards")
        return found


def hostile(
    bundle: Path,
    pictures: Pictures,
    seconds: float,
    honest: int,
    share: float = 1.0,
    options: Sequence[str] = (),
) -> HostileRow:
    """A service of its own process between hostile and honest clients."""
    module = [sys.executable, "-m"]
    command = [*module, "fireflow", "serve", str(bundle), "--port", "0", *options]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline().rpartition(":")[2].rstrip("/\n"))
            attackers = subprocess.Popen(
                [*module, "scripts.hostile_clients", str(port), str(pictures.images[0].size), str(share)],
                cwd=ROOT,
                env=python_path(),
            )
            try:
                seen = asyncio.run(_honest(port, pictures, seconds, honest))
            finally:
                attackers.kill()
                attackers.wait()
            free = asyncio.run(_is_free(port))
            text = Path(f"/proc/{process.pid}/status").read_text()
            return HostileRow(seen, int(text.split("VmHWM:")[1].split()[0]) / 1024, free)
        finally:
            process.terminate()


async def _honest(port: int, pictures: Pictures, seconds: float, honest: int) -> Seen:
    seen, end = Seen(), time.monotonic() + seconds

    async def client(first: int) -> None:
        for number in itertools.count(first):
            which = number % len(pictures.images)
            await seen.send(port, pictures, which, 60)
            if time.monotonic() > end:
                return
            await asyncio.sleep(0.5)

    await asyncio.gather(*(client(first) for first in range(honest)))
    return seen


async def _is_free(port: int) -> bool:
    """Whether the queue becomes free and the service healthy."""
    for _ in range(300):
        metrics = (await ask(port, b"GET /metrics HTTP/1.0\r\n\r\n"))[1].decode()
        if "\nfireflow_under_way 0\n" in metrics and await health(port):
            return True
        await asyncio.sleep(0.1)
    return False


def main(words: Any = None) -> int:
    """Returns 0 if everything is as it must be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", nargs="?", type=Path, help=f"by default, the shipped {MODEL}, lowered")
    parser.add_argument("--requests", type=int, default=800, help="around each fault; 0 for no faults")
    parser.add_argument("--clients", type=int, default=20, help="that send them")
    parser.add_argument("--minutes", type=float, default=10.0, help="of hostile clients; 0 for none")
    parser.add_argument("--honest", type=int, default=50, help="clients beside them")
    args = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as scratch:
        path = args.bundle or Path(scratch) / "shipped.fire"
        if args.bundle is None:
            lower(MODEL).save(path)
        bundle = Bundle.load(path)
        pictures, problems = Pictures(bundle), []
        if args.requests:
            problems += faults(bundle, pictures, args.requests, args.clients)
        if args.minutes:
            row = hostile(path, pictures, 60 * args.minutes, args.honest)
            print(
                f"{args.minutes:g} minutes of hostile clients: {args.honest} honest ones saw "
                f"{dict(row.seen.statuses)}, {row.seen.wrong} wrong, the slowest after {row.seen.slowest_s:.1f} s; "
                f"the service took at most {row.peak_mib:.0f} MiB",
                flush=True,
            )
            problems += row.problems()
    for problem in problems:
        print(f"WRONG: {problem}", flush=True)
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
