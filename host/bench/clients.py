"""Clients of the HTTP service, in a process of their own so that they do not slow the service down.

`python -m fireflow.host.bench.clients PORT CLIENTS SECONDS FILE` prints what they saw as JSON.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Sequence

import numpy as np


class Clients:
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


def main(words: Sequence[str]) -> None:
    clients = Clients(int(words[0]), Path(words[3]))
    seconds = asyncio.run(clients.run(int(words[1]), float(words[2])))
    p50, p99 = np.percentile(clients.times or [0], [50, 99]) * 1e3
    document = {
        "answers": dict(sorted(clients.answers.items())),
        "wrong": clients.wrong,
        "lost": clients.lost,
    }
    print(json.dumps({**document, "seconds": seconds, "p50_ms": p50, "p99_ms": p99}))


if __name__ == "__main__":
    main(sys.argv[1:])
