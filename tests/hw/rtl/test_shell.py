"""The shell: DMAs and registers against cocotbext-axi's models, and with an accelerator between memory and memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import find_libpython
import numpy as np
import pytest

from fireflow.hw.dataflow.build import to_dataflow
from fireflow.hw.dataflow.fifo import fifo_depths
from fireflow.hw.dataflow.network import Dataflow
from fireflow.hw.dataflow.schedule import Timing
from fireflow.hw.errors import InputError
from fireflow.hw.graph import Graph
from fireflow.hw.packing import pack_bits
from fireflow.hw.parts import board
from fireflow.hw.rtl.shell import SHELL, content_hash, frame_bytes, write_shell
from fireflow.hw.rtl.simulate import modelled
from fireflow.hw.rtl.stitch import Design, stitch
from fireflow.hw.tools.cxx import Compilers
from fireflow.hw.tools.yosys import resources
from tests.hw.networks import squeezenet
from tests.hw.rtl.cocotb_run import build, run
from tests.hw.rtl.shell_cases import SHELL_SOURCES, write_bench, write_ps7

SIZE, CLASSES = 15, 10
cocotb = pytest.mark.skipif(
    find_libpython.find_libpython() is None,
    reason="cocotb needs Python as a shared library (Debian: apt install libpython3.11)",
)


@dataclass
class Accelerator:
    graph: Graph
    dataflow: Dataflow
    design: Design


@pytest.fixture(scope="module")
def accelerator(tmp_path_factory: pytest.TempPathFactory) -> Accelerator:
    graph = squeezenet(size=SIZE, classes=CLASSES, narrow=8, stages=(), seed=6)
    folding = {"conv1": {"pe": 2, "simd": 3}, "conv10": {"pe": 1, "simd": 2}}
    plain = to_dataflow(graph, folding)
    dataflow = plain.with_fifos(fifo_depths(Timing(plain, "xc7")).depths)
    design = stitch(dataflow, board("pynq-z2").part, 10.0, tmp_path_factory.mktemp("rtl"))
    return Accelerator(graph, dataflow, design)


@cocotb
@pytest.mark.timeout(900)
def test_transfers_errors_and_resets(tmp_path: Path) -> None:
    program = build("bench", write_bench(tmp_path), tmp_path)
    passed = run(program, "bench", "tests.hw.rtl.shell_cocotb", tmp_path, {})
    assert len(passed) >= 38
    passed = run(program, "bench", "tests.hw.rtl.tags_cocotb", tmp_path, {})
    assert len(passed) >= 18


@cocotb
@pytest.mark.timeout(900)
def test_accelerator_from_memory_to_memory(accelerator: Accelerator, tmp_path: Path) -> None:
    flow, digest = accelerator.dataflow, content_hash(accelerator.design)
    design = write_shell(accelerator.design, flow, board("pynq-z2"), digest, tmp_path / "rtl")
    images = np.random.default_rng(1).integers(0, 256, (3, SIZE, SIZE, 3), np.uint8)
    scores = accelerator.graph.run(images)
    assert len(np.unique(scores, axis=0)) == len(scores)
    timing = Timing(flow, "xc7")
    case = tmp_path / "case.npz"
    np.savez(
        case,
        images=pack_bits(images.reshape(-1, flow.input.lanes), 8, False).reshape(len(images), -1),
        scores=scores,
        word_bytes=flow.output.tdata_bits // 8,
        bits=flow.output.bits,
        lanes=flow.output.lanes,
        signed=flow.output.signed,
        hash=digest,
        interval=timing.interval,
        latency=timing.latency,
    )
    sources = [*modelled(design)[:-1], *write_ps7(tmp_path), design.paths[-1]]
    program = build(design.top, sources, tmp_path, public=["PS7"])
    passed = run(program, design.top, "tests.hw.rtl.zynq_cocotb", design.folder, {"FIREFLOW_CASE": str(case)})
    assert len(passed) == 5


@pytest.mark.parametrize(("name", "top"), [("pynq-z1", "fireflow_z7"), ("ultra96-v2", SHELL)])
def test_what_is_written(name: str, top: str, accelerator: Accelerator, tmp_path: Path) -> None:
    flow, digest = accelerator.dataflow, content_hash(accelerator.design)
    design = write_shell(accelerator.design, flow, board(name), digest, tmp_path / "rtl")
    assert design.top == top
    again = write_shell(accelerator.design, flow, board(name), digest, tmp_path / "again")
    assert [path.read_bytes() for path in again.paths] == [path.read_bytes() for path in design.paths]
    wrapper = (design.folder / f"{SHELL}.v").read_text()
    assert f"256'h{digest}" in wrapper
    assert f".IN_FRAME_BYTES({SIZE * SIZE * 3})" in wrapper
    assert f".OUT_FRAME_BYTES({frame_bytes(flow.output)})" in wrapper
    # Every port once, and Verilog 2001 alone: Vivado takes no SystemVerilog as the top of a block's module.
    tools, log = Compilers.find(), tmp_path / "lint"
    options = ["--lint-only", "--language", "1364-2001", "-Wno-fatal", "--bbox-unsup", "--top-module", SHELL]
    stubs = tmp_path / "stubs.v"
    stubs.write_text("module shell; endmodule\nmodule accelerator; endmodule\n")
    with pytest.raises(Exception, match="PINNOTFOUND"):  # of the stubs alone: the text was understood
        tools.translate([*options, str(design.folder / f"{SHELL}.v"), str(stubs)], log)


def test_hash_tells_designs_apart(accelerator: Accelerator, tmp_path: Path) -> None:
    digest = content_hash(accelerator.design)
    for path in sorted(accelerator.design.folder.rglob("*")):
        if path.is_file() and path.suffix in (".dat", ".hex"):
            text = path.read_text()
            path.write_text(text.replace(text[0], "0" if text[0] != "0" else "1", 1))
            assert content_hash(accelerator.design) != digest
            path.write_text(text)
            break
    else:
        raise AssertionError("there must be a memory image")
    assert content_hash(accelerator.design) == digest


def test_wrong_arguments(accelerator: Accelerator, tmp_path: Path) -> None:
    design, flow = accelerator.design, accelerator.dataflow
    with pytest.raises(InputError, match="shell: the hash must be 64 digits of SHA-256, not 'abc'"):
        write_shell(design, flow, board("kv260"), "abc", tmp_path / "rtl")
    (tmp_path / "note").write_text("mine")
    with pytest.raises(InputError, match="the folder of a shell must be empty"):
        write_shell(design, flow, board("kv260"), "0" * 64, tmp_path)


@pytest.mark.parametrize(("part_family", "bus", "most"), [("xc7", (8, 32), 1700), ("xcup", (16, 64), 1950)])
def test_it_stays_small(part_family: str, bus: tuple[int, int], most: int) -> None:
    parameters = {"BUS_BYTES": bus[0], "ADDRESS_BITS": bus[1], "IN_WORD_BYTES": 3, "OUT_WORD_BYTES": 3}
    parameters |= {"IN_FRAME_BYTES": 224 * 224 * 3, "OUT_FRAME_BYTES": 30, "QUIET": 2112}
    counted = resources("shell", SHELL_SOURCES, part_family, parameters=parameters)
    assert counted.used.lut <= most, "the networks need the rest"
    assert (counted.used.bram36, counted.used.uram, counted.used.dsp) == (0, 0, 0)
