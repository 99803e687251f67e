"""Networks of others, as Brevitas exports them: lowered as they are, and equal to Brevitas."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import brevitas.nn as qnn
import numpy as np
import pytest
import torch
from brevitas.export import export_qonnx
from brevitas.nn.utils import merge_bn
from brevitas.quant import Int32Bias
from torch import Tensor, nn

from fireflow.hw.errors import InputError
from fireflow.hw.finn.convert import to_graph
from fireflow.hw.finn.lowering import lower


def conv(inputs: int, outputs: int, kernel: int, **options: Any) -> qnn.QuantConv2d:
    given = {"weight_bit_width": 4, "bias": True, **options}
    return qnn.QuantConv2d(inputs, outputs, kernel, **given)


def relu(bits: int = 4, **options: Any) -> qnn.QuantReLU:
    return qnn.QuantReLU(bit_width=bits, **options)


class Branches(nn.Module):
    """A Fire module with a bypass: concat and add, whose sides share a quantizer."""

    def __init__(self, per_channel: bool) -> None:
        super().__init__()
        self.first, self.act = conv(8, 6, 1, weight_scaling_per_output_channel=per_channel), relu(3)
        self.left, self.right = conv(6, 4, 1), conv(6, 4, 3, padding=1)
        self.shared, self.after = relu(), relu()

    def forward(self, x: Tensor) -> Tensor:
        inner = self.act(self.first(x))
        joined = torch.cat([self.shared(self.left(inner)), self.shared(self.right(inner))], dim=1)
        return self.after(joined + self.shared(x))  # type: ignore[no-any-return]


def network(
    channels: int = 3,
    bias: bool = True,
    per_channel: bool = False,
    idle: bool = False,
    last: Any = None,
    branches: bool = False,
    pool: dict[str, Any] | None = None,
) -> nn.Sequential:
    layers: list[nn.Module] = [
        *(conv(channels, 6, 3, padding=1, bias=bias, weight_scaling_per_output_channel=per_channel), relu()),
        *(conv(6, 8, 3, bias=bias, stride=2), relu(5)),
        nn.MaxPool2d(**(pool or {"kernel_size": 2})),
    ]
    layers += [nn.Dropout(0.5), nn.Identity()] if idle else []
    layers += [Branches(per_channel)] if branches else []
    layers += (
        [relu(return_quant_tensor=True)]
        if branches
        else [conv(8, 8, 3, padding=1), relu(return_quant_tensor=True)]
    )
    layers += [conv(8, 5, 1, bias=last is not None, bias_quant=last)]
    layers += [nn.Identity() if idle else nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers)


def calibrated(made: nn.Module, shape: tuple[int, ...], seed: int = 0) -> nn.Module:
    """With biases, and scales from random pictures."""
    generator = torch.Generator().manual_seed(seed)
    for module in made.modules():
        if isinstance(module, nn.Conv2d):
            fan_in = module.weight[0].numel()
            module.weight.data = torch.randn(module.weight.shape, generator=generator) * (2 / fan_in) ** 0.5
            if module.bias is not None:
                module.bias.data = torch.randn(module.bias.shape, generator=generator) * 0.3
    made.train()
    with torch.no_grad():
        for _ in range(2):
            made(torch.randint(0, 256, (4, *shape[1:]), generator=generator).float())
    return made.eval()


NETWORKS: dict[str, tuple[dict[str, Any], tuple[int, ...], dict[str, Any]]] = {
    "plain": ({}, (1, 3, 16, 16), {"dynamo": False}),
    "no biases, scales per channel": (
        {"bias": False, "per_channel": True},
        (1, 3, 15, 17),
        {"dynamo": False, "opset_version": 13},
    ),
    "idle layers, nothing folded": (
        {"idle": True},
        (1, 3, 16, 16),
        {"dynamo": False, "do_constant_folding": False},
    ),
    "opset 9, grey": ({"channels": 1}, (1, 1, 14, 14), {"dynamo": False, "opset_version": 9}),
    "initializers as inputs": (
        {"last": Int32Bias},
        (1, 3, 16, 16),
        {"dynamo": False, "keep_initializers_as_inputs": True},
    ),
    "ceil": (
        {"pool": {"kernel_size": 3, "stride": 2, "ceil_mode": True}},
        (1, 3, 20, 20),
        {"dynamo": False, "opset_version": 17},
    ),
    "open batch": (
        {"branches": True},
        (1, 3, 16, 16),
        {"dynamo": False, "input_names": ["x"], "output_names": ["y"], "dynamic_axes": {"x": {0: "n"}}},
    ),
    "dynamo": ({}, (1, 3, 16, 16), {"dynamo": True}),
    "dynamo, opset 18": (
        {"per_channel": True, "idle": True, "branches": True},
        (1, 3, 16, 16),
        {"dynamo": True, "opset_version": 18},
    ),
    "dynamo, Int32Bias": ({"last": Int32Bias}, (1, 3, 12, 20), {"dynamo": True, "opset_version": 20}),
}


def export(made: nn.Module, shape: tuple[int, ...], path: Path, **options: Any) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        export_qonnx(made, torch.zeros(shape), str(path), **options)
    return path


@pytest.mark.parametrize("name", NETWORKS)
def test_files_as_export_qonnx_writes_them(name: str, tmp_path: Path) -> None:
    kinds, shape, options = NETWORKS[name]
    made = calibrated(network(**kinds), shape)
    graph = to_graph(lower(export(made, shape, tmp_path / "net.onnx", **options)))
    images = np.random.default_rng(0).integers(0, 256, (4, *graph.input_type.shape), dtype=np.uint8)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2)
    with torch.no_grad():
        expected = made.double()(pixels.double()).numpy()  # float64: nothing on a boundary rounds otherwise
    actual = graph.run(images) * graph.output_scale
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
    assert np.unique(graph.run(images)).size > 5, "a network that tells nothing apart tests nothing"


def test_batch_normalization_is_folded_as_the_message_says(tmp_path: Path) -> None:
    layers = list(network().children())
    layers.insert(1, nn.BatchNorm2d(6))
    made = calibrated(nn.Sequential(*layers), (1, 3, 16, 16))
    with pytest.raises(
        InputError, match=r"batch normalization must be folded.*brevitas\.nn\.utils\.merge_bn"
    ):
        lower(export(made, (1, 3, 16, 16), tmp_path / "raw.onnx", dynamo=False, do_constant_folding=False))
    merge_bn(made[0], made[1])
    made[1] = nn.Identity()
    made = made.train()
    with torch.no_grad():
        made(torch.randint(0, 256, (4, 3, 16, 16), generator=torch.Generator().manual_seed(1)).float())
    lower(export(made.eval(), (1, 3, 16, 16), tmp_path / "folded.onnx", dynamo=False))


def test_a_float_bias_at_the_end_is_quantized_as_the_message_says(tmp_path: Path) -> None:
    made = list(network(last=Int32Bias).children())
    made[-4] = conv(8, 5, 1)
    float_bias = calibrated(nn.Sequential(*made), (1, 3, 16, 16))
    with pytest.raises(InputError, match=r"the bias must be an integer times .*bias_quant=Int32Bias"):
        lower(export(float_bias, (1, 3, 16, 16), tmp_path / "net.onnx", dynamo=False))
