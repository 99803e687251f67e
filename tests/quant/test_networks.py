"""What every network must do, each in a small member of its family: a new one needs an entry in SMALL."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fireflow.hw.errors import InputError
from fireflow.hw.finn.convert import to_graph
from fireflow.hw.finn.lowering import lower
from fireflow.hw.preprocessing import TORCHVISION
from fireflow.quant.calibrate import equalize, pixel_batches, quantize
from fireflow.quant.checkpoint import _network_text, _same_network
from fireflow.quant.export import export
from fireflow.quant.finalize import finalize
from fireflow.quant.head import cut_head
from fireflow.quant.initial import fresh_model
from fireflow.quant.layers import bits_of
from fireflow.quant.model_file import Model, load_model, save_model
from fireflow.quant.networks import ARCHITECTURES, NETWORKS, Network, architectures, spec_from_json
from fireflow.quant.networks.base import MAX_INPUT, MIN_INPUT, STEM
from fireflow.quant.precision import PRESETS, BitWidths, Policy, load_policy
from fireflow.quant.trace import brevitas_trace
from tests.quant.networks import NARROW, random_pixels

SIZE, CLASSES = 40, 7
SMALL: dict[str, dict[str, Any]] = {
    "plain": {"widths": (8, 12, 16)},
    "squeezenet": {"stem_channels": 8, "fires": NARROW},
}


def small(name: str, policy: Policy | None = None) -> Network:
    """Architecture `name` with few channels, in float or calibrated; always the same weights."""
    spec = ARCHITECTURES[name]
    spec = replace(spec, input_size=SIZE, num_classes=CLASSES, **SMALL[spec.network])
    torch.manual_seed(0)
    network = spec.build().eval()
    for connection in network.connections():
        torch.nn.init.kaiming_normal_(connection.conv.weight)
    network.pixel_offset = torch.tensor([123.0, 117.0, 104.0]).view(1, 3, 1, 1)
    return network if policy is None else quantize(network, policy, pixel_batches(random_pixels(4, SIZE)))


@pytest.fixture(scope="module", params=architectures())
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def quantized(name: str) -> Network:
    return small(name, PRESETS["w4a4"])


@pytest.fixture(scope="module")
def final(quantized: Network) -> Network:
    return finalize(quantized)


def test_every_network_is_tested() -> None:
    assert set(SMALL) == set(NETWORKS) == {spec.network for spec in ARCHITECTURES.values()}


def test_its_spec_survives_json_and_counts_its_weights(name: str) -> None:
    network = small(name)
    assert spec_from_json(network.spec.to_json()) == network.spec
    weights = [p.numel() for key, p in network.named_parameters() if key.endswith("weight")]
    assert network.spec.weights == sum(weights)
    with pytest.raises(InputError, match="num_classes: must be 2 or more, not 1"):
        replace(network.spec, num_classes=1)
    with pytest.raises(InputError, match="input_size: must be 32 to 256, not 257"):
        replace(network.spec, input_size=257)
    with pytest.raises(InputError, match=r"spec: must have the fields of a .*'colour'"):
        spec_from_json({**network.spec.to_json(), "colour": 3})


def test_a_spec_of_an_unknown_network() -> None:
    with pytest.raises(
        InputError, match=r"spec: network must be one of .*squeezenet.*, not 'vgg'; use a newer"
    ):
        spec_from_json({"network": "vgg"})
    with pytest.raises(InputError, match=r"architecture: must be one of .*, not 'vgg'; choose one of them"):
        fresh_model("vgg")


def test_its_connections_are_its_convolutions_in_order(quantized: Network) -> None:
    connections = list(quantized.connections())
    names = [connection.name for connection in connections]
    convs = {key: m for key, m in quantized.named_modules() if isinstance(m, torch.nn.Conv2d)}
    assert {connection.name: connection.conv for connection in connections} == convs
    assert (names[0], connections[0].input_act) == (STEM, None)
    assert connections[-1].output_act is None
    assert quantized.head.name == names[-1]
    assert not any(connections[0].conv.padding)  # type: ignore[arg-type]
    assert set(names) <= set(quantized.spec.layers.names)


def test_a_policy_reaches_its_layers(name: str) -> None:
    layers = small(name).spec.layers
    head = layers.names[-1]
    policy = load_policy(f"w4a4,{head}=w5a4", layers)
    network = small(name, policy)
    found = {connection.name: bits_of(connection.conv) for connection in network.connections()}
    assert found == dict.fromkeys(found, 4) | {STEM: 6, head: 5}
    with pytest.raises(InputError, match=r"'nothing' must match a layer"):
        load_policy("w4a4,nothing=w5a4", layers)
    wrong = Policy(name="mine", default=policy.default, layers={"x": BitWidths(weight=4, activation=4)})
    with pytest.raises(InputError, match=r"policy mine: a layer must be one of .*, not 'x'; mend the policy"):
        ARCHITECTURES[name].build(wrong)


def test_it_pools_and_classifies(name: str) -> None:
    network = small(name)
    pixels = next(pixel_batches(random_pixels(2, SIZE)))
    scores, maps = network.scores_and_maps(pixels)
    assert scores.shape == (2, CLASSES)
    head = torch.relu(maps[-1]) if network.spec.head_relu else maps[-1]
    torch.testing.assert_close(scores, head.mean((2, 3)))
    torch.testing.assert_close(network(pixels), scores)


def test_its_smallest_pictures_leave_a_map(name: str) -> None:
    def takes(size: int) -> bool:
        try:
            return replace(ARCHITECTURES[name], input_size=size).input_size == size
        except InputError:
            return False

    smallest = next(size for size in range(MIN_INPUT, MAX_INPUT) if takes(size))
    network = replace(ARCHITECTURES[name], input_size=smallest).build()
    assert torch.isfinite(network(torch.zeros(1, 3, smallest, smallest))).all()


def test_equalized_it_computes_the_same(name: str) -> None:
    network = small(name)
    if network.tied is not None:
        with pytest.raises(InputError, match=f"not {network.tied}"):
            equalize(network)
        return
    pixels = next(pixel_batches(random_pixels(2, SIZE)))
    torch.testing.assert_close(equalize(network)(pixels), network(pixels), rtol=1e-3, atol=1e-3)


def test_fused_it_computes_the_same(quantized: Network) -> None:
    pixels = next(pixel_batches(random_pixels(2, SIZE)))
    for network in (
        quantized,
        small(next(n for n, s in ARCHITECTURES.items() if s.network == quantized.name)),
    ):
        with torch.no_grad():
            wanted = network.scores_and_maps(pixels)
            found = network.fused(torch.float32).scores_and_maps(pixels)
        torch.testing.assert_close(found[0], wanted[0], rtol=1e-3, atol=1e-3 * float(wanted[0].abs().max()))
        assert [m.shape for m in found[1]] == [m.shape for m in wanted[1]]


def test_its_file_holds_it(final: Network, tmp_path: Path) -> None:
    path = tmp_path / "net.fireq"
    save_model(Model(final, replace(TORCHVISION, size=SIZE, resize=48)), path)
    network = load_model(path).network
    assert (network.spec, network.policy) == (final.spec, final.policy)
    pixels = next(pixel_batches(random_pixels(2, SIZE)))
    assert torch.equal(network(pixels), final(pixels))


def test_its_head_can_be_cut(final: Network) -> None:
    cut = cut_head(Model(final, replace(TORCHVISION, size=SIZE, resize=48)), np.array([5, 0]))
    pixels = next(pixel_batches(random_pixels(2, SIZE)))
    torch.testing.assert_close(cut.network(pixels), final(pixels)[:, [5, 0]])


def test_lowered_it_has_its_integers(final: Network, tmp_path: Path) -> None:
    """Every tensor that Brevitas computes and the integer graph has, of the same name, is the same."""
    path = tmp_path / "net.qonnx.onnx"
    export(final, path)
    images = random_pixels(3, SIZE).numpy()
    found = to_graph(lower(path)).trace(images)
    wanted = brevitas_trace(final, images, torch.float64).tensors
    shared = [tensor for tensor in found if tensor in wanted]
    assert len(shared) >= 2 * len(list(final.connections())) - 1
    assert {f"{c.name}.act" for c in final.connections() if c.output_act is not None} <= set(shared)
    for tensor in shared:
        np.testing.assert_array_equal(
            found[tensor].reshape(wanted[tensor].shape), wanted[tensor], err_msg=tensor
        )


def test_from_nothing_it_neither_dies_nor_grows_without_end(name: str) -> None:
    one, again, other = (fresh_model(name, seed).network for seed in (0, 0, 1))
    assert torch.equal(one.head.conv.weight, again.head.conv.weight)
    assert not torch.equal(one.head.conv.weight, other.head.conv.weight)
    network = copy.deepcopy(one)
    pixels = next(pixel_batches(random_pixels(2, network.spec.input_size)))
    with torch.no_grad():
        maps = network.scores_and_maps(pixels)[1]
    for values in maps:
        assert 0.02 < float(values.square().mean().sqrt()) < 200  # sums of bypasses double it each


def test_a_checkpoint_of_before_networks_had_names_is_of_its_network(quantized: Network) -> None:
    content = json.loads(_network_text(quantized))
    assert _same_network(json.dumps(content), quantized)
    if quantized.name == "squeezenet":
        assert content["spec"].pop("network") == "squeezenet"
        assert _same_network(json.dumps(content), quantized)
    assert not _same_network(json.dumps({**content, "policy": None}), quantized)
    content["spec"]["num_classes"] += 1
    assert not _same_network(json.dumps(content), quantized)
