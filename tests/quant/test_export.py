"""What an exported QONNX file must say, and that a model file gives back what was written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import NodeProto, numpy_helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx

from fireflow.hw.errors import InputError
from fireflow.hw.packing import read_arrays, write_arrays
from fireflow.hw.preprocessing import Preprocessing
from fireflow.quant.export import export
from fireflow.quant.finalize import finalize, integer_weight
from fireflow.quant.layers import scale_of
from fireflow.quant.model_file import SCHEMA, Model, load_model, save_model
from fireflow.quant.networks.squeezenet import SqueezeNet, SqueezeNetSpec
from fireflow.quant.networks.squeezenet.spec import ARCHITECTURES
from fireflow.quant.precision import PRESETS, BitWidths, Policy
from fireflow.quant.trace import brevitas_trace
from tests.quant.networks import float_network, narrow_network, random_pixels

SIZE = 40
MIXED = Policy(
    name="mixed",
    default=BitWidths(weight=4, activation=4),
    layers={
        "conv1": BitWidths(weight=6, activation=5),
        "fire2.squeeze": BitWidths(weight=2, activation=3),
        "fire3.expand3x3": BitWidths(weight=5, activation=4),
        "fire3.add": BitWidths(weight=4, activation=4),
        "conv10": BitWidths(weight=3, activation=4),
    },
)
POLICIES = {**PRESETS, "mixed": MIXED}
CASES = [*((name, "mixed") for name in ARCHITECTURES), ("squeezenet1_1", "w6a6"), ("squeezenet1_1", "w2a4")]


@cache
def final(name: str, policy: str = "mixed") -> SqueezeNet:
    """A finalized network; tests share it, so they must not change it."""
    return finalize(narrow_network(name, POLICIES[policy], SIZE))


@dataclass(frozen=True)
class Exported:
    """A network, its QONNX file, and what is looked up in it."""

    network: SqueezeNet
    path: Path
    nodes: dict[str, NodeProto]  # by the tensor they compute
    constants: dict[str, Any]

    def quant(self, tensor: str) -> tuple[NodeProto, Any, float, int]:
        """The Quant node of a tensor: the node, its scale, its zero point, its bits."""
        node = self.nodes[tensor]
        assert node.op_type == "Quant", tensor
        scale, zero, bits = (self.constants[name] for name in node.input[1:])
        return node, scale, zero.item(), bits.item()

    def scales(self, tensor: str) -> Iterator[float]:
        """Scales of the quantizers whose integers a tensor holds, through pools, concats and sums."""
        node = self.nodes[tensor]
        if node.op_type == "Quant":
            yield self.constants[node.input[1]].item()
        else:
            assert node.op_type in ("MaxPool", "Concat", "Add"), tensor
            for source in node.input:
                yield from self.scales(source)


def attributes(node: NodeProto) -> dict[str, Any]:
    return {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    network = final(*request.param)
    path = tmp_path_factory.mktemp("export") / "network.qonnx.onnx"
    export(network, path)
    graph = onnx.load(path).graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    return Exported(network, path, {node.output[0]: node for node in graph.node}, constants)


def expected_tensors(spec: SqueezeNetSpec) -> dict[str, str]:
    """Names that a QONNX file of this member of the family must have, with the kind of node behind each."""
    tensors = {"conv1": "Conv", "conv1.act": "Quant"}
    for fire in range(2, 10):
        if pool := spec.pool_before(fire):
            tensors[pool] = "MaxPool"
        branches = ["squeeze", "expand1x1", "expand3x3"]
        branches += ["bypass"] if spec.bypass_of(fire) == "conv" else []
        for branch in branches:
            tensors |= {f"fire{fire}.{branch}": "Conv", f"fire{fire}.{branch}.act": "Quant"}
        tensors[f"fire{fire}.concat"] = "Concat"
        if spec.bypass_of(fire):
            tensors |= {f"fire{fire}.add": "Add", f"fire{fire}.add.act": "Quant"}
    return tensors | {"conv10": "Conv", "conv10.relu": "Relu"}


def test_every_tensor_has_its_name(exported: Exported) -> None:
    expected = expected_tensors(exported.network.spec)
    found = {name: exported.nodes[name].op_type for name in expected if name in exported.nodes}
    assert found == expected
    weights = {node.input[1] for node in exported.nodes.values() if node.op_type == "Conv"}
    for tensor, node in exported.nodes.items():
        if node.op_type in ("Conv", "MaxPool", "Concat", "Add", "Quant") and tensor not in weights:
            assert tensor in expected, f"{node.op_type} {tensor} has no name of ours"


def test_inputs_and_outputs(exported: Exported) -> None:
    model = ModelWrapper(str(exported.path))
    onnx.checker.check_model(onnx.load(exported.path))
    (source,), (result,) = model.graph.input, model.graph.output
    assert (source.name, model.get_tensor_shape("image")) == ("image", [1, 3, SIZE, SIZE])
    assert (result.name, model.get_tensor_shape("scores")) == ("scores", [1, 7])
    assert {source.type.tensor_type.elem_type, result.type.tensor_type.elem_type} == {onnx.TensorProto.FLOAT}
    for tensor in exported.nodes:
        assert model.get_tensor_shape(tensor), f"{tensor} has no shape"


def test_weights_are_the_integers_and_scales_of_brevitas(exported: Exported) -> None:
    policy = exported.network.policy
    assert policy is not None
    for connection in exported.network.connections():
        conv = exported.nodes[connection.name]
        node, scale, zero, bits = exported.quant(conv.input[1])
        facts = attributes(node)
        assert (bits, facts["signed"], facts["narrow"]) == (policy.weight_bits(connection.name), 1, 1)
        assert zero == 0
        np.testing.assert_array_equal(scale.reshape(-1), scale_of(connection.conv), connection.name)
        assert scale.size == (1 if connection.name == "conv10" else connection.conv.out_channels)
        steps = exported.constants[node.input[0]] / scale
        np.testing.assert_array_equal(np.round(steps), integer_weight(connection), connection.name)
        np.testing.assert_allclose(steps, np.round(steps), atol=1e-5)
        assert np.abs(np.round(steps)).max() <= 2 ** (bits - 1) - 1
        assert connection.conv.bias is not None
        np.testing.assert_array_equal(exported.constants[conv.input[2]], connection.conv.bias.detach())


def test_activations_are_those_of_brevitas(exported: Exported) -> None:
    policy = exported.network.policy
    assert policy is not None
    for connection in exported.network.connections():
        if connection.output_act is None:
            continue
        node, scale, zero, bits = exported.quant(f"{connection.name}.act")
        facts = attributes(node)
        assert (facts["signed"], facts["narrow"], zero) == (0, 0, 0)
        assert bits == int(connection.output_act.act_quant.bit_width())  # type: ignore[union-attr,operator]
        np.testing.assert_array_equal(scale, scale_of(connection.output_act).reshape(scale.shape))
    assert exported.quant("conv1.act")[3] == policy.activation_bits("conv1")
    assert exported.quant("fire2.squeeze.act")[3] == policy.activation_bits("fire2.squeeze")


def test_what_meets_has_one_scale(exported: Exported) -> None:
    joins = [name for name, node in exported.nodes.items() if node.op_type in ("Concat", "Add")]
    kinds = [exported.network.spec.bypass_of(fire) for fire in range(2, 10)]
    assert len(joins) == 8 + sum(kind is not None for kind in kinds)
    for name in joins:
        scales = list(exported.scales(name))
        assert len(scales) >= 2
        assert len(set(scales)) == 1, f"{name}: {scales}"


def test_qonnx_computes_what_brevitas_does(exported: Exported) -> None:
    network = exported.network
    images = random_pixels(1, SIZE).numpy()
    pixels = images.transpose(0, 3, 1, 2).astype(np.float32)
    found = execute_onnx(ModelWrapper(str(exported.path)), {"image": pixels}, True)
    expected = brevitas_trace(network, images).tensors
    for connection in network.connections():
        if connection.output_act is not None:
            name = f"{connection.name}.act"
            steps = np.round(found[name] / scale_of(connection.output_act).numpy()).astype(np.int64)
            np.testing.assert_array_equal(steps.transpose(0, 2, 3, 1), expected[name], name)
    with torch.no_grad():
        scores = network(torch.from_numpy(pixels)).numpy()
    np.testing.assert_allclose(found["scores"], scores, atol=1e-5 * scores.max())


def contents(path: Path) -> list[Any]:
    """A QONNX file without the names that qonnx makes up anew each time."""
    graph = onnx.load(path).graph
    constants = {tensor.name: numpy_helper.to_array(tensor).tolist() for tensor in graph.initializer}
    return [
        (node.op_type, attributes(node), [constants[name] for name in node.input if name in constants])
        for node in graph.node
    ]


def test_export_changes_nothing_and_repeats_itself(written: Path, tmp_path: Path) -> None:
    network = final("squeezenet1_1")
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    export(network, tmp_path / "a.qonnx.onnx")
    for name, tensor in network.state_dict().items():
        np.testing.assert_array_equal(before[name], tensor, name)
    export(load_model(written).network, tmp_path / "b.qonnx.onnx")
    assert contents(tmp_path / "a.qonnx.onnx") == contents(tmp_path / "b.qonnx.onnx")


@pytest.mark.parametrize("make", [float_network, narrow_network], ids=["float", "not finalized"])
def test_export_refuses_what_is_not_final(make: Callable[[str], SqueezeNet], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="export: the network must be quantized and finalized; see quant"):
        export(make("squeezenet1_1"), tmp_path / "network.qonnx.onnx")
    assert not list(tmp_path.iterdir())


def test_a_failed_export_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "network.qonnx.onnx"
    path.write_bytes(b"old")

    def half(_model: object, place: str) -> None:
        Path(place).write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr("onnx.save", half)
    with pytest.raises(OSError, match="no space left"):
        export(final("squeezenet1_1"), path)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"old"


# --- NAME.fireq -----------------------------------------------------------------------------------------------

RECORD = Preprocessing(size=SIZE, resize=44, source_order="BGR", mean=(123.0, 117.0, 104.0))
LABELS = ("ant", "bee", "cat", "dog", "eel", "fly", "gnu")


def model_of(network: SqueezeNet) -> Model:
    return Model(network, RECORD, LABELS, {"name": "test", "accuracy": {"top1": 12.5}})


def assert_same(one: Model, other: Model) -> None:
    """The same network to the last bit, and the same of everything else."""
    assert replace(one, network=other.network) == other
    a, b = one.network, other.network
    assert (a.spec, a.policy) == (b.spec, b.policy)
    assert set(a.state_dict()) == set(b.state_dict())
    for name, tensor in a.state_dict().items():
        np.testing.assert_array_equal(tensor, b.state_dict()[name], name)
    assert (a.pixel_offset is None) == (b.pixel_offset is None)
    pixels = random_pixels(2, SIZE).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        np.testing.assert_array_equal(a(pixels), b(pixels))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "network.fireq"
    save_model(model_of(final("squeezenet1_1")), path)
    return path


@pytest.mark.parametrize(("name", "policy"), CASES)
def test_quantized_model_comes_back(name: str, policy: str, tmp_path: Path) -> None:
    model, path = model_of(final(name, policy)), tmp_path / "network.fireq"
    save_model(model, path)
    assert_same(model, load_model(path))
    arrays, _meta = read_arrays(path)
    for connection in model.network.connections():
        stored = arrays[f"{connection.name}.weight"]
        assert stored.dtype == np.int8
        assert np.abs(stored).max() <= 2 ** (POLICIES[policy].weight_bits(connection.name) - 1) - 1


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_float_model_comes_back(name: str, tmp_path: Path) -> None:
    model, path = model_of(float_network(name)), tmp_path / "network.fireq"
    save_model(model, path)
    again = load_model(path)
    assert_same(model, again)
    np.testing.assert_array_equal(model.network.pixel_offset, again.network.pixel_offset)


def test_saving_twice_gives_the_same_bytes(written: Path, tmp_path: Path) -> None:
    save_model(load_model(written), tmp_path / "again.fireq")
    assert (tmp_path / "again.fireq").read_bytes() == written.read_bytes()


def test_unfinalized_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"network\.fireq: the network must be finalized, not fresh from train"
    ):
        save_model(model_of(narrow_network("squeezenet1_1")), tmp_path / "network.fireq")
    assert not list(tmp_path.iterdir())


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.fireq: the file must be readable, not No such file"):
        load_model(tmp_path / "none.fireq")


def test_truncated_file(written: Path, tmp_path: Path) -> None:
    data, path = written.read_bytes(), tmp_path / "cut.fireq"
    for size in [0, 1, 8, 40, 100, *np.linspace(200, len(data) - 1, 20).astype(int).tolist()]:
        path.write_bytes(data[:size])
        with pytest.raises(InputError, match=r"cut\.fireq: "):
            load_model(path)


def test_changed_byte(written: Path, tmp_path: Path) -> None:
    data, path = written.read_bytes(), tmp_path / "changed.fireq"
    for place in np.random.default_rng(0).integers(0, len(data), 60).tolist():
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :])
        with pytest.raises(InputError, match=r"changed\.fireq: "):
            load_model(path)


def changed(source: Path, path: Path, meta: dict[str, Any], arrays: dict[str, Any] | None = None) -> Path:
    """A copy of a model file with valid hashes and other contents; arrays that are None are left out."""
    own, old = read_arrays(source)
    contents = {name: array for name, array in {**own, **(arrays or {})}.items() if array is not None}
    write_arrays(path, contents, {**old, **meta})
    return path


@pytest.mark.parametrize("schema", [SCHEMA + 1, None, "1"])
def test_newer_or_unknown_schema(written: Path, tmp_path: Path, schema: object) -> None:
    path = changed(written, tmp_path / "new.fireq", {"schema": schema})
    with pytest.raises(
        InputError, match=rf"new\.fireq: schema must be {SCHEMA}, not {schema!r}; update fireflow"
    ):
        load_model(path)


@pytest.mark.parametrize(
    ("arrays", "odd"),
    [
        ({"fire4.squeeze.weight": None}, "fire4.squeeze.weight"),
        ({"conv1_act.range": None}, "conv1_act.range"),
        ({"fire4.bypass.weight": np.zeros(3, np.int8)}, "fire4.bypass.weight"),
    ],
)
def test_missing_and_foreign_tensors(written: Path, tmp_path: Path, arrays: dict[str, Any], odd: str) -> None:
    path = changed(written, tmp_path / "odd.fireq", {}, arrays)
    with pytest.raises(
        InputError, match=rf"odd\.fireq: must hold the tensors of its network; {odd} is missing"
    ):
        load_model(path)


SEVEN_BITS = {"name": "w7a4", "default": {"weight": 7, "activation": 4}, "layers": {}}


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        ({"policy": SEVEN_BITS}, "default.weight: .*, not 7; weights have 2 to 6 bits"),
        ({"policy": "w4a4"}, "policy: .*, not 'w4a4'"),
        ({"spec": None}, "spec: must have the fields of a SqueezeNet"),
        ({"labels": ["one"]}, "labels must be .*, one a class, not 1"),
        ({"pixel_offset": [1.0, 2.0]}, "pixel_offset must be three numbers"),
        (
            {"preprocessing": {"size": 99, "resize": 99}},
            "preprocessing must give pictures of .* pixels, not 99",
        ),
    ],
)
def test_wrong_facts(written: Path, tmp_path: Path, meta: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_model(changed(written, tmp_path / "wrong.fireq", meta))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("conv10.bias", lambda a: np.full_like(a, np.nan), "conv10.bias: must be finite numbers"),
        ("conv1_act.range", lambda a: -a, "conv1_act.range: must be finite numbers above 0"),
        ("conv10.weight", lambda a: np.full_like(a, 8), r"conv10.weight must lie in -3..3, not reach 8"),
        ("conv10.bias", lambda a: a[:-1], r"conv10.bias: shape must be \(7,\), not \(6,\)"),
    ],
)
def test_wrong_values(written: Path, tmp_path: Path, name: str, change: Any, message: str) -> None:
    arrays = {name: change(read_arrays(written)[0][name])}
    with pytest.raises(InputError, match=message):
        load_model(changed(written, tmp_path / "wrong.fireq", {}, arrays))
