"""The ASGI application: what is asked, by whom, and with what it is answered."""

from __future__ import annotations

import logging
import re
import secrets
from functools import partial
from typing import TYPE_CHECKING, Any, Awaitable, Callable

from fireflow.host.service.access import OPEN, SECURITY_HEADERS, AccessPolicy, page_headers
from fireflow.host.service.decoding import FORM, RAW
from fireflow.host.service.lanes import Refused
from fireflow.host.service.page import PAGE
from fireflow.host.service.service import Left, Service
from fireflow.hw.errors import InputError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from fireflow.host.service.service import Receive

    Handler = Callable[[Request, Receive], Awaitable[Response]]

MAX_BYTES, HEAD_BYTES = 1 << 24, 1 << 14
CONNECTION = "fireflow.connection"
"""Where a request's scope has the connection (`host.service.connections`), if that is watched."""
_CLASSIFY, _TYPES = "/v1/classify", {"", RAW, FORM, "application/x-www-form-urlencoded"}
_NUMBER = re.compile(r"[0-9]{1,9}")
_PAGE_HEADERS = page_headers(PAGE)
_SECURITY = [(name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]

logger = logging.getLogger(__name__)


class App:
    """See `make_app`."""

    def __init__(self, service: Service, policy: AccessPolicy, max_bytes: int) -> None:
        self._service, self._policy, self._max_bytes = service, policy, max_bytes
        self._routes: dict[str, dict[str, Handler]] = {
            "/": {"GET": self._page},
            _CLASSIFY: {"POST": self._classify},
            "/health": {"GET": self._health},
            "/metrics": {"GET": self._metrics},
        }

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request."""
        from starlette.requests import Request

        request = Request(scope)
        counted = scope["path"] == _CLASSIFY and scope["method"] == "POST"
        try:
            response = await self._answer(request, receive)
        except Left:
            self._service.left += 1
            return
        if counted:
            self._service.answers[response.status_code] += 1
        present = {name for name, _value in response.raw_headers}
        response.raw_headers += [header for header in _SECURITY if header[0] not in present]
        await response(scope, receive, send)

    async def _answer(self, request: Request, receive: Receive) -> Response:
        try:
            _check_head(request.scope)
            self._policy.check_host(request.scope["http_version"], request.headers)
            origin = self._policy.check_origin(request.headers) if _writes(request) else None
            response = await self._route(request)(request, receive)
        except (Refused, InputError) as error:
            response = _refusal(error)
            origin = request.headers.get("origin")
            origin = origin if origin in self._policy.origins else None
        except Left:
            raise
        except Exception:
            number = secrets.token_hex(6)
            logger.exception("internal error %s at %s", number, request.scope["path"][:100].encode())
            response = _json({"error": f"something went wrong inside; the log has it as {number}"}, 500)
            origin = None
        if origin is not None:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Vary"] = "Origin"
        return response

    def _route(self, request: Request) -> Handler:
        if request.headers.get("upgrade", "").strip().lower() == "websocket":
            raise Refused(400, "websockets are not spoken here; ask with plain HTTP")
        methods = self._routes.get(request.scope["path"])
        if methods is None:
            raise Refused(404, f"there must be such a page; there are {', '.join(self._routes)}")
        method = request.method
        handler = methods.get("GET" if method == "HEAD" else method)
        if handler is not None:
            return handler
        allowed = ", ".join([*methods, *(["HEAD"] if "GET" in methods else []), "OPTIONS"])
        return partial(self._other_method, allowed)

    # --- what is there --------------------------------------------------------------------------------------

    async def _classify(self, request: Request, receive: Receive) -> Response:
        self._policy.check_token(request.headers)
        classes = self._service.accelerator.interface.output.elements
        given = _numbers(request, {"top": (min(5, classes), classes), "scores": (0, 1)})
        kind = _content_type(request)
        body = await self._body(request, receive)
        connection = request.scope.get(CONNECTION)
        decoded = connection.release if connection is not None else lambda: None
        finished = await self._service.score(body, kind, receive, decoded)
        return _json(self._service.answer(finished, given["top"], bool(given["scores"])))

    async def _body(self, request: Request, receive: Receive) -> bytes:
        limit = self._max_bytes
        if "content-length" in request.headers and "transfer-encoding" in request.headers:
            raise Refused(400, "a request must have Content-Length or Transfer-Encoding, not both; send one")
        length = request.headers.get("content-length", "0")
        if len(length) > 18 or int(length) > limit:  # the HTTP parser lets digits through, nothing else
            raise Refused(413, f"an upload must be at most {limit} bytes, not more; send a smaller picture")
        parts, size, more = [], 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Left
            part, more = message.get("body", b""), message.get("more_body", False)
            parts.append(part)
            size += len(part)
            if size > limit:
                raise Refused(413, f"an upload must be at most {limit} bytes; send a smaller picture")
        if not size:
            raise Refused(
                400, "a picture must be sent, as the body or as the field image of a form, not nothing"
            )
        return b"".join(parts)

    async def _page(self, _request: Request, _receive: Receive) -> Response:
        from starlette.responses import HTMLResponse

        return HTMLResponse(PAGE, headers=_PAGE_HEADERS)

    async def _health(self, request: Request, _receive: Receive) -> Response:
        """Without the token, for whatever watches the process: only whether it is healthy."""
        fault = await self._service.health()
        document: dict[str, Any] = {"healthy": fault is None}
        if self._policy.knows(request.headers):
            network = self._service.accelerator.bundle.graph.name
            document.update(fault=fault, **self._service.dispatcher.facts, network=network)
        return _json(document, 200 if fault is None else 503)

    async def _metrics(self, request: Request, _receive: Receive) -> Response:
        from starlette.responses import PlainTextResponse

        self._policy.check_token(request.headers)
        connection = request.scope.get(CONNECTION)
        return PlainTextResponse(
            self._service.metrics() + ("" if connection is None else connection.guard.metrics())
        )

    async def _other_method(self, allowed: str, request: Request, _receive: Receive) -> Response:
        from starlette.responses import Response

        if request.method == "OPTIONS":
            headers = {"Allow": allowed}
            if self._policy.check_origin(request.headers) is not None:
                headers["Access-Control-Allow-Methods"] = allowed
                headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type"
            return Response(status_code=204, headers=headers)
        return _json({"error": f"the method must be {allowed}; use one of these"}, 405, {"Allow": allowed})


def make_app(service: Service, policy: AccessPolicy = OPEN, max_bytes: int = MAX_BYTES) -> App:
    """The ASGI application.

    Args:
        service: what answers.
        policy: who may ask; programs and pages of this computer by default.
        max_bytes: of a request's body.
    """
    return App(service, policy, max_bytes)


def _check_head(scope: Any) -> None:
    """Raises Refused for another HTTP than ours, or more headers than any client of ours sends."""
    if scope["http_version"] not in ("1.0", "1.1"):
        raise Refused(505, "the request must be HTTP/1.1 or 1.0; send it so")
    if sum(len(name) + len(value) for name, value in scope["headers"]) > HEAD_BYTES:
        raise Refused(431, f"the headers must be at most {HEAD_BYTES} bytes; send fewer")


def _writes(request: Request) -> bool:
    return request.method not in ("GET", "HEAD")


def _json(document: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    from starlette.responses import JSONResponse

    return JSONResponse(document, status, headers)


def _refusal(error: Refused | InputError) -> Response:
    status = error.status if isinstance(error, Refused) else 400
    headers = {"Retry-After": "1"} if status in (503, 504) else {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return _json({"error": str(error)}, status, headers)


def _numbers(request: Request, known: dict[str, tuple[int, int]]) -> dict[str, int]:
    """The whole numbers after the `?`; `known` gives the default and the highest of each name."""
    found = {name: default for name, (default, _highest) in known.items()}
    pairs = request.query_params.multi_items()
    for name, text in pairs:
        if name not in known or sum(name == other for other, _text in pairs) > 1:
            raise Refused(
                400, f"the address may give {' and '.join(known)} once each, nothing else; leave it out"
            )
        highest = known[name][1]
        if not _NUMBER.fullmatch(text) or int(text) > highest:
            raise Refused(400, f"{name} must be a whole number up to {highest}, not {text[:20]!a}; give one")
        found[name] = int(text)
    return found


def _content_type(request: Request) -> str:
    """The content type; of a form, with its boundary.

    Raises:
        Refused: one that is no picture's, or a compressed body.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise Refused(415, "the body must be sent as it is, not compressed; leave Content-Encoding out")
    whole = request.headers.get("content-type", "")
    kind = whole.partition(";")[0].strip().lower()
    if kind not in _TYPES and not kind.startswith("image/"):
        raise Refused(415, f"the body must be a picture, {RAW} or {FORM}, not something else; name it so")
    return kind + whole[len(whole.partition(";")[0]) :] if kind == FORM else kind
