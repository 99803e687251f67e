"""Another seed where nextpnr's router no longer gains, by what nextpnr 0.11.1 wrote of SqueezeNet on xc7z020."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import pytest

from fireflow.hw.bitstream.errors import CheckError
from fireflow.hw.bitstream.process import ToolError
from fireflow.hw.bitstream.routing import FASM, Passes, RoutingOptions, Stalled, route, stalled_seeds
from fireflow.hw.bitstream.steps import Status, Step, run_steps
from fireflow.hw.bitstream.toolbox import Toolbox
from fireflow.hw.bitstream.toolchains.open_tools import OpenOptions
from fireflow.hw.errors import InputError


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split()))


# The shipped ten-class network with seeds 1 and 2: wires overused after each pass of the router.
STANDSTILL = _numbers("38104 12119 4585 2351 1718 1330 936 776 654 647 539 571 508 507 487 463 432 466 499")
LONG_END = _numbers("37486 10549 3305 1598 881 488 265 186 123 115 83 68 50 61 57 44 40 32 29 35 32 28 22")
# A slow end that is one: 6 % less in each pass.
SLOW = tuple(round(38255 * 0.94**number) for number in range(80))

NEXTPNR = """#!{python}
import sys, time
seed = sys.argv[sys.argv.index("--seed") + 1]
for number, overused in enumerate({passes}[seed], 1):
    print(f"Info:     iter={{number}} wires=974869 overused={{overused}} overuse={{overused}} archfail=NA", flush=True)
if {passes}[seed][-1]:
    time.sleep(3600)  # beyond the time that a test may take
for option in sys.argv:
    if option.startswith("fasm="):
        open(option[5:], "w").write("seed " + seed)
"""


def follow(overused: tuple[int, ...]) -> int | None:
    """The pass at which it is given up."""
    passes = Passes()
    for number, wires in enumerate(overused, 1):
        try:
            passes(f"Info:     iter={number} wires=974869 overused={wires} overuse={wires} archfail=NA")
        except Stalled as stalled:
            return number if stalled.overused == min(overused[:number]) else -1
    return None


def test_a_standstill_is_told_from_a_long_end() -> None:
    assert follow(STANDSTILL) == 19
    assert follow((*LONG_END, *[24] * 40, 0)) is None
    assert follow(SLOW) is None
    assert follow((500,) * 8) is None, "eight passes alone tell nothing"
    assert follow((500,) * 9) == 9
    assert follow((200,) * 60) is None


def test_other_lines_count_for_nothing() -> None:
    passes = Passes()
    for line in ("Info: Routing..", "iter=3", "Info:     iter=x wires=1 overused=2", ""):
        passes(line)
    assert passes.overused == []


def run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    passes: dict[str, tuple[int, ...]],
    options: RoutingOptions,
) -> tuple[Path, list[str]]:
    """Routes with a nextpnr that says these passes of its seeds, and never ends where wires are left."""
    program = tmp_path / "bin" / "nextpnr-himbaechel-xilinx"
    program.parent.mkdir()
    program.write_text(NEXTPNR.format(python=sys.executable, passes=passes))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    said: list[str] = []

    def progress(status: Status) -> None:
        said.append(status.detail)

    step = Step(
        "route", lambda work: route(work, Path("netlist.json"), "xc7z020clg400-1", Toolbox(None, {}), options)
    )
    return run_steps([step], tmp_path / "steps", progress)["route"].folder, said


def test_the_next_seed_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passes = {"4": STANDSTILL, "5": (900,) * 9, "6": (37486, 186, 0)}
    folder, said = run(tmp_path, monkeypatch, passes, RoutingOptions(100.0, seed=4))
    assert (folder / FASM).read_text() == "seed 6"
    assert stalled_seeds(folder) == {4: 432, 5: 900}
    assert "seed 4: 432 wires stay overused" in said
    assert "iter=3 wires=974869 overused=0 overuse=0 archfail=NA" in said


def test_one_seed_that_routes_is_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, _ = run(tmp_path, monkeypatch, {"1": (*LONG_END, 0)}, RoutingOptions(100.0))
    assert stalled_seeds(folder) == {}


def test_no_seed_is_an_error_that_says_what_was_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        CheckError,
        match=r"432 with seed 1, 900 with seed 2 overused; try --seed 3, or a smaller design .*route\.log$",
    ):
        run(tmp_path, monkeypatch, {"1": STANDSTILL, "2": (900,) * 9}, RoutingOptions(100.0, seeds=2))
    assert not (tmp_path / "steps" / "route").exists()
    assert "overused=499" in (tmp_path / "steps" / "route.log").read_text()


def test_another_failure_is_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ToolError, match="KeyError: '1'"):
        run(tmp_path, monkeypatch, {"2": (0,)}, RoutingOptions(100.0))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"seeds": 0}, "seeds: must be at least 1, not 0"),
        ({"placer": "best"}, "placer: must be one of static, heap, not 'best'"),
    ],
)
def test_wrong_options(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        OpenOptions(**wrong)  # type: ignore[arg-type]
