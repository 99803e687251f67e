"""Requests to the service, as the HTTP server hands them on: a method, a target, headers and a body."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
from collections.abc import Sequence
from functools import cache
from typing import Any

from fireflow.host.service.access import AccessPolicy
from fireflow.host.service.app import make_app
from fireflow.host.service.service import Service
from fireflow.hw.errors import InputError
from tests.host.boards import accelerator
from tests.hw.networks import pictures

TOKEN = "a-token-of-the-tests"
_BODY = b"\n\n"
_MOST_BYTES = 1 << 16


@cache
def _service() -> tuple[asyncio.AbstractEventLoop, Any]:
    stack = contextlib.ExitStack()
    atexit.register(stack.close)
    device, _board = stack.enter_context(accelerator(leaks=True))
    service = stack.enter_context(contextlib.closing(Service(device, 8)))
    loop = asyncio.new_event_loop()
    return loop, make_app(service, AccessPolicy(token=TOKEN), _MOST_BYTES)


def ask(data: bytes) -> object:
    """Sends one request; an answer of 500, or none, is a defect."""
    loop, app = _service()
    head, _, body = data.partition(_BODY)
    first, *lines = head.split(b"\n")
    method, _, target = first.partition(b" ")
    path, _, query = target.partition(b"?")
    headers = [
        (name.strip().lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)
    ]
    scope = {
        "type": "http", "http_version": "1.1", "method": method.decode("latin-1"), "scheme": "http",
        "path": path.decode("latin-1"), "raw_path": path, "query_string": query, "headers": headers,
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "root_path": "",
    }  # fmt: skip
    parts = [{"type": "http.request", "body": body, "more_body": False}]
    statuses: list[int] = []

    async def receive() -> Any:
        if parts:
            return parts.pop()
        await asyncio.sleep(60)  # the client stays
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    loop.run_until_complete(asyncio.wait_for(app(scope, receive, send), 5))
    assert len(statuses) == 1, "a request must be answered once"
    assert statuses[0] != 500, "a request must not end inside"
    if statuses[0] >= 400:
        raise InputError(f"request: must be a good one, not {statuses[0]}; send another")
    return statuses


def seeds() -> Sequence[bytes]:
    """A page, the state, and pictures in each form that clients send."""
    head = f"\nHost: localhost\nAuthorization: Bearer {TOKEN}\n"
    image = pictures(1, (12, 12, 3), seed=3)[0].tobytes()
    field = b'Content-Disposition: form-data; name="image"; filename="a.raw"\r\n'
    form = b"--x\r\n" + field + b"Content-Type: application/octet-stream\r\n\r\n" + image + b"\r\n--x--\r\n"
    return (
        f"GET /{head}\n".encode(),
        f"GET /metrics{head}\n".encode(),
        f"GET /health{head}\n".encode(),
        f"POST /v1/classify?top=3&scores=1{head}Content-Type: application/octet-stream\n\n".encode() + image,
        f"POST /v1/classify{head}Content-Type: multipart/form-data; boundary=x\n\n".encode() + form,
    )
