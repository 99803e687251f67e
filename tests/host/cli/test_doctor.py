"""`fireflow doctor`: programs that are here, missing or no use, and the way to install them on each system."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from fireflow.host.cli import main
from fireflow.pipeline import systems


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without any of the programs; the folder on its PATH."""
    path = tmp_path / "bin"
    path.mkdir()
    monkeypatch.setenv("PATH", str(path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for variable in ("XILINX_VIVADO", "XILINX_HLS", "FIREFLOW_OPEN_TOOLS"):
        monkeypatch.delenv(variable, raising=False)
    return path


def put(folder: Path, name: str, text: str) -> None:
    program = folder / name
    program.write_text(f"#!/bin/sh\necho '{text}'\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


def asked(capsys: pytest.CaptureFixture[str]) -> Any:
    capsys.readouterr()
    assert main(["doctor", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_nothing_is_here(bare: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = asked(capsys)
    missing = {row["tool"] for row in found["programs"] if row["version"] is None}
    assert {
        "C++ compiler",
        "yosys",
        "prjxray-database",
        "debootstrap",
        "Vivado",
        "Vitis HLS",
        "Tcl",
    } <= missing
    assert found["toolchains"] == {"open": False, "vivado": False, "finn": False}
    for row in found["programs"]:
        assert set(row["install"]) == set(systems.SYSTEMS)
        assert row["adds"]


@pytest.mark.parametrize(
    ("system", "compiler"),
    [
        ("debian", "apt install g++"),
        ("ubuntu", "apt install g++"),
        ("fedora", "dnf install gcc-c++"),
        ("nix", "nix-shell -p gcc"),
    ],
)
def test_commands_of_each_system(
    system: str, compiler: str, bare: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "--system", system]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "build --toolchain can use: none of open, vivado and finn"
    assert f"C++ compiler, on {system}: {compiler}" in lines
    names = "yosys, nextpnr-himbaechel-xilinx, nextpnr-himbaechel-xilinx-chipdb, prjxray, prjxray-database"
    assert sum(line.startswith(f"{names}, on {system}: ") for line in lines) == 1  # one command for all


def test_what_is_here_has_its_version(bare: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(bare, "c++", "c++ (GCC) 14.2.1 20250110")
    put(bare, "vivado", "vivado v2023.2 (64-bit)")
    put(bare, "yosys", "Yosys 0.66 (git sha1 1234)")
    found = asked(capsys)
    versions = {row["tool"]: row["version"] for row in found["programs"]}
    assert versions["C++ compiler"] == "14.2.1"
    assert versions["Vivado"] == "2023.2"
    assert versions["yosys"] == "0.66"
    assert found["toolchains"] == {"open": False, "vivado": True, "finn": False}


def test_what_is_no_use(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put(bare, "vivado", "Vivado v2018.3 (64-bit)")
    monkeypatch.setenv("FIREFLOW_OPEN_TOOLS", str(tmp_path))
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert "must be 2021.1 or newer, not 2018.3" in text
    assert f"{tmp_path}: a folder of open tools must have" in text
    rows = {line.split()[0]: line.split()[1] for line in text.splitlines() if line}
    assert rows["Vivado"] == rows["yosys"] == "unfit"
    assert asked(capsys)["toolchains"]["vivado"] is False


@pytest.mark.parametrize(
    ("text", "system"),
    [
        ('ID=debian\nVERSION_ID="12"\n', "debian"),
        ("ID=linuxmint\nID_LIKE=ubuntu\n", "ubuntu"),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\n', "fedora"),
        ("ID=nixos\n", "nix"),
        ("ID=arch\n", None),
    ],
)
def test_this_system(text: str, system: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda *_args, **_options: text)
    assert systems.this_system() == system
