"""`fireflow bench serve`: many clients at the HTTP service, beside the bare driver.

This file is also the clients' program, in a process of its own so that they do not slow the service down:
`python -m fireflow.host.cli.bench_serve PORT CLIENTS SECONDS FILE` prints what they saw as JSON.
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
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterator, Sequence

import numpy as np

from fireflow.host.cli import arguments
from fireflow.host.cli.arguments import BUNDLE_HELP
from fireflow.host.cli.bench_driver import ROOT, Recorded, board, python_path, times
from fireflow.host.cli.output import print_json, table
from fireflow.host.driver import Accelerator
from fireflow.host.unsaid import needed
from fireflow.hw.bundle import Bundle
from fireflow.hw.errors import InputError

if TYPE_CHECKING:
    from fireflow.hw.types import Array, Int64Array

MAX_GROWTH_MIB = 32.0
"""What the service may hold more at the end than when all clients had their first answers."""
_RAW, _WARM_UP, _EDGE = "application/octet-stream", 0.25, "fireflow-edge"


@dataclass(frozen=True)
class Row:
    """One run of the service, beside the driver alone on the same board.

    `answers` counts HTTP statuses; `lost` requests got no answer or one that the service did not count; `mib` is the
    memory of the service once it is warm, `growth_mib` what came to it until the end.
    """

    interval_ms: float
    driver_fps: float
    clients: int
    seconds: float
    answers: dict[str, int]
    fps: float
    wrong: int
    lost: int
    p50_ms: float
    p99_ms: float
    mib: float
    growth_mib: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument("bundle", metavar="BUNDLE", type=Path, help=BUNDLE_HELP)
    parser.add_argument("--clients", type=arguments.positive, default=200, metavar="N", help="at once")
    parser.add_argument("--seconds", type=float, default=60.0, metavar="S", help="of each row")
    parser.add_argument(
        "--queue", type=arguments.positive, default=256, metavar="N", help="requests held at once; 503 beyond"
    )
    parser.add_argument("--interval-ms", type=float, default=10.0, metavar="MS", help="of the accelerator")
    parser.add_argument("--latency-ms", type=float, default=30.0, metavar="MS", help="of the accelerator")
    arguments.json_output(parser)


def run(args: argparse.Namespace) -> int:
    """Measures; fails if an answer is wrong or missing, or memory grows."""
    bundle = Bundle.load(args.bundle)
    needed(bundle, args.bundle)
    if not args.seconds > 0:
        raise InputError(f"seconds: must be above 0, not {args.seconds:g}; give 60")
    requests = Requests(bundle)
    rows = [
        _measure(bundle, requests, args, *times(args)),
        _measure(bundle, requests, args, 0.0, 0.0),
    ]
    if args.json:
        print_json([asdict(row) for row in rows])
    else:
        print(_table(rows))
    return int(any(row.wrong or row.lost or row.growth_mib > MAX_GROWTH_MIB for row in rows))


def _table(rows: Sequence[Row]) -> str:
    head = (
        "interval ms", "driver fps", "clients", "service fps", "% of driver", "answers", "wrong", "lost",
        "p50 ms", "p99 ms", "MiB", "growth",
    )  # fmt: skip
    return table(
        head,
        [
            (
                f"{row.interval_ms:g}",
                f"{row.driver_fps:.1f}",
                row.clients,
                f"{row.fps:.1f}",
                f"{100 * row.fps / row.driver_fps:.0f}",
                ", ".join(f"{count} x {status}" for status, count in row.answers.items()),
                row.wrong,
                row.lost,
                f"{row.p50_ms:.0f}",
                f"{row.p99_ms:.0f}",
                f"{row.mib:.0f}",
                f"{row.growth_mib:.1f}",
            )
            for row in rows
        ],
    )


class Requests:
    """What the clients send, and what they must get: golden images raw, and as JPEG in a form.

    Args:
        bundle: with preprocessing.
    """

    def __init__(self, bundle: Bundle) -> None:
        import PIL.Image

        preprocessing = bundle.manifest.preprocessing
        assert preprocessing is not None
        images, self.bodies = [], []
        for image in bundle.golden.images:
            file = io.BytesIO()
            PIL.Image.fromarray(image).save(file, format="JPEG", quality=90)
            with PIL.Image.open(io.BytesIO(file.getvalue())) as picture:
                images += [image, preprocessing.prepare(picture)]
            self.bodies += [(_RAW, image.tobytes()), _form(file.getvalue())]
        self.images: Array = np.stack(images)
        self.scores: Int64Array = bundle.graph.run(self.images)

    def save(self, path: Path) -> None:
        """For the clients' process."""
        bodies = [{"type": kind, "body": body.hex()} for kind, body in self.bodies]
        path.write_text(json.dumps({"bodies": bodies, "scores": self.scores.tolist()}))


def _form(data: bytes) -> tuple[str, bytes]:
    head = f'--{_EDGE}\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n'
    body = head.encode() + b"Content-Type: image/jpeg\r\n\r\n" + data + f"\r\n--{_EDGE}--\r\n".encode()
    return f"multipart/form-data; boundary={_EDGE}", body


def _measure(
    bundle: Bundle, requests: Requests, args: argparse.Namespace, interval: float, latency: float
) -> Row:
    from fireflow.host.cli.background import served
    from fireflow.host.service import Service, make_app

    device, design = board(bundle, interval, latency, Recorded(requests.images, requests.scores))
    with Accelerator(bundle, device, design=design, deadline_s=30) as accelerator:
        frames = max(50, int(min(5.0, args.seconds) / interval)) if interval else 1000
        images = itertools.islice(itertools.cycle(requests.images), frames)
        start = time.monotonic()
        done = sum(1 for _scores in accelerator.stream(images))
        driver = done / (time.monotonic() - start)
        with contextlib.ExitStack() as stack:
            service = stack.enter_context(contextlib.closing(Service(accelerator, args.queue)))
            port = stack.enter_context(served(make_app(service)))
            sizes = stack.enter_context(_memory(args.seconds))
            seen = _clients(port, args.clients, args.seconds, requests)
    counted = {str(status): count for status, count in sorted(service.answers.items())}
    lost = seen["lost"] + sum(abs(counted.get(s, 0) - n) for s, n in seen["answers"].items())
    warm = sizes[int(_WARM_UP * len(sizes))]
    return Row(
        1e3 * interval, driver, args.clients, seen["seconds"], seen["answers"],
        seen["answers"].get("200", 0) / seen["seconds"], seen["wrong"], lost + service.under_way,
        seen["p50_ms"], seen["p99_ms"], warm, max(sizes[-3:]) - warm,
    )  # fmt: skip


@contextlib.contextmanager
def _memory(seconds: float) -> Iterator[list[float]]:
    """Looks at this process's resident memory, in MiB, twenty times in a run."""
    sizes, ended = [resident_mib()], threading.Event()

    def watch() -> None:
        while not ended.wait(seconds / 20):
            sizes.append(resident_mib())

    thread = threading.Thread(target=watch, name="fireflow-memory", daemon=True)
    thread.start()
    try:
        yield sizes
    finally:
        ended.set()
        thread.join()
        sizes.append(resident_mib())


def resident_mib() -> float:
    """Memory that this process holds, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def _clients(port: int, count: int, seconds: float, requests: Requests) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "requests.json"
        requests.save(file)
        command = [
            sys.executable,
            "-m",
            "fireflow.host.cli.bench_serve",
            str(port),
            str(count),
            str(seconds),
            str(file),
        ]
        done = subprocess.run(
            command, env=python_path(), cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
        )
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


# --- the clients' process -------------------------------------------------------------------------------------


class _Clients:
    """Clients that each send the next picture as soon as they have an answer."""

    def __init__(self, port: int, file: Path) -> None:
        document = json.loads(file.read_text())
        self._port, self._scores = port, document["scores"]
        self._requests = []
        for item in document["bodies"]:
            body = bytes.fromhex(item["body"])
            head = (
                f"POST /v1/classify?scores=1 HTTP/1.1\r\nHost: localhost\r\nContent-Type: {item['type']}\r\n"
            )
            self._requests.append(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        self.answers: Counter[str] = Counter()
        self.wrong = self.lost = 0
        self.times: list[float] = []

    async def run(self, count: int, seconds: float) -> float:
        """Seconds from the first request to the last answer."""
        start = time.monotonic()
        await asyncio.gather(*(self._client(number, start + seconds) for number in range(count)))
        return time.monotonic() - start

    async def _client(self, number: int, end: float) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            for turn in itertools.count(number):
                if time.monotonic() > end:
                    return
                which, sent = turn % len(self._requests), time.monotonic()
                writer.write(self._requests[which])
                await writer.drain()
                status, body = await _response(reader)
                self.times.append(time.monotonic() - sent)
                self.answers[status] += 1
                if status == "200":
                    self.wrong += json.loads(body)["scores"] != self._scores[which]
                else:
                    await asyncio.sleep(0.05)
        except (OSError, asyncio.IncompleteReadError):
            self.lost += 1
        finally:
            writer.close()


async def _response(reader: asyncio.StreamReader) -> tuple[str, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    fields = dict(line.lower().split(": ", 1) for line in head[1:] if line)
    return head[0].split(" ")[1], await reader.readexactly(int(fields["content-length"]))


def _main(words: Sequence[str]) -> None:
    clients = _Clients(int(words[0]), Path(words[3]))
    seconds = asyncio.run(clients.run(int(words[1]), float(words[2])))
    p50, p99 = np.percentile(clients.times or [0], [50, 99]) * 1e3
    document = {
        "answers": dict(sorted(clients.answers.items())),
        "wrong": clients.wrong,
        "lost": clients.lost,
    }
    print(json.dumps({**document, "seconds": seconds, "p50_ms": p50, "p99_ms": p99}))


if __name__ == "__main__":
    _main(sys.argv[1:])
