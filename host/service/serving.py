"""The whole service: an open accelerator for many clients over HTTP, until a signal or the end of the program."""

from __future__ import annotations

import contextlib
import signal
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Callable, Iterator, Mapping

from fireflow.host.service.access import AccessPolicy, is_loopback
from fireflow.host.service.app import MAX_BYTES, make_app
from fireflow.host.service.connections import Limits
from fireflow.host.service.decoding import give_memory_back
from fireflow.host.service.server import listen, make_server
from fireflow.host.service.service import Service
from fireflow.host.unsaid import needed
from fireflow.hw.errors import InputError

if TYPE_CHECKING:
    from fireflow.host.driver import Accelerator

_SWITCH_S = 1e-3
"""What computes gives way to the thread that talks to clients after so long; by default after 5 ms, for each call."""


@dataclass(frozen=True)
class ServiceOptions:
    """What a service listens on, who may ask, and what clients may take.

    Args:
        host: address to listen on; this computer only, by default.
        port: 0 to 65535; 0 for a free one.
        token: what clients must send as `Authorization: Bearer TOKEN`; None for nothing.
        allow_hosts: more names that clients may ask for, besides localhost and the address listened on.
        allow_origins: other sites whose pages may ask: https://site.example.
        queue: requests held at once; more are answered with 503.
        timeout_s: for an answer, 504 beyond; by default 30, or what the device's own deadlines need.
        connections: open at once.
        max_bytes: of an upload; 16 MiB by default.

    Raises:
        InputError: a value outside its range, no host, no origin, or a token that no header can carry.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = field(default=None, repr=False)
    allow_hosts: tuple[str, ...] = ()
    allow_origins: tuple[str, ...] = ()
    queue: int = 256
    timeout_s: float | None = None
    connections: int = 1000
    max_bytes: int = MAX_BYTES

    def __post_init__(self) -> None:
        if not 0 <= self.port < 1 << 16:
            raise InputError(f"serve: the port must be 0 to 65535, not {self.port}; choose another")
        if self.timeout_s is not None and not 0 < self.timeout_s < float("inf"):
            raise InputError(f"serve: the timeout must be above 0 seconds, not {self.timeout_s:g}; give 30")
        for name in ("queue", "connections", "max_bytes"):
            if getattr(self, name) < 1:
                raise InputError(f"serve: {name} must be at least 1, not {getattr(self, name)}; leave it out")
        self.access  # noqa: B018  says what is wrong with names and token

    @property
    def access(self) -> AccessPolicy:
        """Who may ask."""
        return AccessPolicy.of(self.host, self.allow_hosts, self.allow_origins, self.token)

    @property
    def open_to_all(self) -> bool:
        """Whether other computers may reach the service and need no token."""
        return self.token is None and not is_loopback(self.host)

    @property
    def limits(self) -> Limits:
        """What clients may take."""
        held_bytes = max(Limits.held_bytes, self.max_bytes + self.max_bytes // 2)
        return Limits(connections=self.connections, held_bytes=held_bytes)


DEFAULTS = ServiceOptions()


def serve(
    accelerator: Accelerator,
    options: ServiceOptions = DEFAULTS,
    ready: Callable[[int], None] | None = None,
) -> Mapping[int, int]:
    """Serves an accelerator over HTTP until SIGINT or SIGTERM; what was accepted is answered.

    Clients POST a picture (a file, a form with one, or raw pixels) to /v1/classify; / is a page for people, /health and
    /metrics are for whatever watches. Needs `pip install 'fireflow[serve]'`, and in the main thread it handles signals.

    Args:
        accelerator: open, of a bundle that says how pictures are prepared; it stays open.
        options: address, access, limits.
        ready: told the port once clients can connect.

    Returns:
        how many requests were answered, by HTTP status.

    Raises:
        InputError: the bundle does not say how pictures are prepared; the address is not this computer's, or
            taken; the system allows too few open files.
    """
    needed(accelerator.bundle)
    give_memory_back()
    with _switching(), contextlib.closing(Service(accelerator, options.queue, options.timeout_s)) as service:
        server = make_server(make_app(service, options.access, options.max_bytes), limits=options.limits)
        sockets = listen(options.host, options.port)
        if ready is not None:
            ready(sockets[0].getsockname()[1])
        with _signals_kept():
            server.run(sockets)
        return dict(service.answers)


@contextlib.contextmanager
def _switching() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_S)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """uvicorn raises the signal that ended it once more, which would end this before the buffers are free."""
    old = [(number, signal.signal(number, lambda *_: None)) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        yield
    finally:
        for number, handler in old:
            signal.signal(number, handler)
