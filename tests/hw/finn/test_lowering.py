"""The lowering: the same integers in the graph, the fast simulator, FINN and QONNX, for whole networks."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from fireflow.hw.errors import InputError
from fireflow.hw.finn.convert import to_graph
from fireflow.hw.finn.execute import finn_trace, qonnx_trace, quantizer_scales
from fireflow.hw.finn.lowered import LoweredModel
from fireflow.hw.finn.lowering import PASSES, lower
from fireflow.hw.graph import Graph
from fireflow.hw.ops import Conv, MaxPool, Threshold
from fireflow.hw.simulator import Simulator
from fireflow.quant.calibrate import pixel_batches, quantize
from fireflow.quant.export import export
from fireflow.quant.finalize import finalize
from fireflow.quant.networks import architecture
from fireflow.quant.networks.squeezenet import FireWidths, SqueezeNet, SqueezeNetSpec
from fireflow.quant.precision import PRESETS
from tests.hw.finn.qonnx_builder import Builder, fire, valid

FIRES = tuple(
    FireWidths(*w)
    for w in ((3, 4, 4), (3, 4, 4), (4, 5, 5), (4, 5, 5), (4, 6, 6), (4, 6, 6), (5, 7, 7), (5, 7, 7))
)
NETWORKS = (
    ("squeezenet1_0", "w6a6", 49),
    ("squeezenet1_1", "w4a4", 47),
    ("squeezenet1_1", "w4a4", 32),  # its last maps have one pixel
    ("squeezenet1_0_simple_bypass", "w3a4", 52),
    ("squeezenet1_0_complex_bypass", "w2a4", 47),
)


@dataclass(frozen=True)
class Case:
    policy: str
    spec: SqueezeNetSpec
    path: Path
    lowered: LoweredModel
    graph: Graph
    images: np.ndarray


@pytest.fixture(scope="module", params=NETWORKS, ids=lambda param: "-".join(map(str, param)))
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A narrow, calibrated member of the family with random weights."""
    return make_case(*request.param, tmp_path_factory.mktemp("qonnx"))


def make_case(name: str, policy: str, size: int, folder: Path) -> Case:
    spec = architecture(name, input_size=size, num_classes=6, stem_channels=5, fires=FIRES)
    torch.manual_seed(0)
    network = SqueezeNet(spec)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            torch.nn.init.normal_(module.bias, std=0.2)
    network.conv1.weight.data /= 64
    network.pixel_offset = torch.full((1, 3, 1, 1), 120.0)
    pixels = torch.randint(0, 256, (3, size, size, 3), dtype=torch.uint8)
    final = finalize(quantize(network.eval(), PRESETS[policy], list(pixel_batches(pixels))))
    path = folder / f"{name}.qonnx.onnx"
    export(final, path)
    lowered = lower(path)
    return Case(policy, spec, path, lowered, to_graph(lowered), pixels[:2].numpy())


def test_interpreter_is_finn_on_every_tensor(case: Case) -> None:
    expected, actual = case.graph.trace(case.images), finn_trace(case.lowered, case.images)
    assert list(actual) == list(expected)
    for name, tensor in expected.items():
        assert_array_equal(actual[name], tensor, err_msg=name)
    assert np.unique(expected["scores"]).size > 3, "a network that tells nothing apart tests nothing"


def test_fast_simulator_is_the_interpreter(case: Case) -> None:
    assert_array_equal(Simulator(case.graph).run(case.images), case.graph.run(case.images))


def test_qonnx_has_the_same_integers(case: Case) -> None:
    expected, floats = case.graph.trace(case.images), qonnx_trace(case.path, case.images)
    scales = quantizer_scales(case.path)
    assert set(scales) > {"conv1.act", "fire2.concat", "fire9.expand3x3.act"}
    for name, scale in scales.items():
        steps = floats[name].astype(np.float64) / scale
        assert np.abs(steps - np.round(steps)).max() < 1e-3, name
        assert_array_equal(np.round(steps), expected[name], err_msg=name)
    np.testing.assert_allclose(
        floats["scores"], expected["scores"] * case.graph.output_scale, rtol=1e-4, atol=1e-6
    )


def test_a_map_of_one_pixel_cannot_be_padded(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"conv10.*: a map of 1x1 must not be padded, .*; use larger pictures"
    ):
        make_case("squeezenet1_0", "w4a4", 32, tmp_path)


def test_names_are_complete(case: Case) -> None:
    spec, names = case.spec, {"image", "conv1", "conv1.act"}
    for fire_number in range(2, 10):
        name = f"fire{fire_number}"
        convs = [f"{name}.{part}" for part in ("squeeze", "expand1x1", "expand3x3")]
        if spec.bypass_of(fire_number) == "conv":
            convs.append(f"{name}.bypass")
        names |= {*convs, *(f"{conv}.act" for conv in convs), f"{name}.concat"}
        if spec.bypass_of(fire_number):
            names |= {f"{name}.add", f"{name}.add.act"}
        if pool := spec.pool_before(fire_number):
            names.add(pool)
    names |= {"conv10", "conv10.bias", "conv10.relu", "scores"}
    assert set(case.graph.types) == names
    assert case.graph.output_name == "scores"
    assert all(node.name == node.output[0] for node in case.lowered.model.graph.node)


def test_bits_are_those_of_the_policy(case: Case) -> None:
    policy = PRESETS[case.policy]
    for node in case.graph.nodes:
        if isinstance(node.op, Conv):
            assert node.op.weight_bits == policy.weight_bits(node.name)
        if isinstance(node.op, Threshold):
            assert (
                node.op.thresholds.shape[1] == 2 ** policy.activation_bits(node.name.removesuffix(".act")) - 1
            )


def test_lowered_model_has_only_hardware_operations(case: Case) -> None:
    kinds = {node.op_type for node in case.lowered.model.graph.node}
    assert kinds <= {
        "Im2Col",
        "MatMul",
        "MultiThreshold",
        "MaxPoolNHWC",
        "Concat",
        "Add",
        "Relu",
        "ReduceSum",
    }
    assert case.lowered.model.get_tensor_shape("image") == [1, case.spec.input_size, case.spec.input_size, 3]
    assert case.lowered.model.get_tensor_datatype("image").name == "UINT8"


def test_thresholds_are_tight(case: Case) -> None:
    for node in case.graph.nodes:
        if isinstance(node.op, Threshold):
            source = case.graph.types[node.inputs[0]]
            assert source.lo <= node.op.thresholds.min(), node.name
            assert node.op.thresholds.max() <= source.hi + 1, node.name


def test_lowering_twice_gives_the_same_model(tmp_path: Path) -> None:
    path = valid().save(tmp_path / "valid.onnx")
    first, second = lower(path), lower(path)
    assert first.model.graph.node == second.model.graph.node
    (_, one), (_, two) = to_graph(first).to_json(), to_graph(second).to_json()
    assert one.keys() == two.keys()
    for name in one:
        assert_array_equal(one[name], two[name])


def exactly_alike(builder: Builder, path: Path, count: int = 2) -> Graph:
    """Asserts that graph, fast simulator, FINN and QONNX agree on every integer; gives the graph."""
    builder.save(path)
    lowered = lower(path)
    graph = to_graph(lowered)
    channels, *size = builder.shape
    images = builder.rng.integers(0, 256, (count, *size, channels), dtype=np.uint8)
    expected = graph.trace(images)
    by_finn, by_qonnx = finn_trace(lowered, images), qonnx_trace(path, images)
    assert_array_equal(Simulator(graph).run(images), expected["scores"])
    for name, tensor in expected.items():
        assert_array_equal(by_finn[name], tensor, err_msg=f"FINN: {name}")
    for name, scale in quantizer_scales(path).items():
        assert_array_equal(by_qonnx[name] / scale, expected[name], err_msg=f"QONNX: {name}")
    np.testing.assert_allclose(
        by_qonnx["scores"], expected["scores"] * graph.output_scale, rtol=1e-5, atol=1e-6
    )
    return graph


@pytest.mark.parametrize("size", range(5, 11))
@pytest.mark.parametrize(
    ("kernel", "stride", "pad", "ceil"),
    [(3, 2, 0, 1), (3, 2, 0, 0), (2, 2, 0, 1), (3, 2, 1, 1), (3, 1, 1, 0)],
)
def test_pools(size: int, kernel: int, stride: int, pad: int, ceil: int, tmp_path: Path) -> None:
    builder = Builder(size, (2, size, size + 1))
    builder.head(
        builder.pool("pool", builder.act(builder.conv("conv1", "image", 3)), kernel, stride, pad, ceil)
    )
    graph = exactly_alike(builder, tmp_path / "pool.onnx")
    (pool,) = (node.op for node in graph.nodes if isinstance(node.op, MaxPool))
    overhang = graph.types["pool"].shape[0] * stride - stride + kernel - size - pad
    assert pool.padding[2] == max(overhang, 0)


@pytest.mark.parametrize("opset", [13, 18])
def test_average_as_a_reduction(opset: int, tmp_path: Path) -> None:
    builder = Builder()
    builder.head(builder.act(builder.conv("conv1", "image", 4, kernel=3)))
    del builder.nodes[-2:]
    if opset == 13:
        builder.node("ReduceMean", ["head.relu"], "scores", axes=[2, 3], keepdims=0)
    else:
        axes = builder.constant("axes", [-1, -2], np.int64)
        builder.node("ReduceMean", ["head.relu", axes], "scores", keepdims=0)
    builder.opset = opset
    exactly_alike(builder, tmp_path / "mean.onnx")


def test_every_operation(tmp_path: Path) -> None:
    graph = exactly_alike(valid(), tmp_path / "valid.onnx")
    kinds = {type(node.op).__name__ for node in graph.nodes}
    assert kinds == {"Conv", "Threshold", "MaxPool", "Concat", "Add", "Multiply", "Bias", "Relu", "GlobalSum"}


def test_halves_round_to_even(tmp_path: Path) -> None:
    """x = 1, 3, 5, ... halves of a step: QONNX rounds to 0, 2, 2, 4, 4, ..."""
    builder = Builder(0, (1, 8, 32))
    builder.conv("conv1", "image", 1, bits=2)
    builder.constant("conv1.weight", [[[[0.25]]]])
    builder.constant("conv1.weight.quant.scale", [[[[0.25]]]])
    builder.constant("conv1.bias", [0.0])
    builder.head(builder.act("conv1"))
    graph = exactly_alike(builder, tmp_path / "halves.onnx", 4)
    (thresholds,) = (node.op.thresholds for node in graph.nodes if isinstance(node.op, Threshold))
    assert thresholds[0, :4].tolist() == [2, 3, 6, 7]


def test_unit_scales_and_no_relu_at_the_end(tmp_path: Path) -> None:
    builder = Builder(3)
    first = builder.act(builder.conv("conv1", "image", 4, kernel=3, stride=2, bits=6), scale=1.0, bits=8)
    joined = fire(builder, "fire2", first, scale=1.0)
    builder.head(joined, scale=1.0, relu=False)
    graph = exactly_alike(builder, tmp_path / "unit.onnx")
    assert graph.output_type.lo < 0


@st.composite
def networks(draw: st.DrawFn) -> Builder:
    """Random networks of convolutions, thresholds, pools, concats, sums and gates."""
    shape = (draw(st.integers(1, 3)), draw(st.integers(6, 11)), draw(st.integers(6, 11)))
    builder = Builder(draw(st.integers(0, 2**16)), shape)
    scales = st.sampled_from([0.25, 0.5, 1.0, 2.0, 4.0])
    bits = st.integers(1, 5)

    def layer(name: str, source: str, channels: int, scale: float, same: bool = False) -> str:
        kernel = draw(st.sampled_from([1, 3]))
        pad = kernel // 2 if same else draw(st.integers(0, 1))
        made = builder.conv(name, source, channels, kernel, pad=pad, bits=draw(st.integers(2, 6)))
        return builder.act(made, scale, draw(bits))

    scale = draw(scales)
    last = layer("conv1", "image", draw(st.integers(1, 4)), scale)
    for number in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["conv", "pool", "fire", "bypass", "residual", "gate"]))
        if kind == "pool":
            last = builder.pool(f"pool{number}", last, 3, draw(st.integers(1, 3)), 1, draw(st.integers(0, 1)))
        elif kind == "conv":
            scale = draw(scales)
            last = layer(f"conv.{number}", last, draw(st.integers(1, 4)), scale)
        elif kind == "gate":
            gated = builder.gate(f"gate{number}", last, draw(scales), draw(bits), draw(st.booleans()))
            scale = draw(scales)
            last = builder.act(gated, scale, draw(bits))
        elif kind == "fire":
            scale = draw(scales)
            last = fire(builder, f"fire{number}", last, scale)
        else:
            inner = scale if kind == "residual" else draw(scales)
            width = builder.channels[last] if kind == "residual" else draw(st.integers(1, 4))
            branch = layer(f"{kind}{number}.inside", last, width, inner, same=True)
            around = (
                last if kind == "residual" else layer(f"bypass{number}.around", last, width, inner, same=True)
            )
            scale = draw(scales)
            last = builder.act(builder.join("Add", f"{kind}{number}.add", branch, around), scale, draw(bits))
    builder.head(last, scale, relu=draw(st.booleans()))
    return builder


@given(networks())
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
def test_random_networks(tmp_path: Path, builder: Builder) -> None:
    exactly_alike(builder, tmp_path / "random.onnx")


def test_passes_are_listed_once() -> None:
    names = [item.name for item in PASSES]
    assert len(set(names)) == len(names)


def test_needs_no_vendor_tool_and_says_nothing(tmp_path: Path) -> None:
    path = valid().save(tmp_path / "valid.onnx")
    code = (
        "import sys\n"
        "import fireflow.hw.finn.convert, fireflow.hw.finn.execute\n"
        "from fireflow.hw.finn.lowering import lower\n"
        f"lowered = lower({str(path)!r})\n"
        "fireflow.hw.finn.convert.to_graph(lowered)\n"
        "assert 'torch' not in sys.modules and 'quant' not in sys.modules\n"
    )
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("XILINX", "FINN", "VIVADO", "VITIS"))}
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**keep, "PYTHONPATH": str(root)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [entry.name for entry in tmp_path.iterdir()] == ["valid.onnx"]
