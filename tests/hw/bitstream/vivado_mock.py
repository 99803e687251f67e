"""A `vivado` for the PATH that interprets scripts strictly, and a small design to build with it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from fireflow.hw.dataflow.build import to_dataflow
from fireflow.hw.parts import Board
from fireflow.hw.rtl.shell import write_shell
from fireflow.hw.rtl.stitch import TOP, Design, seal
from tests.hw.networks import squeezenet

HERE = Path(__file__).parent
IMAGE = "weights_0.dat"


def need_tclsh() -> None:
    if shutil.which("tclsh") is None:
        pytest.skip("no tclsh to interpret Vivado's scripts with: install it (Debian: apt install tcl)")


def install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts the mock in front of the PATH."""
    need_tclsh()
    folder.mkdir(exist_ok=True)
    shutil.copy(HERE / "vivado.sh", folder / "vivado")
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("MOCK_MODEL", str(HERE / "vivado.tcl"))
    monkeypatch.delenv("XILINX_VIVADO", raising=False)


def shell(board: Board, folder: Path) -> Design:
    """A real shell around an accelerator that is none: its ports do not matter to Vivado's block design."""
    flow = to_dataflow(squeezenet(size=32, classes=5, narrow=8, stages=(((16, 64),),)))
    inner = folder / "inner"
    inner.mkdir(parents=True)
    (inner / IMAGE).write_text("0\n")
    (inner / f"{TOP}.sv").write_text(f'module {TOP};\n  initial $readmemh("{IMAGE}", words);\nendmodule\n')
    return write_shell(seal(inner, f"{TOP}.sv", []), flow, board, "0" * 64, folder / "shell")
