"""Pools that round down or pad, and a head without ReLU, go from the float network to the integers unchanged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from fireflow.hw.errors import InputError
from fireflow.hw.finn.convert import to_graph
from fireflow.hw.finn.lowering import lower
from fireflow.hw.ops import MaxPool, Relu
from fireflow.hw.preprocessing import Preprocessing
from fireflow.hw.simulator import Simulator
from fireflow.quant.calibrate import equalize, pixel_batches, quantize
from fireflow.quant.export import export
from fireflow.quant.finalize import finalize
from fireflow.quant.model_file import Model, load_model, save_model
from fireflow.quant.networks import architecture, spec_from_json
from fireflow.quant.networks.squeezenet import PoolBorder, SqueezeNet, SqueezeNetSpec
from fireflow.quant.networks.squeezenet.fused import FusedSqueezeNet
from fireflow.quant.precision import PRESETS
from fireflow.quant.trace import brevitas_trace
from tests.quant.networks import NARROW, random_pixels

FLOOR, PADDED, PADDED_CEIL, CEIL = (
    PoolBorder(p, ceil=c) for p, c in ((0, False), (1, False), (1, True), (0, True))
)
CASES = [
    ("squeezenet1_1", (FLOOR,) * 3, True, 50),
    ("squeezenet1_1", (PADDED,) * 3, False, 47),
    ("squeezenet1_0", (CEIL, FLOOR, PADDED_CEIL), False, 53),
    ("squeezenet1_0_simple_bypass", (PADDED_CEIL, PADDED, CEIL), True, 50),
]


def made(name: str, pools: tuple[PoolBorder, ...], relu: bool, size: int) -> SqueezeNet:
    torch.manual_seed(3)
    spec = architecture(
        name, input_size=size, num_classes=5, stem_channels=8, fires=NARROW, pools=pools, head_relu=relu
    )
    network = SqueezeNet(spec).eval()
    for connection in network.connections():
        nn.init.kaiming_normal_(connection.conv.weight)
    network.pixel_offset = torch.tensor([123.0, 117.0, 104.0]).view(1, 3, 1, 1)
    return network


@pytest.mark.parametrize(("name", "pools", "relu", "size"), CASES)
def test_integers_are_those_of_brevitas(
    name: str, pools: tuple[PoolBorder, ...], relu: bool, size: int, tmp_path: Path
) -> None:
    pixels = random_pixels(3, size)
    final = finalize(quantize(made(name, pools, relu, size), PRESETS["w4a4"], list(pixel_batches(pixels))))
    save_model(Model(final, Preprocessing(size=size, resize=size)), tmp_path / "net.fireq")
    final = load_model(tmp_path / "net.fireq").network
    assert (final.spec.pools, final.spec.head_relu) == (pools, relu)
    export(final, tmp_path / "net.qonnx.onnx")
    graph = to_graph(lower(tmp_path / "net.qonnx.onnx"))
    expected = brevitas_trace(final, pixels.numpy(), torch.float64).tensors
    found = graph.trace(pixels.numpy())
    for tensor in {"conv10", "conv10.bias", *(f"pool{n}" for n in range(1, 9))} & set(expected):
        np.testing.assert_array_equal(found[tensor], expected[tensor], err_msg=tensor)
    np.testing.assert_array_equal(Simulator(graph).run(pixels.numpy()), expected["scores"])
    kinds = [type(node.op) for node in graph.nodes]
    assert (kinds.count(MaxPool), kinds.count(Relu)) == (3, int(relu))
    assert graph.types["conv10"].shape[0] == final.spec.head_side
    assert relu or expected["scores"].min() < 0


@pytest.mark.parametrize(("name", "pools", "relu", "size"), CASES)
def test_compiled_training_has_the_same_pools(
    name: str, pools: tuple[PoolBorder, ...], relu: bool, size: int
) -> None:
    network = made(name, pools, relu, size)
    pixels = random_pixels(2, size).permute(0, 3, 1, 2).float()
    others = [FusedSqueezeNet(network, torch.float32)]
    if network.spec.bypass == "none":
        others.append(equalize(network))  # type: ignore[arg-type]
    for computed in others:
        scores, maps = computed.scores_and_maps(pixels)
        wanted, wanted_maps = network.scores_and_maps(pixels)
        torch.testing.assert_close(scores, wanted, rtol=1e-3, atol=1e-3)
        assert [m.shape for m in maps] == [m.shape for m in wanted_maps]
    if name == "squeezenet1_1":
        torch.manual_seed(0)
        scale = torch.randn(2, 5)
        gradients = []
        for computed in (FusedSqueezeNet(network, torch.float32), network):
            network.zero_grad()
            (computed.scores_and_maps(pixels)[0] * scale).sum().backward()
            gradients.append(network.conv1.weight.grad.clone())  # type: ignore[union-attr]
        torch.testing.assert_close(*gradients, rtol=1e-2, atol=1e-3 * float(gradients[1].abs().max()))


def test_a_spec_of_before_pools_could_differ() -> None:
    content = SqueezeNetSpec().to_json()
    del content["pools"], content["head_relu"]
    assert spec_from_json(content) == SqueezeNetSpec()
    padded = {**content, "pools": [{"padding": 1, "ceil": False}] * 3}
    assert spec_from_json(padded) == SqueezeNetSpec(pools=(PADDED,) * 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pools": (CEIL,) * 2}, "pools: must be 3, not 2"),
        (
            {"pools": (FLOOR,) * 3, "version": "1.0", "input_size": 32},
            "must leave a window for every pool, and 32",
        ),
    ],
)
def test_wrong_pools(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(SqueezeNetSpec(), **changes)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="padding must be 0 or 1"):
        PoolBorder(2)


@pytest.mark.parametrize("side", range(3, 12))
@pytest.mark.parametrize("border", [FLOOR, PADDED, PADDED_CEIL, CEIL])
def test_sides_are_torchs(side: int, border: PoolBorder) -> None:
    pool = nn.MaxPool2d(3, 2, padding=border.padding, ceil_mode=border.ceil)
    assert border.side_after(side) == pool(torch.zeros(1, 1, side, side)).shape[2]
