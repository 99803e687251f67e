"""A bitstream that the open tools made, loaded by the driver through every `pynq` onto the virtual board."""

from __future__ import annotations

from pathlib import Path

import pytest

from fireflow.host.cli import main
from tests.host.devices.test_pynq_versions import VERSIONS, pytestmark, run
from tests.hw.bitstream.one_layer import build_command, one_layer
from tests.hw.bitstream.open_tools import open_tools

__all__ = ["pytestmark"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    open_tools()
    folder = tmp_path_factory.mktemp("open")
    lowered, output = folder / "one-layer.fire", folder / "z2.fire"
    one_layer().save(lowered)
    assert main([*build_command(lowered, output), "--check", "none"]) == 0
    return output


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.timeout(900)
def test_is_loaded_and_computes(version: str, built: Path, tmp_path: Path) -> None:
    run(version, "Pynq-Z2", tmp_path, "-k", "bits_of_the_open_tools", bundle=built)
