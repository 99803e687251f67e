"""cocotb on Verilator: builds a design and runs a module of tests inside the simulation."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

import cocotb_tools.config
import find_libpython

from fireflow.hw.cache import cache_folder, content_key, made_once
from fireflow.hw.tools.cxx import SWITCHES, Compilers, execute

ROOT = Path(__file__).resolve().parents[3]


def build(top: str, sources: Sequence[Path], folder: Path, public: Sequence[str] = ()) -> Path:
    """The simulation of a design, or the one from the cache.

    Args:
        top: the module whose ports the tests drive.
        sources: packages first.
        folder: where the cache has nothing yet, the design's memory images are read from the current folder at the run.
        public: further modules whose variables the tests drive.
    """
    tools = Compilers.find()
    main = cocotb_tools.config.share_dir / "lib" / "verilator" / "verilator.cpp"
    settings = folder / "public.vlt"
    modules = "".join(f'public_flat_rw -module "{name}" -var "*"\n' for name in (top, *public))
    settings.write_text(f"`verilator_config\n{modules}")
    options = ["--cc", "--vpi", "--timing", "--assert", "--prefix", "Vtop", "--top-module", top, "-Wno-fatal"]
    options += ["--timescale", "1ns/1ps", "--x-assign", "unique", "--x-initial", "unique"]
    key = content_key([tools.identity, *options, Path(__file__), main, settings, *sources])

    def make(temporary: Path) -> None:
        cpp = temporary / "cpp"
        tools.translate([*options, str(settings), *map(str, sources)], cpp)
        include = tools.root / "include"
        library = [include / f"verilated{part}.cpp" for part in ("", "_threads", "_vpi", "_timing")]
        flags = [f"-DVM_{switch}={int(switch == 'TIMING')}" for switch in SWITCHES]
        flags += [f"-I{path}" for path in (cpp, include, include / "vltstd")]
        own = cpp / "single.cc"
        own.write_text("".join(f'#include "{path}"\n' for path in [main, *sorted(cpp.glob("*.cpp"))]))
        libs = cocotb_tools.config.libs_dir
        link = [f"-L{libs}", f"-Wl,-rpath,{libs}", "-lcocotbvpi_verilator", "-pthread", "-lgpi"]
        command = [tools.compiler, "-std=c++20", "-O0", "-w", *flags, str(own), *map(str, library), *link]
        execute([*command, "-o", str(temporary / "sim")])
        own.unlink()

    return made_once(cache_folder("cocotb") / f"{top}-{key}", "sim", make) / "sim"


def run(program: Path, top: str, module: str, folder: Path, environment: Mapping[str, str]) -> list[str]:
    """Runs the cocotb tests of a module of ours in a folder; the names of those that passed.

    Raises:
        AssertionError: a test failed, or the simulation ended by itself; with the end of its log.
    """
    results = folder / "results.xml"
    done = subprocess.run(
        [str(program)],
        cwd=folder,
        env={
            **os.environ,
            **environment,
            "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
            "PYGPI_PYTHON_BIN": sys.executable,
            "GPI_USERS": f"{find_libpython.find_libpython()};{cocotb_tools.config.pygpi_entry_point()}",
            "COCOTB_TOPLEVEL": top,
            "COCOTB_TEST_MODULES": module,
            "COCOTB_RESULTS_FILE": str(results),
            "COCOTB_TRUST_INERTIAL_WRITES": "1",
            "COCOTB_ANSI_OUTPUT": "0",
            "COCOTB_LOG_LEVEL": "WARNING",
            "GPI_LOG_LEVEL": "WARNING",
            "TOPLEVEL_LANG": "verilog",
            "PYTHONWARNINGS": "ignore::DeprecationWarning",  # cocotbext-axi uses names that cocotb renamed
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    tail = done.stdout[-6000:]
    assert results.is_file(), f"the simulation ended by itself, exit code {done.returncode}:\n{tail}"
    cases = list(ElementTree.parse(results).getroot().iter("testcase"))
    wrong = [
        case.get("name")
        for case in cases
        if case.find("failure") is not None or case.find("error") is not None
    ]
    assert not wrong, f"failed: {wrong}:\n{tail}"
    assert cases, tail
    assert done.returncode == 0, f"exit code {done.returncode}:\n{tail}"
    return [str(case.get("name")) for case in cases]
