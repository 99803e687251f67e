"""Many clients at the HTTP service, beside the bare driver."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterator, Sequence

import numpy as np

from fireflow.host.bench.boards import Recorded, check_times, virtual_board
from fireflow.host.bench.processes import ROOT, python_path, resident_mib
from fireflow.host.driver import Accelerator
from fireflow.host.service import Service, make_app
from fireflow.host.service.background import served
from fireflow.host.unsaid import needed
from fireflow.hw.errors import InputError

if TYPE_CHECKING:
    from fireflow.hw.bundle import Bundle
    from fireflow.hw.types import Array, Int64Array

MAX_GROWTH_MIB = 32.0
"""What the service may hold more at the end than when all clients had their first answers."""
_RAW, _WARM_UP, _EDGE = "application/octet-stream", 0.25, "fireflow-edge"


@dataclass(frozen=True)
class ServiceRow:
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


def measure_service(
    bundle: Bundle,
    *,
    clients: int = 200,
    seconds: float = 60.0,
    queue: int = 256,
    interval_s: float = 0.01,
    latency_s: float = 0.03,
) -> list[ServiceRow]:
    """Measures the service over an accelerator of these times, and over one that takes no time.

    Args:
        bundle: with preprocessing; its golden images are what clients send.
        clients: at once.
        seconds: of each row.
        queue: requests held at once.
        interval_s, latency_s: of the accelerator, in seconds.

    Raises:
        InputError: the bundle does not say how pictures are prepared, or a number outside its range.
    """
    needed(bundle)
    if not seconds > 0:
        raise InputError(f"seconds: must be above 0, not {seconds:g}; give 60")
    requests = Requests(bundle)
    check_times(interval_s, latency_s)
    return [
        _measure(bundle, requests, clients, seconds, queue, *times)
        for times in ((interval_s, latency_s), (0.0, 0.0))
    ]


def all_right(rows: Sequence[ServiceRow]) -> bool:
    """Whether no answer is wrong or missing, and memory does not grow."""
    return not any(row.wrong or row.lost or row.growth_mib > MAX_GROWTH_MIB for row in rows)


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
        """Writes requests and scores where the clients' process reads them."""
        bodies = [{"type": kind, "body": body.hex()} for kind, body in self.bodies]
        path.write_text(json.dumps({"bodies": bodies, "scores": self.scores.tolist()}))


def _form(data: bytes) -> tuple[str, bytes]:
    head = f'--{_EDGE}\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n'
    body = head.encode() + b"Content-Type: image/jpeg\r\n\r\n" + data + f"\r\n--{_EDGE}--\r\n".encode()
    return f"multipart/form-data; boundary={_EDGE}", body


def _measure(
    bundle: Bundle,
    requests: Requests,
    clients: int,
    seconds: float,
    queue: int,
    interval_s: float,
    latency_s: float,
) -> ServiceRow:
    device, interface = virtual_board(
        bundle, interval_s, latency_s, Recorded(requests.images, requests.scores)
    )
    with Accelerator(bundle, device, interface=interface, deadline_s=30) as accelerator:
        frames = max(50, int(min(5.0, seconds) / interval_s)) if interval_s else 1000
        images = itertools.islice(itertools.cycle(requests.images), frames)
        start = time.monotonic()
        done = sum(1 for _scores in accelerator.stream(images))
        driver = done / (time.monotonic() - start)
        with contextlib.ExitStack() as stack:
            service = stack.enter_context(contextlib.closing(Service(accelerator, queue)))
            port = stack.enter_context(served(make_app(service)))
            sizes = stack.enter_context(_memory(seconds))
            seen = _clients(port, clients, seconds, requests)
    counted = {str(status): count for status, count in sorted(service.answers.items())}
    lost = seen["lost"] + sum(abs(counted.get(s, 0) - n) for s, n in seen["answers"].items())
    warm = sizes[int(_WARM_UP * len(sizes))]
    return ServiceRow(
        1e3 * interval_s, driver, clients, seen["seconds"], seen["answers"],
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


def _clients(port: int, count: int, seconds: float, requests: Requests) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "requests.json"
        requests.save(file)
        command = [
            sys.executable,
            "-m",
            "fireflow.host.bench.clients",
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
