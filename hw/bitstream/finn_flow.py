"""FINN's own builder as a step: for those who want its shell and its kernels. It needs Vivado and Vitis HLS."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from fireflow.hw.bitstream.process import ToolError
from fireflow.hw.bitstream.steps import Step, Work
from fireflow.hw.bitstream.vivado_reports import read_timing
from fireflow.hw.cache import content_key
from fireflow.hw.errors import InputError

BITSTREAM, HWH, TIMING = "finn-accel.bit", "finn-accel.hwh", "post_route_timing.rpt"
_COMMAND = ("build", "--batch", "build.json", "model.onnx")
_RUN = """\
#!/bin/sh
# FINN's builder on this folder, with Vivado and Vitis HLS set up (source their settings64.sh) and finn-plus installed.
# {hls}
set -eu
cd "$(dirname "$0")"
exec finn {command}
"""
_ESTIMATE_S = 4 * 3600.0


@dataclass(frozen=True)
class FinnBuilder:
    """The program `finn` of finn-plus, and what identifies it and the tools that it finds."""

    program: Path
    identity: str

    @classmethod
    def find(cls) -> FinnBuilder:
        """The one of this Python, else the one on the PATH.

        Raises:
            InputError: it, Vivado or Vitis HLS is missing; says which.
        """
        own = Path(sys.executable).with_name("finn")
        program = str(own) if own.is_file() else shutil.which("finn")
        missing = [] if program else ["finn-plus (pip install 'fireflow[finn]')"]
        missing += [
            f"{tool} (${variable})"
            for tool, variable in (("Vivado", "XILINX_VIVADO"), ("Vitis HLS", "XILINX_HLS"))
            if not os.environ.get(variable)
        ]
        if missing or program is None:
            raise InputError(
                f"FINN: its builder must find {' and '.join(missing)}, and does not; source their settings64.sh, or "
                "add --scripts-only and run the folder where they are (see `fireflow doctor`)"
            )
        return cls(Path(program), f"{os.environ['XILINX_VIVADO']} {os.environ['XILINX_HLS']}")


def write_script(folder: Path, hls: tuple[str, ...]) -> None:
    """Adds `run.sh` to the folder that `hw.finn.hand_over` wrote."""
    listed = f"Built with Vitis HLS: {', '.join(hls)}." if hls else "Nothing here needs Vitis HLS."
    script = folder / "run.sh"
    script.write_text(_RUN.format(hls=listed, command=" ".join(_COMMAND)), encoding="utf-8")
    script.chmod(0o755)


def finn_steps(builder: FinnBuilder, folder: Path, limit_s: float | None = None) -> list[Step]:
    """The one step from a folder of `hw.finn.hand_over` to a bitstream."""
    files = sorted(path for path in folder.iterdir() if path.is_file())

    def run(work: Work) -> None:
        for path in files:
            shutil.copy(path, work.folder)
        command = [str(builder.program), *_COMMAND]
        work.tool(command, timeout_s=limit_s, on_line=lambda line: work.say(line.strip()[:60]))
        check(work.folder)

    key = content_key([builder.identity, *files])
    return [Step("finn", run, (key,), _ESTIMATE_S)]


def check(folder: Path) -> dict[str, Path]:
    """Bitstream, hardware description and timing report that FINN's builder left, by name.

    Raises:
        ToolError: one is missing, or the timing is not met.
    """
    places = {
        BITSTREAM: folder / "output" / "bitfile" / BITSTREAM,
        HWH: folder / "output" / "bitfile" / HWH,
        TIMING: folder / "output" / "report" / TIMING,
    }
    for path in places.values():
        if not path.is_file():
            raise ToolError(f"finn: its builder must write {path}, and did not; see {folder / 'output'}")
    timing = read_timing(places[TIMING])
    if not timing.met:
        raise ToolError(
            f"finn: timing must be met, not missed by {-min(timing.setup_ns, timing.hold_ns):.3f} ns; build with a "
            f"lower --clock-mhz, see {places[TIMING]}"
        )
    return places
