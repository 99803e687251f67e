"""The HTTP server under the application."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fireflow.host.service.app import HEAD_BYTES
from fireflow.host.service.connections import LIMITS, Guard, Limits
from fireflow.hw.errors import InputError

if TYPE_CHECKING:
    import uvicorn

_OTHER_FILES, _BACKLOG = 64, 2048
GRACE_S = 30
"""Seconds for the requests that were accepted when the service is to end."""


def make_server(app: Any, host: str = "127.0.0.1", port: int = 0, limits: Limits = LIMITS) -> uvicorn.Server:
    """uvicorn with watched connections, without websockets, logging nothing of what clients do.

    Args:
        app: ASGI.
        host: address to listen on.
        port: 0 for a free one.
        limits: what clients may take; fewer connections where the system allows fewer open files.

    Raises:
        InputError: the system allows too few open files.
    """
    import uvicorn

    guard = Guard(_fitting(limits))
    # uvicorn calls what makes a protocol by that name, of whatever kind it is.
    protocol: Any = guard.protocol
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=protocol,
        ws="none",
        lifespan="off",
        log_level="critical",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
        h11_max_incomplete_event_size=HEAD_BYTES,
        backlog=_BACKLOG,
    )
    return uvicorn.Server(config)


def listen(host: str, port: int) -> list[socket.socket]:
    """Sockets that clients can connect to from now on, for each address that `host` has.

    Raises:
        InputError: the address is not this computer's, or taken.
    """
    sockets: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(
            host.strip("[]") or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        for family, kind, protocol, _name, address in dict.fromkeys(found):
            opened = socket.socket(family, kind, protocol)
            sockets.append(opened)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            opened.bind(address)
            opened.listen(_BACKLOG)
    except (OSError, UnicodeError) as error:
        for opened in sockets:
            opened.close()
        reason = getattr(error, "strerror", None) or "no such name"
        raise InputError(
            f"serve: {host} port {port} must be free and this computer's, not fail with {reason!r}; choose another"
        ) from None
    return sockets


def _fitting(limits: Limits) -> Limits:
    """The limits with as many connections as can be open; raises the process's limit of files where it may."""
    try:
        import resource
    except ImportError:  # not on Windows, which has no such limit
        return limits
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = limits.most_connections + _OTHER_FILES
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return limits
    raised = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    while limits.connections > 1 and limits.most_connections + _OTHER_FILES > soft:
        limits = replace(limits, connections=limits.connections - 1)
    if limits.most_connections + _OTHER_FILES > soft:
        raise InputError(
            f"serve: the system must allow {limits.most_connections + _OTHER_FILES} open files, not {soft}; "
            "raise `ulimit -n`"
        )
    return limits
