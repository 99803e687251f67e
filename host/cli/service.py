"""The HTTP service: decoding, the bounded queue, recovery of the device, metrics."""

from __future__ import annotations

import asyncio
import hmac
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, AsyncIterator, Mapping

import numpy as np

from host.devices import DeviceError
from host.scores import best
from host.transfers import PHASES, Finished
from hw.errors import InputError
from hw.images import Busy, opened
from hw.pixels import PictureError

if TYPE_CHECKING:
    from host.driver import Accelerator
    from hw.types import Array

_WORKERS = 4
_WAIT_S = 0.1


class Refused(Exception):
    """A request that is answered with an HTTP error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Service:
    """One accelerator, shared by many clients.

    Args:
        accelerator: open.
        capacity: requests that may be under way; more are refused, none of the accepted is lost.
    """

    def __init__(self, accelerator: Accelerator, capacity: int) -> None:
        self.accelerator, self.capacity = accelerator, capacity
        self.under_way = 0
        self.resets = 0
        self.answers: Counter[int] = Counter()
        self.seconds = dict.fromkeys(PHASES, 0.0)
        self._pool = ThreadPoolExecutor(_WORKERS, "fireflow-serve")
        self._reset_lock = threading.Lock()

    def enter(self) -> None:
        """Takes a place in the queue. Raises Refused when it is full."""
        if self.under_way >= self.capacity:
            raise Refused(503, f"the queue is full ({self.capacity} requests); try again in a moment")
        self.under_way += 1

    def leave(self) -> None:
        self.under_way -= 1

    async def score(self, body: bytes, kind: str) -> Finished:
        """The scores of an uploaded picture, or of a raw array of the input's size.

        Raises:
            Refused: the bytes are no picture, or the device does not recover.
        """
        loop = asyncio.get_running_loop()
        image = await loop.run_in_executor(self._pool, self._decode, body, kind)
        for last in (False, True):
            try:
                future = await loop.run_in_executor(self._pool, self.accelerator.submit, image[None])
                finished: Finished = await asyncio.wrap_future(future)
                return finished
            except DeviceError as error:
                if last:
                    raise Refused(503, str(error)) from None
                await loop.run_in_executor(self._pool, self._recover)
        raise AssertionError

    def _decode(self, body: bytes, kind: str) -> Array:
        accelerator = self.accelerator
        shape = accelerator.design.input.kind.shape
        if kind == "application/octet-stream":
            if len(body) != int(np.prod(shape)):
                raise Refused(
                    400,
                    f"a raw array must be {int(np.prod(shape))} bytes, uint8 {shape}, not {len(body)}; resize it",
                )
            return np.frombuffer(body, np.uint8).reshape(shape)
        preprocessing = accelerator.bundle.manifest.preprocessing
        assert preprocessing is not None
        try:
            with opened(body, wait_s=_WAIT_S) as picture:
                return preprocessing.prepare(picture)
        except Busy as error:  # a worker that waited would keep small pictures waiting too
            raise Refused(503, str(error)) from None
        except PictureError as error:
            reason = error.reason[:100]
            raise Refused(
                400, f"the upload must be a picture that can be decoded ({reason}); send JPEG or PNG"
            ) from None

    def _recover(self) -> None:
        """Resets the device once for all who wait."""
        with self._reset_lock:
            if self.accelerator.fault is None:
                return
            self.resets += 1
            try:
                self.accelerator.reset()
            except DeviceError as error:
                raise Refused(503, f"the device does not recover: {error}") from None

    def metrics(self) -> str:
        """In Prometheus' text format."""
        lines = ["# TYPE fireflow_answers_total counter"]
        lines += [f'fireflow_answers_total{{status="{s}"}} {n}' for s, n in sorted(self.answers.items())]
        lines.append("# TYPE fireflow_phase_seconds_total counter")
        lines += [f'fireflow_phase_seconds_total{{phase="{p}"}} {self.seconds[p]:.6f}' for p in PHASES]
        values = {
            "fireflow_under_way": ("gauge", self.under_way),
            "fireflow_capacity": ("gauge", self.capacity),
            "fireflow_resets_total": ("counter", self.resets),
            "fireflow_healthy": ("gauge", int(self.accelerator.fault is None)),
        }
        for name, (kind, value) in values.items():
            lines += [f"# TYPE {name} {kind}", f"{name} {value}"]
        return "\n".join(lines) + "\n"

    def answer(self, finished: Finished, top: int, all_scores: bool) -> dict[str, Any]:
        """What a client gets."""
        accelerator = self.accelerator
        scores = finished.scores[0]
        for phase in PHASES:
            self.seconds[phase] += finished.seconds[phase]
        document: dict[str, Any] = {
            "top": [asdict(guess) for guess in best(scores, accelerator.labels, accelerator.scale, top)],
            "ms": {phase: round(1000 * finished.seconds[phase], 3) for phase in PHASES},
        }
        if all_scores:
            document["scores"], document["scale"] = scores.tolist(), accelerator.scale
        return document


def make_app(service: Service, token: str | None, max_bytes: int) -> Any:
    """The ASGI application.

    Args:
        service: what answers.
        token: what clients must send, or None.
        max_bytes: of a request's body.
    """
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.requests import ClientDisconnect, Request
    from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
    from starlette.routing import Route

    from host.cli.page import PAGE

    def check_token(request: Request) -> None:
        if token is not None:
            given = request.headers.get("authorization", "")
            if not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
                raise Refused(401, "a token must be sent: Authorization: Bearer TOKEN")

    def number(request: Request, name: str, default: int, highest: int) -> int:
        text = request.query_params.get(name, str(default))
        if not text.isdigit() or not 0 <= int(text) <= highest:
            raise Refused(400, f"{name} must be a whole number up to {highest}, not {text[:20]!r}")
        return int(text)

    async def classify(request: Request) -> Response:
        try:
            check_token(request)
            classes = service.accelerator.design.output.elements
            top = number(request, "top", min(5, classes), classes)
            all_scores = bool(number(request, "scores", 0, 1))
            service.enter()
            try:
                body, kind = await _upload(request, max_bytes)
                finished = await service.score(body, kind)
            finally:
                service.leave()
            response: Response = JSONResponse(service.answer(finished, top, all_scores))
        except ClientDisconnect:
            return Response(status_code=499)  # nobody reads it
        except (Refused, InputError) as error:
            status = error.status if isinstance(error, Refused) else 400
            headers = {"Retry-After": "1"} if status == 503 else None
            response = JSONResponse({"error": str(error)}, status, headers)
        service.answers[response.status_code] += 1
        return response

    async def page(_request: Request) -> Response:
        return HTMLResponse(PAGE)

    async def health(_request: Request) -> Response:
        fault = service.accelerator.fault
        facts = await run_in_threadpool(service.accelerator.device.facts) if fault is None else {}
        document = {"healthy": fault is None, "fault": None if fault is None else str(fault), **facts}
        return JSONResponse(
            {**document, "network": service.accelerator.bundle.graph.name}, 200 if fault is None else 503
        )

    async def metrics(_request: Request) -> Response:
        return PlainTextResponse(service.metrics())

    return Starlette(
        routes=[
            Route("/", page),
            Route("/v1/classify", classify, methods=["POST"]),
            Route("/health", health),
            Route("/metrics", metrics),
        ]
    )


async def _upload(request: Any, max_bytes: int) -> tuple[bytes, str]:
    """The picture's bytes and their content type, from a plain body or the field "image" of a form."""
    length = request.headers.get("content-length", "0")
    if length.isdigit() and int(length) > max_bytes:
        raise Refused(
            413, f"an upload must be at most {max_bytes} bytes, not {length}; send a smaller picture"
        )
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > max_bytes:
            raise Refused(413, f"an upload must be at most {max_bytes} bytes; send a smaller picture")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await _form(request.headers, bytes(body))
    if not body:
        raise Refused(400, "a picture must be sent, as the body or as the field image of a form, not nothing")
    return bytes(body), kind


async def _form(headers: Mapping[str, str], body: bytes) -> tuple[bytes, str]:
    from starlette.formparsers import MultiPartException, MultiPartParser

    async def stream() -> AsyncIterator[bytes]:
        yield body

    try:
        parser = MultiPartParser(headers, stream(), max_files=1, max_fields=4)  # type: ignore[arg-type]
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError) as error:
        raise Refused(400, f"the form must be whole ({error}); send it again") from None
    try:
        field = form.get("image")
        if field is None or isinstance(field, str):
            raise Refused(400, "the form must have a file in the field image; name it so")
        return await field.read(), (field.content_type or "").lower()
    finally:
        await form.close()
