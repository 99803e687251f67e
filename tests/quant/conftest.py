"""Fixtures for the tests of quant."""

from __future__ import annotations

from pathlib import Path

import pytest

from fireflow.quant.data import find_data_folder


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real weights and pictures; tests that need it are skipped without it."""
    folder = find_data_folder()
    if folder is None:
        pytest.skip("needs the data folder: set FIREFLOW_DATA")
    return folder
