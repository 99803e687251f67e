"""FINN's kernels as generated: what they compute under stalls, how fast, and what is in the folder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from fireflow.hw.dataflow.layers import Layer, MatMul, Pad
from fireflow.hw.errors import InputError
from fireflow.hw.finn import library
from fireflow.hw.finn.environment import finn
from fireflow.hw.finn.generate import generate
from fireflow.hw.finn.operators.matmul import weight_image
from fireflow.hw.finn.operators.threshold import threshold_images
from fireflow.hw.rtl.names import module_name
from fireflow.hw.rtl.simulate import layer_bench
from fireflow.hw.tools.axi_stream import pack_words, unpack_words
from fireflow.hw.tools.verilator import Simulation
from tests.hw.rtl.layer_cases import FINN_LAYERS, leading_words, matmul

PARTS = {"xc7": "xc7z020clg400-1", "xcup": "xczu7ev-ffvc1156-2-e"}
PART, CLOCK_NS, FRAMES = PARTS["xc7"], 10.0, 3
U4 = (0, 15)


@dataclass(frozen=True, eq=False)
class Bench:
    simulation: Simulation
    folder: Path
    inputs: dict[str, np.ndarray]
    layers: dict[str, Layer]
    family: str

    def run(self, stalls: float, seed: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Values (frames, ...) and the cycles of emission, by layer."""
        owners = {module_name(layer.name): layer for layer in self.layers.values()}
        ins = [owners[port.name.partition("_port_")[0]] for port in self.simulation.inputs]
        outs = [owners[port.name.partition("_port_")[0]] for port in self.simulation.outputs]
        words = [pack_words(self.inputs[x.name], x.input.lanes, x.input.bits, x.input.signed) for x in ins]
        extra = {layer.name: leading_words(layer) for layer in outs if isinstance(layer, Pad)}
        counts = [FRAMES * layer.output.words + extra.get(layer.name, 0) for layer in outs]
        result = self.simulation.run(words, counts, stalls=stalls, seed=seed, cwd=self.folder)
        values, cycles = {}, {}
        for layer, got, emitted in zip(outs, result.outputs, result.emitted, strict=True):
            out, whole = layer.output, FRAMES * layer.output.words
            flat = unpack_words(got[:whole], out.lanes, out.bits, out.signed)
            values[layer.name] = flat.reshape(FRAMES, *out.shape)
            cycles[layer.name] = emitted[:whole].reshape(FRAMES, -1)
        return values, cycles


@pytest.fixture(scope="module", params=PARTS)
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """All layers on one family; on the other those that multiply: the RTL of the rest does not depend on it."""
    family: str = request.param
    folder = tmp_path_factory.mktemp(family)
    own = {
        name: layer for name, layer in FINN_LAYERS.items() if PARTS[family] == PART or layer.kind == "MatMul"
    }
    design = layer_bench(list(own.values()), PARTS[family], CLOCK_NS, folder)
    random = np.random.default_rng(1)
    inputs = {}
    for name, layer in own.items():
        values = random.integers(layer.input.lo, layer.input.hi + 1, (FRAMES, *layer.input.shape))
        values[0, 0] = layer.input.hi
        inputs[name] = values
    return Bench(Simulation.build(design.top, design.paths, jobs=2), folder, inputs, own, family)


@pytest.mark.timeout(900)  # the first build takes minutes
@pytest.mark.parametrize(("stalls", "seed"), [(0.0, 0), (0.4, 1), (0.8, 2)])
def test_equal_to_the_operation(bench: Bench, stalls: float, seed: int) -> None:
    values, cycles = bench.run(stalls, seed)
    for name, layer in bench.layers.items():
        assert_array_equal(values[name], layer.eval([bench.inputs[name]]), err_msg=name)
        if not stalls:
            timing, times = layer.timing(bench.family), None
            for frame in range(FRAMES):
                times = timing.early([np.zeros(layer.input.words, np.int64)], after=times)
                assert_array_equal(cycles[name][frame], times.visible, err_msg=name)
            assert np.diff(cycles[name][:, -1]).tolist() == [timing.interval] * (FRAMES - 1), name


@pytest.mark.parametrize("folding", [(4, 4), (2, 6), (3, 1)])
def test_nothing_is_lost_while_the_output_waits_long(folding: tuple[int, int], tmp_path: Path) -> None:
    """A vector a word, as FINN's queue of outputs does not bear it unchanged."""
    pe, simd = folding
    layer = matmul("fc", (6, 6), (2 * pe, simd), 4, U4, folding)
    generated = generate(layer, module_name(layer.name), PART, CLOCK_NS, tmp_path)
    simulation = Simulation.build(generated.top, [tmp_path / name for name in generated.sources])
    values = np.random.default_rng(4).integers(0, 16, (1, *layer.input.shape))
    stalls = {"out0_V": [1] * 40 + [0] * 3}
    result = simulation.run(
        [pack_words(values, simd, 4, False)], [layer.output.words], stalls=stalls, cwd=tmp_path
    )
    got = unpack_words(result.outputs[0], pe, layer.output.bits, layer.output.signed)
    assert_array_equal(got.reshape(1, *layer.output.shape), layer.eval([values]))


def test_folder_is_self_contained_and_always_the_same(tmp_path: Path) -> None:
    texts = []
    for name in ("first", "second"):
        folder, named = tmp_path / name, set()
        for layer in FINN_LAYERS.values():
            generated = generate(layer, module_name(layer.name), PART, CLOCK_NS, folder)
            named |= {*generated.sources, *generated.images}
            assert generated.ports == {
                "in0_V": layer.input.tdata_bits,
                "out0_V": layer.output.tdata_bits,
            }
        files = {
            path.relative_to(folder).as_posix(): path.read_text()
            for path in folder.rglob("*")
            if path.is_file()
        }
        assert set(files) == named
        texts.append(files)
    assert texts[0] == texts[1]
    for name, text in texts[0].items():
        assert str(tmp_path) not in text, name
        assert "/tmp" not in text, name
        assert "site-packages" not in text, name


def test_generating_again_leaves_files_alone(tmp_path: Path) -> None:
    layer = FINN_LAYERS["act.t7"]
    times = []
    for _ in range(2):
        generated = generate(layer, module_name(layer.name), PART, CLOCK_NS, tmp_path)
        names = (*generated.sources, *generated.images)
        times.append([(tmp_path / name).stat().st_mtime_ns for name in names])
    assert times[0] == times[1]


def test_weights_lie_as_finn_lays_them(tmp_path: Path) -> None:
    from onnx import helper
    from qonnx.custom_op.registry import getCustomOp

    layer = FINN_LAYERS["fc.w6a8"]
    assert isinstance(layer, MatMul)
    attributes = {
        "PE": layer.pe,
        "SIMD": layer.simd,
        "MW": layer.mw,
        "MH": layer.mh,
        "inputDataType": "UINT8",
        "weightDataType": "INT6",
        "outputDataType": "INT20",
    }
    domain = "finn.custom_op.fpgadataflow.rtl"
    path = tmp_path / "weights.dat"
    with finn():
        node = helper.make_node("MVAU_rtl", ["x", "w"], ["y"], name="n", domain=domain, **attributes)
        weight = layer.weight.T.astype(np.float32)
        getCustomOp(node).make_weight_file(weight, "decoupled_verilog_dat", str(path))
    assert path.read_text() == weight_image(layer)


def test_thresholds_lie_as_finn_lays_them(tmp_path: Path) -> None:
    from onnx import helper
    from qonnx.custom_op.registry import getCustomOp

    layer = FINN_LAYERS["act.t15"]
    values, pe = layer.thresholds, layer.input.lanes  # type: ignore[attr-defined]
    attributes = {
        "PE": pe,
        "NumChannels": len(values),
        "numSteps": 15,
        "inputDataType": "INT8",
        "weightDataType": "INT9",
        "outputDataType": "UINT4",
    }
    domain = "finn.custom_op.fpgadataflow.rtl"
    with finn():
        node = helper.make_node("Thresholding_rtl", ["x", "t"], ["y"], name="n", domain=domain, **attributes)
        getCustomOp(node).make_weight_file(
            values.astype(np.float32), "internal_embedded", str(tmp_path / "x.dat")
        )
    ours = threshold_images(values, pe, 9, True, "n_threshs")
    assert ours == {path.name: path.read_text() for path in tmp_path.glob("n_threshs_*")}


def test_operands_too_wide_for_a_dsp(tmp_path: Path) -> None:
    layer = matmul("fc", (1, 1), (2, 2), 4, (0, (1 << 18) - 1), (1, 1))
    with pytest.raises(
        InputError, match=r"fc: operands must fit a DSP's 25 x 18 bits, not 4 x 18; use fewer"
    ):
        generate(layer, module_name(layer.name), PART, CLOCK_NS, tmp_path)


def test_another_finn_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    patches = {"mvu/mvu.sv": (("no such text", "", 1),)}
    monkeypatch.setattr(library, "_PATCHES", patches)
    library.library_text.cache_clear()
    try:
        with pytest.raises(InputError, match=r"FINN's mvu/mvu.sv must have 'no such text', which we replace"):
            generate(replace(FINN_LAYERS["fc.w4a4"], name="other"), "other", PART, CLOCK_NS, tmp_path)
    finally:
        library.library_text.cache_clear()
