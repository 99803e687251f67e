"""What every test takes for granted."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest


def pytest_configure() -> None:
    """A shell starts background jobs with SIGINT ignored, and so would be the programs that tests interrupt."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real weights and pictures; tests that need it are skipped without it."""
    from fireflow.quant.data import find_data_folder

    folder = find_data_folder()
    if folder is None:
        pytest.skip("needs the data folder: set FIREFLOW_DATA")
    return folder
