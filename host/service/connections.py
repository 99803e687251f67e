"""Connections that cannot wear the service out: time limits for each phase, and bounds on their number and memory.

uvicorn gives a client all the time that it wants for its request and for reading the answer. Here each connection is
watched from outside of uvicorn's protocol, by one look at all of them several times a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import json
import select
import threading
import time
from collections import Counter
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Callable, Sequence, cast

from fireflow.host.service.access import SECURITY_HEADERS
from fireflow.host.service.app import CONNECTION

if TYPE_CHECKING:
    from uvicorn.protocols.http.h11_impl import H11Protocol

_LOOK_S, _PAUSE_S = 0.25, 0.02
_SMALL_SHARE = 64
_LINGER_S = 2.0
_MORE = 64
_AT_ONCE = 16
"""One in so many of the connections is closed when there are too many, so that each look at all of them pays."""


@dataclass(frozen=True)
class Limits:
    """What clients may take.

    Args:
        connections: open at once. When there are more, those that have left their request unfinished for the longest
            are closed, or else those that have asked nothing for the longest. Until their bytes are read, there may
            be a quarter more.
        held_bytes: of all requests together until their pictures are decoded. When there are more, the request that
            has held most for longest (bytes x seconds) is refused.
        head_s: from the first moment of a connection, or the first byte of a later request, to the end of its head.
        body_s: from there to the end of the request.
        body_rate, grace_s: bytes a second that the request must come with on average, `grace_s` after its begin.
        write_s: for a client to take any part of its answer.
    """

    connections: int = 1000
    held_bytes: int = 24 << 20
    head_s: float = 10.0
    body_s: float = 120.0
    body_rate: float = 4096.0
    grace_s: float = 5.0
    write_s: float = 10.0

    @property
    def most_connections(self) -> int:
        """Beyond so many, new ones are closed."""
        return self.connections + max(_MORE, self.connections // 4)


LIMITS = Limits()
"""Without any options."""


class Guard:
    """Watches the connections of one server.

    Args:
        limits: what they may take.
    """

    def __init__(self, limits: Limits = LIMITS) -> None:
        import h11

        self.limits = limits
        self.head_state, self.body_state = h11.IDLE, h11.SEND_BODY
        self.closed: Counter[str] = Counter()
        self.held = 0
        self._connections: set[Connection] = set()
        self._lock = threading.Lock()
        self._full_until = self._held_until = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def protocol(self, **options: Any) -> Connection:
        """What uvicorn calls for each connection."""
        from uvicorn.protocols.http.h11_impl import H11Protocol

        return Connection(self, H11Protocol(**options))

    def __len__(self) -> int:
        return len(self._connections)

    def metrics(self) -> str:
        """Figures on connections in Prometheus' text format."""
        lines = ["# TYPE fireflow_connections gauge", f"fireflow_connections {len(self)}"]
        lines += ["# TYPE fireflow_held_bytes gauge", f"fireflow_held_bytes {self.held}"]
        lines.append("# TYPE fireflow_closed_total counter")
        lines += [f'fireflow_closed_total{{reason="{why}"}} {n}' for why, n in sorted(self.closed.items())]
        return "\n".join(lines) + "\n"

    def add(self, connection: Connection) -> None:
        """A connection was made; others may have to go for it."""
        self._connections.add(connection)
        if self._timer is None:
            self._timer = connection.inner.loop.call_later(_LOOK_S, self._look, connection.inner.loop)
        self._make_room()
        if len(self._connections) > self.limits.most_connections:
            self.closed["number"] += 1
            connection.abort()

    def remove(self, connection: Connection) -> None:
        """A connection is gone."""
        self._connections.discard(connection)

    def hold(self, connection: Connection, size: int) -> None:
        """Bytes of a request came."""
        with self._lock:
            connection.held += size
            self.held += size

    def release(self, connection: Connection) -> None:
        """The bytes of a request are free again; any thread."""
        with self._lock:
            self.held -= connection.held
            connection.held = 0

    def check_held(self) -> None:
        """Refuses the costliest requests while all together hold too much; between two looks up to twice the limit."""
        limit, now = self.limits.held_bytes, time.monotonic()
        if self.held <= limit or (now < self._held_until and self.held <= 2 * limit):
            return
        self._held_until = now + _PAUSE_S
        holders = [c for c in self._connections if c.held and not c.closing]
        # Small ones are on their way through: only where they are far too many must they go too.
        small = limit // _SMALL_SHARE if self.held < 2 * limit else 0
        least = max(small, self.held // max(1, len(holders)))
        large = [c for c in holders if c.held >= least]
        for connection in sorted(large, key=lambda c: c.held * (c.since - now)):
            if self.held <= limit:
                return
            text = "the service holds as much as it can; try again in a moment"
            self._close(connection, "memory", 503, text)

    def _close(self, connection: Connection, why: str, status: int, message: str) -> None:
        self.closed[why] += 1
        connection.refuse(status, message)

    def _make_room(self) -> None:
        """Ends refused connections, or unfinished ones, or idle ones, the oldest first, if there are too many."""
        now, count = time.monotonic(), len(self._connections) - self.limits.connections
        if count <= 0 or now < self._full_until:
            return
        refused = [c for c in self._connections if c.refused]
        unfinished = [] if refused else _silent([c for c in self._connections if c.unfinished])
        candidates = refused or unfinished or [c for c in self._connections if c.idle]
        if not candidates:
            self._full_until = now + _PAUSE_S
        count += self.limits.connections // _AT_ONCE
        for connection in heapq.nsmallest(count, candidates, key=lambda c: c.since):
            self.closed["number"] += 1
            connection.abort()

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = time.monotonic()
        self._make_room()
        late = {connection: why for connection in self._connections for why in [connection.late(now)] if why}
        for connection in [c for c, why in late.items() if why == "answer"]:
            self.closed["answer"] += 1
            connection.abort()
        for connection in _silent([c for c, why in late.items() if why != "answer"]):
            why = late[connection]
            self._close(connection, why, 408, f"the {why} of the request must come in time; send it faster")
        self._timer = loop.call_later(_LOOK_S, self._look, loop) if self._connections else None


def _silent(connections: Sequence[Connection]) -> list[Connection]:
    """Those of which nothing lies in the system's buffer: on a busy machine, not every late request is its client's."""
    poll = select.poll()
    by_file = {}
    for connection in connections:
        by_file[connection.file] = connection
        poll.register(connection.file, select.POLLIN)
    heard = {number for number, _event in poll.poll(0)}
    return [connection for number, connection in by_file.items() if number not in heard]


class Connection(asyncio.Protocol):
    """uvicorn's protocol with a clock.

    Args:
        guard: of the server.
        inner: does the work.
    """

    def __init__(self, guard: Guard, inner: H11Protocol) -> None:
        self.inner, self.guard = inner, guard
        self.since = time.monotonic()
        self.held = 0
        self._received = 0
        self._answering = 0
        self.refused = False
        self._unsent, self._unsent_since = 0, 0.0
        self._app = cast("Callable[..., Any]", inner.app)
        self._transport: asyncio.Transport | None = None
        inner.app = self._answer
        inner.send_400_response = self._bad_request  # type: ignore[method-assign]

    # --- asyncio's side -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.inner.connection_made(cast("asyncio.Transport", _Joining(self._transport)))
        self._pause_reading = self.inner.flow.pause_reading
        self.inner.flow.pause_reading = self._pause_after_request  # type: ignore[method-assign]
        self.guard.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.guard.remove(self)
        self.release()
        self.inner.connection_lost(error)

    def eof_received(self) -> None:
        self.inner.eof_received()

    def pause_writing(self) -> None:
        self.inner.pause_writing()

    def resume_writing(self) -> None:
        self.inner.resume_writing()

    def data_received(self, data: bytes) -> None:
        if self.closing:
            return  # refused, and still sending
        if self.idle and not self._received:
            self.since = time.monotonic()
        self._received += len(data)
        draining = self._draining
        if not draining:
            self.guard.hold(self, len(data))
        self.inner.data_received(data)
        if draining and not self._in_body:  # all of it is thrown away: the next request may come
            self._received, self.since = 0, time.monotonic()
        self.guard.check_held()

    def _pause_after_request(self) -> None:
        """Bodies are bounded by the guard: only the next request has to wait."""
        if not self._in_body:
            self._pause_reading()

    # --- the guard's side -----------------------------------------------------------------------------------

    @property
    def closing(self) -> bool:
        """Whether it only sends what is left."""
        return self._transport is None or self.refused or self._transport.is_closing()

    @property
    def file(self) -> int:
        """The number of its open file."""
        assert self._transport is not None
        return int(self._transport.get_extra_info("socket").fileno())

    @property
    def unfinished(self) -> bool:
        """Whether a request has not come whole."""
        return not self.closing and (self._in_body or (self._in_head and not self.idle))

    @property
    def idle(self) -> bool:
        """Whether it has had an answer, and nothing of another request came yet."""
        cycle = self.inner.cycle
        return cycle is not None and cycle.response_complete and not self._received and not self._answering

    @property
    def _in_head(self) -> bool:
        return not self._answering and self.inner.conn.their_state is self.guard.head_state

    @property
    def _in_body(self) -> bool:
        return self.inner.conn.their_state is self.guard.body_state

    @property
    def _draining(self) -> bool:
        """Whether what comes is thrown away: the request has been answered before it came whole."""
        cycle = self.inner.cycle
        return cycle is not None and cycle.response_complete and self._in_body

    def late(self, now: float) -> str | None:
        """What has taken too long: "head", "body" or "answer"."""
        assert self._transport is not None
        limits, age = self.guard.limits, now - self.since
        unsent = self._transport.get_write_buffer_size()
        if not unsent or unsent != self._unsent:
            self._unsent, self._unsent_since = unsent, now
        elif now - self._unsent_since > limits.write_s:
            return "answer"
        if self.refused:
            return "answer" if age > _LINGER_S else None
        if self.closing:
            return None
        if self._in_body:
            slow = self._received < limits.body_rate * (age - limits.grace_s)
            return "body" if slow or age > limits.body_s else None
        return "head" if self._in_head and not self.idle and age > limits.head_s else None

    def release(self) -> None:
        """The bytes of its request are not held any more; any thread."""
        self.guard.release(self)

    def abort(self) -> None:
        """Ends it at once, whatever is unsent."""
        self.guard.remove(self)
        self.release()
        if self._transport is not None:
            self._transport.abort()

    def refuse(self, status: int, message: str) -> None:
        """Ends it with an answer, where one can still be given."""
        if self._transport is None or self.closing:
            return
        cycle = self.inner.cycle
        if cycle is None or cycle.response_complete or not cycle.response_started:
            self._transport.write(_response(status, message))
        if cycle is not None:
            cycle.disconnected = True  # the application must not answer too
            cycle.message_event.set()
        self.refused, self.since = True, time.monotonic()
        self.release()
        # Closed at once, with something unread, the client would never see the answer: what still comes is dropped.
        with contextlib.suppress(OSError):
            self._transport.write_eof()
        self._transport.resume_reading()

    def _bad_request(self, msg: str) -> None:
        self.guard.closed["syntax"] += 1
        del msg  # uvicorn's; ours are JSON
        self.refuse(400, "the request must be HTTP/1.1 or 1.0; send it again")

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        """The application, with this connection in its scope."""
        scope[CONNECTION] = self
        self._answering += 1
        joining = cast("_Joining", self.inner.transport)

        async def send_joined(message: Any) -> None:
            joining.hold = message["type"] == "http.response.start"
            await send(message)
            if not joining.hold:
                joining.flush()

        try:
            await self._app(scope, receive, send_joined)
        finally:
            joining.flush()
            self._answering -= 1
            if not self._answering:
                self.release()
                self._received, self.since = 0, time.monotonic()


class _Joining:
    """A transport that sends the head of an answer with the beginning of its body, in one call of the system.

    Args:
        transport: does the rest.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._held: list[bytes] = []
        self.hold = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Sends it, or keeps it for the next."""
        self._held.append(data)
        if not self.hold and data:
            self.flush()

    def flush(self) -> None:
        """Sends what was kept."""
        held, self._held = self._held, []
        if any(held):
            self._transport.write(b"".join(held))

    def close(self) -> None:
        """Sends what was kept, and closes."""
        self.flush()
        self._transport.close()


def _response(status: int, message: str) -> bytes:
    body = json.dumps({"error": message}).encode()
    headers = {
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Connection": "close",
        **({"Retry-After": "1"} if status == 503 else {}),
        **SECURITY_HEADERS,
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{lines}\r\n".encode() + body
