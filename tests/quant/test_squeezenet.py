"""The family itself: sizes, scales that must be equal, what finalizing changes and what it must not."""

import numpy as np
import pytest
import torch
from brevitas.core.quant import IntQuant
from torch import nn

from fireflow.hw.errors import InputError
from fireflow.quant.calibrate import best_scale, correct_biases, equalize, pixel_batches
from fireflow.quant.finalize import THRESHOLD_SHIFT, accumulator_scale, finalize, integer_weight
from fireflow.quant.layers import bits_of, quantizers, scale_of
from fireflow.quant.networks import architecture, spec_from_json
from fireflow.quant.networks.squeezenet import SqueezeNet
from fireflow.quant.networks.squeezenet.spec import ARCHITECTURES, LAYERS
from fireflow.quant.precision import PRESETS, load_policy, parse_policy
from fireflow.quant.trace import brevitas_trace
from tests.quant.networks import NARROW, float_network, narrow_network, random_pixels


def multiply_adds(network: SqueezeNet) -> int:
    counted: list[int] = []

    def count(module: nn.Conv2d, _inputs: object, output: torch.Tensor) -> None:
        counted.append(output[0].numel() * module.weight[0].numel())

    for connection in network.connections():
        connection.conv.register_forward_hook(count)
    network(torch.zeros(1, 3, network.spec.input_size, network.spec.input_size))
    return sum(counted)


def test_size_of_squeezenet_1_1() -> None:
    network = SqueezeNet(architecture("squeezenet1_1", input_size=227))
    assert sum(p.numel() for p in network.parameters()) == 1_235_496
    assert 2 * multiply_adds(network) == 775_495_040
    assert round(2 * multiply_adds(SqueezeNet(architecture("squeezenet1_1"))) / 1e9, 4) == 0.6983


@pytest.mark.parametrize(
    ("name", "parameters"), [("squeezenet1_0", 1_248_424), ("squeezenet1_0_simple_bypass", 1_248_424)]
)
def test_size_of_squeezenet_1_0(name: str, parameters: int) -> None:
    assert sum(p.numel() for p in SqueezeNet(ARCHITECTURES[name]).parameters()) == parameters


def test_published_bypasses() -> None:
    simple, complex_ = (
        ARCHITECTURES["squeezenet1_0_simple_bypass"],
        ARCHITECTURES["squeezenet1_0_complex_bypass"],
    )
    assert [simple.bypass_of(fire) for fire in range(2, 10)] == [None, "identity"] * 4
    assert [complex_.bypass_of(fire) for fire in range(2, 10)] == ["conv", "identity"] * 4


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_weight_bits_never_exceed_six(name: str) -> None:
    for preset in PRESETS.values():
        for _name, layer, bits in quantizers(SqueezeNet(ARCHITECTURES[name], preset)):
            assert bits <= (6 if isinstance(layer, nn.Conv2d) else 8)


@pytest.mark.parametrize("size", [32, 33, 100, 255, 256])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_any_input_size(name: str, size: int) -> None:
    spec = architecture(name, input_size=size, num_classes=3, stem_channels=8, fires=NARROW)
    assert SqueezeNet(spec)(torch.zeros(2, 3, size, size)).shape == (2, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input_size": 31}, "input_size: must be 32 to 256, not 31"),
        ({"input_size": 257}, "input_size: must be 32 to 256, not 257"),
        ({"num_classes": 1}, "num_classes: must be 2 or more, not 1"),
        ({"fires": NARROW[:3]}, "fires: must be 8 modules, not 3"),
        ({"version": "1.2"}, "version: must be one of 1.0, 1.1, not '1.2'"),
    ],
)
def test_wrong_specs(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        architecture("squeezenet1_1", **changes)


def test_wrong_architecture() -> None:
    with pytest.raises(InputError, match=r"architecture: must be one of .*squeezenet1_0, .*, not 'alexnet'"):
        architecture("alexnet")


def test_spec_survives_json() -> None:
    for spec in ARCHITECTURES.values():
        assert spec_from_json(spec.to_json()) == spec


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_quantizers_that_meet_share_one_scale(name: str) -> None:
    network = narrow_network(name)
    connections = {c.name: c for c in network.connections()}
    for fire in range(2, 10):
        one, three = connections[f"fire{fire}.expand1x1"], connections[f"fire{fire}.expand3x3"]
        assert one.output_act is three.output_act
        kind = network.spec.bypass_of(fire)
        if kind == "conv":
            assert connections[f"fire{fire}.bypass"].output_act is one.output_act
        if kind == "identity":
            assert connections[f"fire{fire}.squeeze"].input_act is one.output_act


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_finalized_network_is_what_the_accelerator_can_compute(name: str) -> None:
    network = narrow_network(name)
    final = finalize(network)
    assert final.pixel_offset is None
    for before, after in zip(network.connections(), final.connections(), strict=True):
        np.testing.assert_array_equal(integer_weight(before), integer_weight(after))
        np.testing.assert_array_equal(scale_of(before.conv), scale_of(after.conv))
        steps = after.conv.bias.detach().double() / accumulator_scale(after)
        if after.output_act is None:
            np.testing.assert_allclose(steps, steps.round(), atol=1e-2)
        elif after.name != "conv1":
            moved = steps - before.conv.bias.detach().double() / accumulator_scale(before)
            assert moved.abs().max() <= THRESHOLD_SHIFT + 1e-2


def test_folding_the_pixel_offset_changes_nothing_but_rounding() -> None:
    network = narrow_network("squeezenet1_1")
    images = random_pixels(2, 40).numpy()
    offset = network.pixel_offset
    assert offset is not None
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).double()
    stem = next(network.connections()).conv.double()
    centred = stem(pixels - offset.double())
    final = next(finalize(network.float()).connections())
    shift = THRESHOLD_SHIFT * accumulator_scale(final).view(1, -1, 1, 1)
    assert ((final.conv.double()(pixels) - centred).abs() <= shift * 1.1).all()


@pytest.mark.parametrize("policy", PRESETS)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_float32_rounds_as_float64_does(name: str, policy: str) -> None:
    """Finalizing keeps thresholds off the integers, so float error in Brevitas turns no rounding."""
    final = finalize(narrow_network(name, policy))
    images = random_pixels(3, 40).numpy()
    single = brevitas_trace(final, images)
    double = brevitas_trace(final, images, torch.float64)
    assert list(single.tensors) == list(double.tensors)
    for tensor, integers in single.tensors.items():
        if tensor != "scores":  # a float32 mean has too few bits for the sum of a whole map
            np.testing.assert_array_equal(integers, double.tensors[tensor], err_msg=tensor)


def test_finalize_refuses_a_float_network() -> None:
    with pytest.raises(InputError, match="finalize: the network must be quantized, not float"):
        finalize(SqueezeNet(architecture("squeezenet1_1")))


def test_equalized_network_computes_the_same() -> None:
    torch.manual_seed(0)
    network = SqueezeNet(
        architecture("squeezenet1_1", input_size=64, num_classes=5, stem_channels=8, fires=NARROW)
    ).eval()
    network.pixel_offset = torch.full((1, 3, 1, 1), 117.0)
    pixels = next(pixel_batches(random_pixels(2, 64)))
    equalized = equalize(network)
    torch.testing.assert_close(equalized(pixels), network(pixels), rtol=1e-3, atol=1e-3)
    changed = [
        not torch.equal(a, b) for a, b in zip(equalized.parameters(), network.parameters(), strict=True)
    ]
    assert any(changed)


def test_a_simple_bypass_is_not_equalized() -> None:
    """Brevitas's equalization does not follow its sums: it would change what the network computes."""
    with pytest.raises(InputError, match=r"equalize: the network must have no sums .* not a simple bypass"):
        equalize(float_network("squeezenet1_0_simple_bypass"))


def test_bias_correction_restores_the_mean_output() -> None:
    network = narrow_network("squeezenet1_1", "w2a4")
    batches = list(pixel_batches(random_pixels(4, 40)))
    before = network.conv10.bias.detach().clone()
    correct_biases(network, batches)
    assert not torch.equal(before, network.conv10.bias)


def test_best_scale_finds_the_scale_of_numbers_that_have_one() -> None:
    integers = torch.randint(-7, 8, (5, 400), generator=torch.Generator().manual_seed(0)).float()
    integers[:, 0] = 7  # the largest integer occurs, so the scale is the top of the search
    scales = torch.tensor([0.1, 1.0, 3.0, 0.02, 7.0])
    found = best_scale(integers * scales.view(-1, 1), 7, symmetric=True)
    torch.testing.assert_close(found, scales)


def test_policies(tmp_path) -> None:  # type: ignore[no-untyped-def]
    policy = PRESETS["w3a4"]
    assert (policy.weight_bits("conv1"), policy.weight_bits("conv10"), policy.activation_bits("conv1")) == (
        6,
        3,
        4,
    )
    assert parse_policy("here", policy.model_dump(mode="json"), LAYERS) == policy
    assert load_policy("w5a8", LAYERS).default.activation == 8
    path = tmp_path / "policy.json"
    policy.save(path)
    assert load_policy(path, LAYERS) == policy
    path.write_text('{"name": "mine", "default": {"weight": 7, "activation": 4}}')
    with pytest.raises(InputError, match=r"policy.json: default.weight: .*, not 7; weights have 2 to 6 bits"):
        load_policy(path, LAYERS)
    with pytest.raises(InputError, match=r"default.weight: .*, not '8'; weights have 2 to 6 bits"):
        load_policy("w8a8", LAYERS)
    with pytest.raises(InputError, match="policy: must be one of w6a6, w4a4, w3a4, w2a4"):
        load_policy("tiny", LAYERS)


def test_policy_with_exceptions() -> None:
    policy = load_policy("w4a4,*.squeeze=w6a5,fire3.squeeze=w5a4,conv10=w5a4", LAYERS)
    assert parse_policy("here", policy.model_dump(mode="json"), LAYERS) == policy
    network = SqueezeNet(architecture("squeezenet1_0_complex_bypass"), policy)
    weights = {c.name: bits_of(c.conv) for c in network.connections()}
    squeezes = {f"fire{n}.squeeze": 5 if n == 3 else 6 for n in range(2, 10)}
    assert weights == dict.fromkeys(weights, 4) | squeezes | {"conv1": 6, "conv10": 5}
    outputs = {c.name: bits_of(c.output_act) for c in network.connections() if c.output_act is not None}
    assert outputs == dict.fromkeys(outputs, 4) | {name: 4 if "3" in name else 5 for name in squeezes}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("w4a4,fire3.squeze=w6a4", "policy: 'fire3.squeze' must match a layer: conv1, conv10 and squeeze"),
        ("w4a4,conv1", "policy: an exception must be LAYER=wXaY, not 'conv1'"),
        ("w4a4,conv10=w7a4", "layers.conv10.weight: .*, not '7'; weights have 2 to 6 bits"),
        ("w4a4,fire5.expand3x3=w4a8", "fire5.expand3x3 share one activation .* not be 4 and 8; mend"),
        (
            "tiny,conv1=w4a4",
            "policy: must be one of w6a6, w4a4, w3a4, w2a4, wXaY or a .json file, not 'tiny'",
        ),
    ],
)
def test_wrong_exceptions(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_policy(text, LAYERS)


def test_a_policy_names_layers_that_there_are(tmp_path) -> None:  # type: ignore[no-untyped-def]
    for spec in ARCHITECTURES.values():
        assert {c.name for c in SqueezeNet(spec).connections()} <= set(LAYERS.names)
    path = tmp_path / "mine,too.json"
    path.write_text(
        '{"name": "mine", "default": {"weight": 4, "activation": 4}, '
        '"layers": {"fire1.squeeze": {"weight": 6, "activation": 4}}}'
    )
    with pytest.raises(InputError, match=r"mine,too.json: layers: .* not 'fire1.squeeze'; mend the policy"):
        load_policy(path, LAYERS)


def test_compiled_and_plain_quantizers_are_brevitas_own() -> None:
    network = narrow_network("squeezenet1_1")
    kinds = {type(m) for m in network.modules() if "Int" in type(m).__name__ and hasattr(m, "to_int")}
    assert kinds == {IntQuant}
