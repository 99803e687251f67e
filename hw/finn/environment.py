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
_ROUNDING = "SANITIZE_QUANT_TENSORS"


@contextlib.contextmanager
def finn() -> Iterator[None]:
    """Inside, FINN and QONNX can be used; what they print or warn of goes to the log `fireflow.finn`.

    Both report on standard output, by `warnings` and by a logger, on single nodes, in their own terms. What
    matters to a user is checked by `hw.finn.checks`.
    """
    finn_log = logging.getLogger("finn_logger")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        propagate, handlers = finn_log.propagate, finn_log.handlers
        finn_log.propagate, finn_log.handlers = False, [_Forward()]
        try:
            _initialize()
            yield
        finally:
            finn_log.propagate, finn_log.handlers = propagate, handlers
            lines = [*printed.getvalue().splitlines(), *(str(warning.message) for warning in caught)]
            for line in dict.fromkeys(lines):
                log.debug("%s", line)


@contextlib.contextmanager
def execution() -> Iterator[None]:
    """Inside, `execute_onnx` can be used, and gives what the nodes compute.

    By default QONNX rounds tensors annotated as integers before and after each node, and tests them slowly.
    Fractions must be seen here, not mended.
    """
    before = os.environ.get(_ROUNDING)
    os.environ[_ROUNDING] = "0"
    try:
        with finn():
            yield
    finally:
        if before is None:
            del os.environ[_ROUNDING]
        else:
            os.environ[_ROUNDING] = before


@cache
def _initialize() -> None:
    """Gives FINN settings without its own command line, and a build folder that goes when Python ends."""
    from finn.util.settings import initialize_dummy_settings

    if "FINN_BUILD_DIR" not in os.environ:
        folder = tempfile.mkdtemp(prefix="fireflow-finn-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ["FINN_BUILD_DIR"] = folder
    build = os.environ["FINN_BUILD_DIR"]
    os.makedirs(build, exist_ok=True)
    initialize_dummy_settings()
    os.environ["FINN_BUILD_DIR"] = build


class _Forward(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        log.debug("%s", record.getMessage())
