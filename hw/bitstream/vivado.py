"""From an accelerator in its shell to a bitstream by Vivado: scripts, and steps that resume.

Vivado gets RTL and nothing else; Vitis HLS is not used. The scripts in `tcl/` and the sources make a folder of their
own, which also runs by itself (`run.sh`) on a machine that has Vivado and no Fireflow.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fireflow.hw.bitstream.process import ToolError
from fireflow.hw.bitstream.steps import Step, Work
from fireflow.hw.bitstream.vivado_reports import (
    Figures,
    check_bitstream,
    check_description,
    check_images,
    check_timing,
    first_error,
    judge,
)
from fireflow.hw.bitstream.vivado_settings import settings
from fireflow.hw.cache import content_key
from fireflow.hw.errors import InputError
from fireflow.hw.files import PathLike, read_tool_json
from fireflow.hw.parts import FAMILIES, Board
from fireflow.hw.parts.clocks import reachable_mhz
from fireflow.hw.rtl.shell import SHELL
from fireflow.hw.rtl.stitch import Design

SCRIPTS = Path(__file__).with_name("tcl")
OLDEST = (2021, 1)
"""The first version with the parts of all boards; K26, of the KV260, came last."""
RTL, KEY, BITSTREAM, HWH = "rtl", "key", "fireflow.bit", "fireflow.hwh"
REPORTS = ("timing.rpt", "route_status.rpt", "utilization.rpt", "power.rpt")
_FIGURES = "figures.json"
# For the user to see; from designs of this size on common machines. Nothing depends on it.
_ESTIMATES_S = {"synth": 1800.0, "place": 1800.0, "route": 1800.0, "timing": 60.0, "bitstream": 120.0}
# Of messages which say that something does not fit.
_FULL = ("[Place 30-640]", "[DRC UTLZ-")


@dataclass(frozen=True)
class Vivado:
    """An installation.

    Args:
        program: `vivado`.
        version: such as "2023.2".
    """

    program: Path
    version: str

    @classmethod
    def find(cls) -> Vivado:
        """The one on the PATH, else that of $XILINX_VIVADO.

        Raises:
            InputError: there is none, or it is too old.
        """
        found = shutil.which("vivado")
        if found is None and os.environ.get("XILINX_VIVADO"):
            found = shutil.which("vivado", path=str(Path(os.environ["XILINX_VIVADO"]) / "bin"))
        if found is None:
            raise InputError(
                "Vivado: `vivado` must be on the PATH, and is not; source its settings64.sh, or add --scripts-only "
                "and run the folder where Vivado is (see `fireflow doctor`)"
            )
        text = _ask(found)
        version = re.search(r"[Vv]ivado v(\d{4})\.(\d)", text)
        if version is None:
            first = (text.splitlines() or ["nothing"])[0]
            raise InputError(
                f"{found}: `vivado -version` must say its version, not {first!r}; install it again"
            )
        number = (int(version[1]), int(version[2]))
        if number < OLDEST:
            raise InputError(
                f"{found}: Vivado must be {OLDEST[0]}.{OLDEST[1]} or newer, not {number[0]}.{number[1]}; update it"
            )
        return cls(Path(found), f"{number[0]}.{number[1]}")

    def run(
        self, work: Work, script: Path, arguments: Sequence[str | Path], where: Path, limit_s: float | None
    ) -> None:
        """Runs a script in a folder. Raises ToolError, which quotes Vivado's first error."""
        command = [
            str(self.program),
            "-mode",
            "batch",
            "-notrace",
            "-nojournal",
            "-nolog",
            "-source",
            str(script),
        ]
        try:
            work.tool(
                [*command, "-tclargs", *map(str, arguments)],
                cwd=where,
                timeout_s=limit_s,
                on_line=lambda line: _report(line, work.say),
            )
        except ToolError as error:
            found = first_error(work.log)
            if found is None:
                raise ToolError(f"{script.stem}: {error}") from None
            advice = "; build with a smaller --budget" if any(sign in found for sign in _FULL) else ""
            raise ToolError(f"{script.stem}: vivado: {found}{advice}; see {work.log}") from None


@dataclass(frozen=True)
class Acceptance:
    """How a design is judged.

    Args:
        lower_clock: take the highest clock at which a design that misses its own meets timing.
        ignore_timing: make a bitstream even so.
        limit_s: seconds after which a run of Vivado is ended.
    """

    lower_clock: bool = False
    ignore_timing: bool = False
    limit_s: float | None = None


def write_scripts(design: Design, board: Board, clock_mhz: float, folder: PathLike) -> None:
    """Writes a folder that makes a bitstream wherever Vivado is: sources, Tcl, `run.sh`.

    Args:
        design: that `hw.rtl.shell.write_shell` wrote.
        clock_mhz: see `hw.parts.clocks.reachable_mhz`.
        folder: exists and is empty, or is made.

    Raises:
        InputError: a clock that the processing system cannot give, or as `settings`.
    """
    possible = reachable_mhz(board.family, clock_mhz)
    if abs(possible - clock_mhz) > 1e-3 * clock_mhz:
        raise InputError(
            f"{board.name}: the clock must be a part of its PLL's, not {clock_mhz:g} MHz; take {possible:.6g} MHz"
        )
    target = Path(folder)
    shutil.copytree(design.folder, target / RTL)
    for path in sorted(SCRIPTS.iterdir()):
        shutil.copy(path, target / path.name)
    own = {FAMILIES[board.family].shell_top} - {
        SHELL
    }  # with the processing system: Vivado's block design has that
    sources = [name for name in design.sources if Path(name).stem not in own]
    (target / "settings.tcl").write_text(settings(board, clock_mhz, sources), encoding="utf-8")
    (target / KEY).write_text(folder_key(target) + "\n", encoding="utf-8")


def folder_key(folder: Path) -> str:
    """A name for the content of a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return content_key([part for path in files for part in (path.relative_to(folder).as_posix(), path)])


def vivado_steps(
    vivado: Vivado, scripts: Path, board: Board, clock_mhz: float, options: Acceptance
) -> list[Step]:
    """The steps from a folder of `write_scripts` to a bitstream; see `results` for what they leave."""
    key = (scripts / KEY).read_text(encoding="utf-8")

    def synth(work: Work) -> None:
        shutil.copytree(scripts / RTL, work.folder / RTL)
        vivado.run(work, scripts / "synth.tcl", [work.folder], work.folder / RTL, options.limit_s)
        check_images(work.log)
        check_description(work.folder / HWH, board)
        # All that counts is in the checkpoint.
        shutil.rmtree(work.folder / RTL)
        shutil.rmtree(work.folder / "project", ignore_errors=True)

    def after(before: str, name: str) -> Callable[[Work], None]:
        def run(work: Work) -> None:
            arguments = [work.done[before], work.folder]
            vivado.run(work, scripts / f"{name}.tcl", arguments, work.folder, options.limit_s)

        return run

    def timing(work: Work) -> None:
        figures = judge(work.done["route"], clock_mhz)
        if not figures.timing.met and options.lower_clock:
            figures = _slower(vivado, scripts, board, figures, work, options)
        if not options.ignore_timing:
            check_timing(figures, board)
        (work.folder / _FIGURES).write_text(json.dumps(figures.to_json(), indent=1) + "\n", encoding="utf-8")

    def bitstream(work: Work) -> None:
        routed = _routed(work.done["route"], work.done["timing"])
        vivado.run(work, scripts / "bitstream.tcl", [routed, work.folder], work.folder, options.limit_s)
        check_bitstream(work.folder / BITSTREAM)

    judged = f"{options.lower_clock} {options.ignore_timing}"
    return [
        Step("synth", synth, (key, vivado.version), _ESTIMATES_S["synth"]),
        Step("place", after("synth", "place"), (), _ESTIMATES_S["place"]),
        Step("route", after("place", "route"), (), _ESTIMATES_S["route"]),
        Step("timing", timing, (judged,), _ESTIMATES_S["timing"]),
        Step("bitstream", bitstream, (), _ESTIMATES_S["bitstream"]),
    ]


@dataclass(frozen=True)
class Results:
    """What a build by Vivado leaves.

    Args:
        bitstream: the .bit file.
        figures: as `Figures.to_json`.
        reports: Vivado's, and its description of the hardware, by the name for the bundle.
    """

    bitstream: Path
    figures: Mapping[str, Any]
    reports: Mapping[str, Path]


def results(done: Mapping[str, Path]) -> Results:
    """The results of the steps' folders."""
    routed = _routed(done["route"], done["timing"])
    figures = read_tool_json(done["timing"] / _FIGURES)
    return Results(done["bitstream"] / BITSTREAM, figures, _reports(done["synth"], routed))


def import_results(
    folder: PathLike, key: str, board: Board, clock_mhz: float, options: Acceptance
) -> Results:
    """The results of a folder of `write_scripts` whose `run.sh` ended, with all checks of the steps.

    Args:
        key: of the folder that this build would write.

    Raises:
        InputError: the folder is of another build, or its `run.sh` has not ended.
        ToolError: as the steps.
    """
    out = Path(folder) / "out"
    done = {name: out / name for name in ("synth", "place", "route", "bitstream")}
    for name, place in done.items():
        if not (place / KEY).is_file():
            raise InputError(
                f"{place}: the step must be done, and {name} is not; run {Path(folder) / 'run.sh'} first"
            )
        if (place / KEY).read_text(encoding="utf-8") != key:
            raise InputError(
                f"{place}: the results must be of this network, board and clock, not of others; "
                "write the scripts again with the same options"
            )
    check_images(out / "synth.log")
    check_description(done["synth"] / HWH, board)
    figures = judge(done["route"], clock_mhz)
    if not options.ignore_timing:
        check_timing(figures, board, here=False)
    check_bitstream(done["bitstream"] / BITSTREAM)
    reports = _reports(done["synth"], done["route"])
    return Results(done["bitstream"] / BITSTREAM, figures.to_json(), reports)


def _slower(
    vivado: Vivado, scripts: Path, board: Board, figures: Figures, work: Work, options: Acceptance
) -> Figures:
    """The same wires at the highest clock at which they meet timing; hold times do not depend on the clock."""
    lowest = figures.fmax_mhz / 2
    clock_mhz = reachable_mhz(board.family, figures.fmax_mhz)
    while not figures.timing.met and figures.timing.hold_ns >= 0 and clock_mhz > lowest:
        work.say(f"{clock_mhz:.6g} MHz")
        period_ns = math.floor(1e6 / clock_mhz) / 1e3  # whole picoseconds, and none too many
        arguments: list[str | Path] = [work.done["route"], work.folder, f"{period_ns:.3f}"]
        vivado.run(work, scripts / "retime.tcl", arguments, work.folder, options.limit_s)
        figures = judge(work.folder, clock_mhz)
        clock_mhz = reachable_mhz(board.family, clock_mhz * 0.999)
    return figures


def _reports(synth: Path, routed: Path) -> dict[str, Path]:
    return {HWH: synth / HWH, **{name: routed / name for name in REPORTS}}


def _routed(route: Path, timing: Path) -> Path:
    """The folder of the routed design that counts: the one at a lower clock, if there is one."""
    return timing if (timing / "routed.dcp").is_file() else route


def _report(line: str, say: Callable[[str], None]) -> None:
    found = re.match(r"(?:Phase [\d.]+ |Starting |Start )(.+)", line)
    if found is not None:
        say(found[1].strip())


def _ask(program: str) -> str:
    try:
        done = subprocess.run(
            [program, "-version"], capture_output=True, text=True, errors="replace", timeout=120
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(f"{program}: `vivado -version` must answer ({error}); install it again") from None
    return done.stdout
