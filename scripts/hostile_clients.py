"""Clients that want the HTTP service for themselves, or dead; `scripts/check_service.py` lets them loose.

    python -m scripts.hostile_clients PORT BYTES SHARE

They attack the service on this port of this computer until they are killed, with raw pictures of so many bytes, and
with this share of the numbers below.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import random
import sys
from collections.abc import Awaitable, Callable

import PIL.Image

RAW, CLASSIFY = "application/octet-stream", "/v1/classify"


def request(body: bytes, kind: str = RAW, path: str = f"{CLASSIFY}?scores=1", close: bool = True) -> bytes:
    """A whole request."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    )
    return (head + ("Connection: close\r\n" if close else "") + "\r\n").encode() + body


async def ask(port: int, data: bytes) -> tuple[int, bytes]:
    """Sends a request; status and body of the answer. Raises OSError or EOFError without one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        return int(head.split(b" ", 2)[1]), await reader.read()
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def png(width: int, height: int, mode: str = "1") -> bytes:
    """A picture of one colour, in few bytes."""
    file = io.BytesIO()
    PIL.Image.new(mode, (width, height)).save(file, format="PNG")
    return file.getvalue()


class Hostile:
    """Clients that want the service for themselves, or dead. Each of the coroutines is one attack of one client.

    Args:
        port: of the service.
        image: a raw picture of the right size.
        most_bytes: that the service takes of an upload.
    """

    def __init__(self, port: int, image: bytes, most_bytes: int = 1 << 24) -> None:
        self._port, self._image, self._random = port, image, random.Random(5)
        # Refused: too many pixels, a strip. Large, and allowed: one bit and 24 bits a pixel.
        sizes = ((13370, 13370, "1"), (1, 20000, "1"), (8000, 8000, "1"), (6000, 5000, "RGB"))
        self._bombs = [request(png(*size), "image/png") for size in sizes]
        self._most = most_bytes
        self.attacks: tuple[tuple[int, Callable[[], Awaitable[None]]], ...] = (
            (300, self.half_head),
            (256, self.one_byte),
            (50, self.drip),
            (10, self.never_reads),
            (10, self.leaves),
            (2, self.bomb),
            (2, self.large_body),
            (2, self.garbage),
        )

    async def half_head(self) -> None:
        """A request line that never ends."""
        await self._hold(b"POST /v1/cla")

    async def one_byte(self) -> None:
        """A head, and one byte of a body."""
        await self._hold(request(self._image)[: -len(self._image) + 1])

    async def drip(self) -> None:
        """A byte of a body now and then."""
        data = request(self._image)
        _reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(data[:-1000])
            for byte in data[-1000:-1]:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.5)
        finally:
            writer.close()

    async def never_reads(self) -> None:
        """Many requests at once, whose answers nobody takes."""
        _reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=1)
        try:
            _reader._transport.pause_reading()  # type: ignore[attr-defined]
            writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 200)
            await asyncio.sleep(60)
        finally:
            writer.transport.abort()

    async def leaves(self) -> None:
        """A whole request, and gone."""
        _reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(request(self._image))
        await writer.drain()
        writer.close()
        await asyncio.sleep(0.5)

    async def bomb(self) -> None:
        """A small file with many pixels."""
        await asyncio.wait_for(ask(self._port, self._random.choice(self._bombs)), 60)
        await asyncio.sleep(0.5)

    async def large_body(self) -> None:
        """As many bytes as are let in, or more; no picture."""
        size = self._random.choice((self._most, 2 * self._most))
        await asyncio.wait_for(ask(self._port, request(bytes(size), "image/png")), 60)
        await asyncio.sleep(0.5)

    async def garbage(self) -> None:
        """No HTTP, or what looks like it."""
        chunked = b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        start = self._random.choice(
            (
                b"",
                b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 5000,
                chunked + b"zz\r\n",
                b"GET /\0 HTTP/1.1\r\n\r\n",
            )
        )
        data = start + bytes(self._random.getrandbits(8) for _ in range(200))
        await asyncio.wait_for(ask(self._port, data), 60)

    async def _hold(self, data: bytes) -> None:
        """Sends this, and waits until the service has enough."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(data)
            await asyncio.wait_for(reader.read(), 60)
        finally:
            writer.close()

    async def run(self, share: float) -> None:
        """All of them until cancelled, each again as soon as it has ended; `share` of each number."""
        await asyncio.gather(
            *(
                self._again(attack)
                for count, attack in self.attacks
                for _ in range(max(1, round(share * count)))
            )
        )

    async def _again(self, attack: Callable[[], Awaitable[None]]) -> None:
        while True:
            with contextlib.suppress(OSError, EOFError, ValueError, TimeoutError):
                await attack()
            await asyncio.sleep(0.02)


if __name__ == "__main__":
    asyncio.run(Hostile(int(sys.argv[1]), bytes(int(sys.argv[2]))).run(float(sys.argv[3])))
