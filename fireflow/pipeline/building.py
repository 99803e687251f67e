"""From a plan to an accelerator: Verilog, and on to a bitstream."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fireflow.hw import given
from fireflow.hw.bitstream.toolchains import toolchain as toolchain_named
from fireflow.hw.bundle import SUFFIX, Bundle
from fireflow.hw.dataflow.plan import Plan
from fireflow.hw.errors import InputError
from fireflow.hw.files import check_suffix
from fireflow.hw.overwrite import check_bundle, check_hardware, timed
from fireflow.hw.parts.resources import LABELS
from fireflow.hw.remarks import Say, unheard
from fireflow.hw.rtl.stitch import stitch
from fireflow.pipeline.planning import hardware_of

if TYPE_CHECKING:
    from fireflow.hw.bitstream.steps import Progress
    from fireflow.hw.bitstream.toolchains import Result, Toolchain


@dataclass(frozen=True, eq=False)
class Built:
    """What `build` wrote.

    Args:
        folder: the bundle.
        bundle: what is in it, loaded; its hardware has the clock of the bitstream, where there is one.
        bitstream: what the toolchain made; None without one, or where it is to be made elsewhere.
    """

    folder: Path
    bundle: Bundle
    bitstream: Result | None


def build(
    bundle: Bundle,
    plan: Plan,
    output: str | Path,
    *,
    rtl: bool = True,
    toolchain: str | None = None,
    options: Any = None,
    force: bool = False,
    spent_s: float = 0.0,
    say: Say = unheard,
    progress: Progress | None = None,
) -> Built:
    """Writes a bundle with an accelerator: its folding, FIFO depths and Verilog, and a bitstream where one is wanted.

    Args:
        bundle: the network.
        plan: by `plan`, of this bundle.
        output: the folder to write, NAME.fire; an earlier bundle there is replaced if it was quick to make.
        rtl: whether to write Verilog.
        toolchain: `open`, `vivado` or `finn` makes a bitstream.
        options: of the toolchain, by name, as `{"seed": 2}`: those of `fireflow build --help` with underscores; or
            an object of its `Options`.
        force: replace what took longer than a minute to make, too.
        spent_s: processor time in seconds that the plan took, for the bundle to tell what replacing it would lose.
        say: told what the toolchain does not do and why, and where files are.
        progress: told how far the toolchain's steps are.

    Raises:
        InputError: the plan does not fit its board, something of worth is at `output`, a toolchain without RTL
            or with options that it does not have, a tool that is missing, or a board that the tools do not know.
        ToolFailure: a tool failed, or made what is wrong.
    """
    given.instance("bundle", bundle, Bundle, "load it with load_bundle")
    given.instance("plan", plan, Plan, "make it with plan")
    target = check_suffix(given.path("output", output), SUFFIX)
    if not plan.graph.same(bundle.graph):
        raise InputError(
            f"plan: must be of the network of the bundle, {bundle.graph.name}, not of {plan.graph.name} with other "
            "numbers or layers; make it with plan"
        )
    if not rtl and toolchain is not None:
        raise InputError("no-rtl: a bitstream needs RTL; leave --no-rtl or --toolchain out")
    if not plan.fits:
        over = " and ".join(LABELS[name] for name in plan.excess)
        raise InputError(
            f"{target}: the plan must fit {plan.budget:.0%} of {plan.board.name}, not exceed it in {over}; fold it "
            "less, or take a larger board"
        )
    tool = None if toolchain is None else toolchain_named(toolchain)
    if tool is not None:
        options = _options(tool, options)
        tool.check(plan.board, options)
    hardware = hardware_of(plan)
    check_bundle(target, force, hardware_too=True)
    check_hardware(target, force, hardware)
    began, made = time.process_time(), None
    with tempfile.TemporaryDirectory() as scratch:
        sources, extra = None, {}
        if rtl:
            design = stitch(plan.flow, hardware.part, hardware.clock_ns, Path(scratch) / "rtl")
            sources = design.folder
        # Of folding and Verilog; the bitstream has a record of its own.
        seconds = spent_s + time.process_time() - began
        if tool is not None:
            made = tool.build(bundle, hardware, design, options, say=say, progress=progress)
        if made is not None:
            hardware = replace(hardware, clock_mhz=made.clock_mhz)
            extra = made.files(target.name[: -len(SUFFIX)], Path(scratch))
        built = timed(bundle.with_hardware(hardware), "build", seconds).save(target, sources, extra)
    return Built(target, built, made)


def _options(tool: Toolchain[Any], options: Any) -> Any:
    """An object of the toolchain's `Options`. Raises InputError for a name that it does not have."""
    if options is not None and not isinstance(options, Mapping):
        return options
    known, given = [field.name for field in fields(tool.Options)], options or {}
    for name in given:
        if name not in known:
            raise InputError(f"options: must be of {', '.join(known)}, not {name!r}; correct the name")
    return tool.Options(**given)
