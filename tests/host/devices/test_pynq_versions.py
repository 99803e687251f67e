"""The driver's tests again, on the virtual board under the real `pynq`, in an environment for each version.

`make pynq` sets FIREFLOW_PYNQ=part: each version runs a part of the tests on one board. FIREFLOW_PYNQ=all runs every
test on every version and both families. Without it they are skipped: building the environments takes minutes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.hw.test_old_numpy import environments, interpreter

ROOT = Path(__file__).parents[3]
FINN_DRIVER = "finn-plus-driver==1.6.1"
# pynq, Python and NumPy as on the images that carry them, and a board.
VERSIONS = {
    "2.7.0": ("3.8", "1.20.3", "Pynq-Z2"),
    "3.0.1": ("3.10", "1.26.4", "KV260"),
    "3.1.2": ("3.10", "1.26.4", "Pynq-Z1"),
    "4.0.0": ("3.12", "1.26.4", "ZCU104"),
}
ASKED = os.environ.get("FIREFLOW_PYNQ")
ALL = ASKED == "all"
PYNQ_PART = "clocks or description or finn or notebook or selftest"
PART = f"scores or early or threads or {PYNQ_PART} or (recovered and (hang or address or invalidate))"
REMOTE_PART = f"(scores and 3-2) or {PYNQ_PART} or (recovered and 60 and (hang or flush))"
pytestmark = pytest.mark.skipif(
    ASKED not in ("part", "all"),
    reason="an environment for each pynq takes minutes to build: run `make pynq`",
)
TESTS = ("tests/host/test_driver.py", "tests/host/test_driver_faults.py", "tests/host/devices/test_pynq.py")


def environment(version: str) -> str:
    """A virtual environment with this pynq, kept from one run of the tests to the next."""
    python, numpy, _board = VERSIONS[version]
    folder = environments() / f"pynq{version}-python{python}"
    program = folder / "bin" / "python"
    finn = python != "3.8"  # the oldest that its driver takes is 3.10
    names = "numpy, pytest, pytest_timeout, pynq" + (", finn_plus_driver.overlays" if finn else "")
    check = [str(program), "-c", f"import {names}"]
    if program.is_file() and subprocess.run(check, capture_output=True, check=False).returncode == 0:
        return str(program)
    subprocess.run([interpreter(python), "-m", "venv", "--clear", str(folder)], check=True)
    pip = [str(program), "-m", "pip", "install", "-q", "--disable-pip-version-check", f"numpy=={numpy}"]
    # The versions before 4 read C headers with a pycparser that is no more; 70 took pkg_resources from setuptools.
    for packages in (
        ["setuptools<70", "wheel", "cython", "pycparser<3"],
        [f"pynq=={version}", "pycparser<3"],
        *([[f"pynq=={version}", FINN_DRIVER, "pycparser<3", "setuptools<70"]] if finn else []),
    ):
        done = subprocess.run([*pip, *packages], capture_output=True, text=True, check=False)
        if done.returncode:
            shutil.rmtree(folder, ignore_errors=True)
            pytest.skip(f"{packages[0]} cannot be installed: {done.stderr.strip()[-200:]}")
    subprocess.run([*pip, "pytest", "pytest-timeout"], capture_output=True, check=True)
    return str(program)


def run(version: str, board: str, cache: Path, *options: str, bundle: Path | None = None) -> None:
    pytest_ = [environment(version), "-m", "pytest", "-q", "-c", os.devnull, "--rootdir", str(ROOT)]
    plugins = ["--noconftest", "--import-mode=importlib", "-p", "no:cacheprovider", "--timeout", "240", "-rs"]
    done = subprocess.run(
        [*pytest_, *plugins, *options, *TESTS],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "XDG_CACHE_HOME": str(cache),
            "FIREFLOW_TEST_BOARD": board,
            **({"FIREFLOW_TEST_BUNDLE": str(bundle)} if bundle else {}),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert "passed" in done.stdout
    print(done.stdout)  # what was skipped, and why


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.timeout(900)
def test_version(version: str, tmp_path: Path) -> None:
    run(version, VERSIONS[version][2], tmp_path, "-k", PART)


@pytest.mark.parametrize(("version", "board"), [("3.1.2", "Pynq-Z2"), ("4.0.0", "KV260")])
@pytest.mark.timeout(900)
def test_remote(version: str, board: str, tmp_path: Path) -> None:
    run(version, f"remote:{board}", tmp_path, *(() if ALL else ("-k", REMOTE_PART)))


@pytest.mark.skipif(not ALL, reason="8 runs of a minute: set FIREFLOW_PYNQ=all")
@pytest.mark.parametrize("board", ["Pynq-Z2", "KV260"])
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.timeout(900)
def test_everything(version: str, board: str, tmp_path: Path) -> None:
    run(version, board, tmp_path)
