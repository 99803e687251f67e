"""The host part as a board gets it: the wheel, installed and run on old and new Pythons with NumPy alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.host.boards import bundle
from tests.hw.test_old_numpy import environment

ROOT = Path(__file__).parents[2]
# As on the images of PYNQ: see tests/host/devices/test_pynq_versions.py.
PYTHONS = [("3.8", "1.20.3"), ("3.10", "1.21.6"), ("3.12", "1.26.4")]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    sources = folder / "sources"  # a build leaves files beside them
    for package in ("fireflow", "quant", "hw", "host"):
        shutil.copytree(
            ROOT / package, sources / package, symlinks=True, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, sources)
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--disable-pip-version-check"]
    done = subprocess.run(
        [*pip, "--wheel-dir", str(folder), str(sources)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"pip cannot build the wheel here: {done.stderr.strip()[-200:]}")
    (path,) = folder.glob("*.whl")
    return path


@pytest.mark.parametrize(("version", "numpy"), PYTHONS)
def test_installs_and_runs(wheel: Path, tmp_path: Path, version: str, numpy: str) -> None:
    python, site = environment(version, numpy), tmp_path / "site"
    bundle().save(tmp_path / "small.fire")
    install = [
        python,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-index",
        "--no-deps",
        "--target",
        str(site),
        str(wheel),
    ]
    subprocess.run(install, check=True, capture_output=True)
    done = _run(python, site, tmp_path, "fireflow.host.selftest", "small.fire")
    assert (done.returncode, done.stderr) == (0, "")
    facts = json.loads(done.stdout)
    assert (facts["images"], facts["differing"], facts["wrong"]) == (3, 0, 0)
    np.save(str(tmp_path / "pictures.npy"), np.zeros((2, 14, 14, 3), np.uint8))  # as large as after resizing
    done = _run(python, site, tmp_path, "fireflow", "run", "small.fire", "pictures.npy", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["pictures"] == 2
    for command in ("doctor", "models"):  # they speak of what a board has not, so may import nothing of it
        done = _run(python, site, tmp_path, "fireflow", command)
        assert (done.returncode, done.stderr) == (0, ""), command


def _run(
    python: str, site: Path, folder: Path, module: str, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """A module of the installed wheel, with what `python` and `site` hold and nothing else."""
    return subprocess.run(
        [python, "-W", "error", "-m", module, *arguments],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(site), "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
