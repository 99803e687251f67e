"""The whole service: an open accelerator for many clients over HTTP, until a signal or the end of the program."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Callable, Iterator, Mapping

from fireflow.host.driver import Accelerator
from fireflow.host.service.access import AccessPolicy, is_loopback
from fireflow.host.service.app import MAX_BYTES, make_app
from fireflow.host.service.connections import Limits
from fireflow.host.service.decoding import give_memory_back
from fireflow.host.service.server import listen, make_server
from fireflow.host.service.service import Service
from fireflow.host.unsaid import needed
from fireflow.hw import given
from fireflow.hw.errors import InputError

if TYPE_CHECKING:
    import uvicorn

_LOOK_S = 0.1
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
        for name in ("port", "queue", "connections", "max_bytes"):
            given.whole(f"serve: {name}", getattr(self, name), least=None)
        for name in ("allow_hosts", "allow_origins"):
            if not isinstance(getattr(self, name), (tuple, list)):
                value = given.shown(getattr(self, name))
                raise InputError(f"serve: {name} must be a tuple of names, not {value}; give (NAME,)")
        given.instance("serve: host", self.host, str, "give an address, as 127.0.0.1")
        if self.token is not None:
            given.instance("serve: token", self.token, str, "give text")
        if self.timeout_s is not None and not isinstance(self.timeout_s, (int, float)):
            raise InputError(
                f"serve: the timeout must be a number, not {given.shown(self.timeout_s)}; give 30"
            )
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
    stop: threading.Event | None = None,
) -> Mapping[int, int]:
    """Serves an accelerator over HTTP until SIGINT or SIGTERM; what was accepted is answered.

    Clients POST a picture (a file, a form with one, or raw pixels) to /v1/classify; / is a page for people, /health and
    /metrics are for whatever watches. Needs `pip install 'fireflow[serve]'`. Signals reach the main thread alone: in
    another one, `stop` ends it.

    Args:
        accelerator: open, of a bundle that says how pictures are prepared; it stays open.
        options: address, access, limits.
        ready: told the port once clients can connect.
        stop: ends the service once it is set, from any thread.

    Returns:
        how many requests were answered, by HTTP status.

    Raises:
        InputError: the bundle does not say how pictures are prepared; the address is not this computer's, or
            taken; the system allows too few open files.
    """
    given.instance("accelerator", accelerator, Accelerator, "open one with open_accelerator")
    given.instance("options", options, ServiceOptions, "make one, or leave it out")
    needed(accelerator.bundle)
    give_memory_back()
    with _switching(), contextlib.closing(Service(accelerator, options.queue, options.timeout_s)) as service:
        server = make_server(make_app(service, options.access, options.max_bytes), limits=options.limits)
        sockets = listen(options.host, options.port)
        if ready is not None:
            ready(sockets[0].getsockname()[1])
        with _signals_kept(), _stopping(server, stop):
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
def _stopping(server: uvicorn.Server, stop: threading.Event | None) -> Iterator[None]:
    """Ends the server once `stop` is set."""
    if stop is None:
        yield
        return
    ended = threading.Event()

    def watch() -> None:
        while not stop.wait(_LOOK_S) and not ended.is_set():
            pass
        server.should_exit = True

    watcher = threading.Thread(target=watch, name="fireflow-stop", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """uvicorn raises the signal that ended it once more, which would end this before the buffers are free."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    old = [(number, signal.signal(number, lambda *_: None)) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        yield
    finally:
        for number, handler in old:
            signal.signal(number, handler)
