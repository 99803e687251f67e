"""The tiny network in every form that there is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import fireflow
from tests.host.tiny import write_pictures, write_weights


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the files below; nothing else may be written there."""
    return tmp_path_factory.mktemp("cli")


@pytest.fixture(autouse=True, scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Decoded pictures and what else is cached go to a folder of this run, which its processes share."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache"
    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield


@pytest.fixture(scope="session")
def weights(work: Path) -> Path:
    return write_weights(work / "tiny.npz")


@pytest.fixture(scope="session")
def pictures(work: Path) -> Path:
    return write_pictures(work / "pictures", 12)


@pytest.fixture(scope="session")
def model(work: Path, weights: Path, pictures: Path) -> Path:
    path = work / "tiny.fireq"
    fireflow.quantize(weights, pictures, output=path, policy="w4a4", calibration_images=8)
    return path


@pytest.fixture(scope="session")
def qonnx(work: Path, model: Path, pictures: Path) -> Path:
    path = work / "exported" / "tiny.qonnx.onnx"
    fireflow.export(model, path, images=pictures, golden=2)
    return path


@pytest.fixture(scope="session")
def bundle(work: Path, qonnx: Path, pictures: Path) -> Path:
    path = work / "tiny.fire"
    fireflow.lower(qonnx, images=pictures).save(path)
    return path
