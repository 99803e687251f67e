"""What goes to a board runs on the oldest and on a newer NumPy, with nothing else installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from fireflow.hw.bundle import Bundle, Manifest
from fireflow.hw.golden import Golden
from tests.hw.networks import squeezenet
from tests.hw.random_graphs import pictures

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys, warnings
warnings.simplefilter("error")
import fireflow.hw.bundle, fireflow.hw.compare, fireflow.hw.files, fireflow.hw.graph
import fireflow.hw.packing, fireflow.hw.preprocessing, fireflow.hw.simulator
foreign = {"torch", "brevitas", "finn", "qonnx", "onnx", "PIL", "scipy"} & set(sys.modules)
assert not foreign, foreign
bundle = fireflow.hw.bundle.Bundle.load(sys.argv[1])
for threads in (1, 2):
    simulator = fireflow.hw.simulator.Simulator(bundle.graph, threads=threads)
    check = bundle.verify_golden(simulator.run, simulator.trace)
    assert check.passed and check.images == 5, check
check = bundle.verify_golden(bundle.graph.run, bundle.graph.trace)
assert check.passed, check
bundle.save(sys.argv[2])
fireflow.hw.bundle.Bundle.load(sys.argv[2])
"""


def interpreter(version: str) -> str:
    """A Python of this version, from pyenv or the path."""
    roots = [os.environ.get("PYENV_ROOT", ""), str(Path.home() / ".pyenv")]
    for root in filter(None, roots):
        for folder in sorted(Path(root, "versions").glob(f"{version}.*")):
            if (folder / "bin" / "python").is_file():
                return str(folder / "bin" / "python")
    found = shutil.which(f"python{version}")
    # pyenv puts a program of this name on the path even where the version is not installed or not selected.
    if found is None or subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode:
        pytest.skip(f"no Python {version} on this machine: install one with pyenv or the system's packages")
    return found


def environments() -> Path:
    """Where the tests keep virtual environments from one run to the next."""
    return Path(os.environ.get("FIREFLOW_TEST_CACHE") or Path.home() / ".cache" / "fireflow-tests")


def environment(version: str, numpy: str) -> str:
    """A virtual environment with this NumPy and nothing else, kept from one run of the tests to the next."""
    folder = environments() / f"python{version}-numpy{numpy}"
    python = folder / "bin" / "python"
    check = [str(python), "-c", f"import numpy; assert numpy.__version__ == '{numpy}'"]
    if python.is_file() and subprocess.run(check, capture_output=True, check=False).returncode == 0:
        return str(python)
    subprocess.run([interpreter(version), "-m", "venv", "--clear", str(folder)], check=True)
    install = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", f"numpy=={numpy}"]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    if done.returncode:
        shutil.rmtree(folder, ignore_errors=True)
        pytest.skip(f"NumPy {numpy} cannot be installed for Python {version}: {done.stderr.strip()[-200:]}")
    return str(python)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    graph = squeezenet(48, 10, bypass=True)
    path = tmp_path_factory.mktemp("bundle") / "net.fire"
    Bundle(graph, Manifest(), Golden.record(graph, pictures(graph, 5))).save(path)
    return path


@pytest.mark.parametrize(("version", "numpy"), [("3.8", "1.20.3"), ("3.12", "1.26.4")])
def test_bundle_on_a_board(bundle: Path, tmp_path: Path, version: str, numpy: str) -> None:
    python = environment(version, numpy)
    done = subprocess.run(
        [python, "-c", PROGRAM, str(bundle), str(tmp_path / "again.fire")],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
