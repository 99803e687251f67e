"""Processes beside this one, and the memory of this one."""

from __future__ import annotations

import os
from pathlib import Path

import fireflow

ROOT = Path(fireflow.__file__).resolve().parents[1]


def python_path() -> dict[str, str]:
    """The environment of a Python that finds these sources."""
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": paths}


def resident_mib() -> float:
    """Memory that this process holds, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20
