"""The HTTP service in a thread, for what measures or looks at it."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any, Iterator

_PATIENCE_S = 30.0


@contextlib.contextmanager
def served(app: Any, **options: Any) -> Iterator[int]:
    """Serves an ASGI application on this computer, on a port of its own, which it gives.

    Args:
        app: ASGI.
        options: of `host.service.server.make_server`.

    Raises:
        RuntimeError: the server does not start or end.
    """
    from fireflow.host.service.server import make_server

    server = make_server(app, **options)
    thread = threading.Thread(target=server.run, name="fireflow-http", daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + _PATIENCE_S
        while not server.started:
            if not thread.is_alive() or time.monotonic() > deadline:
                raise RuntimeError("the HTTP server must start")
            time.sleep(0.01)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(_PATIENCE_S)
        if thread.is_alive():
            raise RuntimeError("the HTTP server must end")
