"""The Brevitas layers this project uses: one weight quantizer, one activation quantizer, and their float twins."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import brevitas.nn as qnn
import torch
from brevitas.core.restrict_val import RestrictValueType
from brevitas.core.scaling import ScalingImplType
from brevitas.inject.enum import StatsOp
from brevitas.quant import Int8WeightPerChannelFloat, Uint8ActPerTensorFloat
from torch import Tensor, nn

from fireflow.quant.precision import Policy


class LearnedWeight(Int8WeightPerChannelFloat):  # type: ignore[misc]
    """Signed narrow-range weights with a learned scale, one a output channel (LSQ, arXiv:1902.08153)."""

    scaling_impl_type = ScalingImplType.PARAMETER_FROM_STATS
    restrict_scaling_type = RestrictValueType.FP
    scaling_stats_op = StatsOp.MAX
    narrow_range = True
    scaling_per_output_channel = True


class LearnedActivation(Uint8ActPerTensorFloat):  # type: ignore[misc]
    """Unsigned activations with one learned scale."""

    scaling_impl_type = ScalingImplType.PARAMETER
    restrict_scaling_type = RestrictValueType.FP
    scaling_init = 1.0


def quant_conv(
    name: str,
    in_channels: int,
    out_channels: int,
    kernel: int,
    policy: Policy | None,
    stride: int = 1,
    padding: int = 0,
    per_channel: bool = True,
) -> nn.Conv2d:
    """A convolution with bias; with a policy, its weights are quantized to the bits of layer `name`.

    The head needs `per_channel=False`: class scores can be compared as integers only if they share one scale.
    """
    shape: dict[str, Any] = {"kernel_size": kernel, "stride": stride, "padding": padding, "bias": True}
    if policy is None:
        return nn.Conv2d(in_channels, out_channels, **shape)
    bits = policy.weight_bits(name)
    conv: nn.Conv2d = qnn.QuantConv2d(
        in_channels,
        out_channels,
        weight_quant=LearnedWeight,
        weight_bit_width=bits,
        weight_scaling_per_output_channel=per_channel,
        **shape,
    )
    return conv


def quant_relu(name: str, policy: Policy | None) -> nn.Module:
    """A ReLU; with a policy, its output is quantized to the activation bits of layer `name`."""
    if policy is None:
        return nn.ReLU()
    relu: nn.Module = qnn.QuantReLU(act_quant=LearnedActivation, bit_width=policy.activation_bits(name))
    return relu


def quantizers(model: nn.Module) -> Iterator[tuple[str, nn.Module, int]]:
    """(name, module, bits) of every quantized convolution and activation, in order; shared ones once."""
    for name, module in model.named_modules():
        if is_quantized(module):
            yield name, module, bits_of(module)


def is_quantized(layer: nn.Module) -> bool:
    """Whether a layer is a quantized convolution or activation."""
    return isinstance(layer, (qnn.QuantConv2d, qnn.QuantReLU))


def _quantizer(layer: nn.Module) -> Any:
    """Brevitas's proxy: of the weights of a convolution, of the output of a ReLU."""
    return layer.weight_quant if isinstance(layer, qnn.QuantConv2d) else layer.act_quant


def bits_of(layer: nn.Module) -> int:
    """Bit width of a quantized convolution's weights or of a quantized ReLU's output."""
    return int(_quantizer(layer).bit_width())


def largest_integer(layer: nn.Module) -> int:
    """The largest integer of a quantized convolution's weights (its negative is the smallest) or a ReLU's output."""
    bits = bits_of(layer)
    return int(2 ** (bits - 1) - 1 if isinstance(layer, qnn.QuantConv2d) else 2**bits - 1)


def _scaling(layer: nn.Module) -> Any:
    """The module that holds the learned range of a quantizer."""
    quantizer = _quantizer(layer)
    if not isinstance(layer, qnn.QuantConv2d):
        quantizer = quantizer.fused_activation_quant_proxy
    return quantizer.tensor_quant.scaling_impl


def scale_parameter(layer: nn.Module) -> nn.Parameter:
    """The learned range of a quantizer: Brevitas divides it by the largest integer to get the scale."""
    parameter = _scaling(layer).value
    assert isinstance(parameter, nn.Parameter)
    return parameter


def set_scale(layer: nn.Module, scale: Tensor) -> None:
    """Set the scale of a quantizer: (1,) or (output channels,)."""
    with torch.no_grad():
        parameter = scale_parameter(layer)
        parameter.copy_((scale * largest_integer(layer)).view(parameter.shape))
    mark_calibrated(layer)


def mark_calibrated(layer: nn.Module) -> None:
    """Say that a quantizer has its range; else Brevitas sets that of weights to the largest one at the next call."""
    scaling = _scaling(layer)
    if hasattr(scaling, "init_done"):
        scaling.init_done = True


def scale_of(layer: nn.Module) -> Tensor:
    """The scale of a quantizer as Brevitas computes it in float32: (1,) or (output channels,)."""
    scale: Tensor = _quantizer(layer).scale().detach().flatten()
    return scale
