"""The open FPGA tools for tests: those that are here, or an installation of our own where it is asked for."""

from __future__ import annotations

import os
from functools import lru_cache

import pytest
from filelock import FileLock

from fireflow.hw.bitstream.process import ToolError
from fireflow.hw.bitstream.toolbox import Toolbox, default_folder, install
from fireflow.hw.errors import InputError

ASK = "FIREFLOW_INSTALL_TOOLS"
"""`.ci/run` sets it: the tests may then download 1.1 GB."""


@lru_cache(maxsize=1)
def find() -> Toolbox | str:
    found = _found()
    if isinstance(found, Toolbox):
        return found
    if not os.environ.get(ASK):
        return f"{found}; or set {ASK}=1 and the tests install them"
    folder = default_folder()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name("install.lock")):  # of the processes of tests, one installs
        found = _found()
        if isinstance(found, Toolbox):
            return found
        try:
            return install(folder, folder.with_name("open.log"), lambda text: None)
        except (InputError, ToolError, OSError) as error:
            return f"the open tools could not be installed: {error}"


def _found() -> Toolbox | InputError:
    try:
        return Toolbox.find()
    except InputError as error:
        return error


def open_tools() -> Toolbox:
    """The tools; skips the test, and says why, where there are none."""
    found = find()
    if isinstance(found, str):
        pytest.skip(found)
    return found
