"""The open tools: found where they are, installed from a mock of Debian, run by the loader of their own tree."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from fireflow.hw.bitstream.process import ToolError
from fireflow.hw.bitstream.toolbox import PACKAGES, PROGRAMS, VARIABLE, Toolbox, default_folder, install
from fireflow.hw.errors import InputError
from tests.hw.bitstream.debian_mock import mock_debian


@pytest.fixture
def mocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return mock_debian(tmp_path, monkeypatch)


def test_install_and_run(mocks: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="and are not on PATH nor in"):
        Toolbox.find()
    folder = default_folder()
    assert folder == tmp_path / "cache/fireflow/toolchains/open"
    install(folder, tmp_path / "log", lambda text: None)
    assert not (folder / "var").exists()
    (call,) = (mocks / "calls").read_text().splitlines()
    assert call.startswith(f"--foreign --variant=minbase --include={','.join(PACKAGES)} testing ")
    tools = Toolbox.find()
    assert tools.versions == dict.fromkeys(PACKAGES, "1.0-2")
    assert tools.environment == {"PYTHONHOME": str(folder / "usr")}
    assert tools.database.is_dir()
    for program in PROGRAMS:
        done = subprocess.run(tools.command(program, "-a", "b c"), check=True, capture_output=True, text=True)
        assert done.stdout == f"{program} -a b c\n"
    assert tools.root == folder


def test_a_failed_install_leaves_nothing(
    mocks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOCK_FAILS", "1")
    folder = tmp_path / "tools"
    with pytest.raises(ToolError, match=r"E: Failed getting release file; see .*log"):
        install(folder, tmp_path / "log", lambda text: None)
    assert not folder.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "mocks"]


def test_a_named_folder_comes_first(mocks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "tools"
    install(folder, tmp_path / "log", lambda text: None)
    monkeypatch.setenv(VARIABLE, str(folder))
    assert Toolbox.find().root == folder
    (folder / "usr/bin/bitread").unlink()
    with pytest.raises(InputError, match=r"a folder of open tools must have usr/bin/bitread, and has not"):
        Toolbox.find()


def test_tools_on_the_path(mocks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for program in PROGRAMS:
        (mocks / program).write_text(f"#!/bin/sh\necho {program} 3.1\necho of today\n")
        (mocks / program).chmod(0o755)
    monkeypatch.setattr("fireflow.hw.bitstream.toolbox._DATABASE", Path("usr"))  # a folder that is everywhere
    tools = Toolbox.find()
    assert tools.root is None
    assert tools.versions == {name: f"{name} 3.1" for name in ("yosys", "nextpnr-himbaechel-xilinx")}
    assert tools.command("bitread", "-z") == ["bitread", "-z"]
    assert tools.environment == {}


def test_without_debootstrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"^debootstrap: must be installed, and is not; install it"):
        install(tmp_path / "tools", tmp_path / "log", lambda text: None)
