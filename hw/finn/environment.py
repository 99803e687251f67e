"""What FINN wants around it, in one place: its settings, a build folder, and a quiet terminal."""

from __future__ import annotations

import atexit
import contextlib
import io
import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from functools import cache

log = logging.getLogger("fireflow.finn")


@cache
def _initialize() -> None:
    """Gives FINN settings without its own command line, and a build folder that goes when Python ends."""
    from finn.util.settings import initialize_dummy_settings

    if "FINN_BUILD_DIR" not in os.environ:
        folder = tempfile.mkdtemp(prefix="fireflow-finn-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ["FINN_BUILD_DIR"] = folder
    os.makedirs(os.environ["FINN_BUILD_DIR"], exist_ok=True)
    initialize_dummy_settings()


@contextlib.contextmanager
def finn() -> Iterator[None]:
    """Inside, FINN and QONNX can be used; what they print or warn of goes to the log `fireflow.finn`.

    Both report on standard output, by `warnings` and by a logger, much of it per node and none of it for users:
    what matters to a user is checked by `hw.finn.checks`.
    """
    finn_log = logging.getLogger("finn_logger")
    printed = io.StringIO()
    handler = _Forward()
    propagate, handlers = finn_log.propagate, list(finn_log.handlers)
    with contextlib.redirect_stdout(printed), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        finn_log.propagate, finn_log.handlers = False, [handler]
        try:
            _initialize()
            yield
        finally:
            finn_log.propagate, finn_log.handlers = propagate, handlers
    for line in dict.fromkeys([*printed.getvalue().splitlines(), *(str(w.message) for w in caught)]):
        log.debug("%s", line)


class _Forward(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        log.debug("%s", record.getMessage())
