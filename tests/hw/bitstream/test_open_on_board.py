"""A bitstream that the open tools made, loaded by the driver through every `pynq` onto the virtual board."""

from __future__ import annotations

from pathlib import Path

import pytest

import fireflow
from tests.host.devices.test_pynq_versions import VERSIONS, pytestmark, run
from tests.hw.bitstream.one_layer import one_layer
from tests.hw.bitstream.open_tools import open_tools

__all__ = ["pytestmark"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    open_tools()
    folder = tmp_path_factory.mktemp("open")
    bundle, output = one_layer(), folder / "z2.fire"
    plan = fireflow.plan(bundle, board="pynq-z2", target_fps=1000, toolchain="open")
    return fireflow.build(bundle, plan, output, toolchain="open", options={"check": "none"}).folder


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.timeout(900)
def test_is_loaded_and_computes(version: str, built: Path, tmp_path: Path) -> None:
    run(version, "Pynq-Z2", tmp_path, "-k", "bits_of_the_open_tools", bundle=built)
