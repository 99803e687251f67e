"""From a trained network to the one that is deployed: integers in every place that becomes one.

Training runs on centred pixels and free biases. The accelerator gets raw uint8 pixels, compares integer accumulators
with integer thresholds, and adds an integer bias to the class scores. This module makes the Brevitas network compute
just that, so that every later stage can be compared with it value by value.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator

import torch
from torch import Tensor

from fireflow.hw.errors import InputError
from fireflow.quant.layers import bits_of, scale_of
from fireflow.quant.networks.base import Connection, Network

THRESHOLD_SHIFT = 0.2
"""Largest change of a threshold by `_keep_thresholds_off_integers`, in units of the accumulator."""
_CANDIDATES = 401


@torch.no_grad()
def finalize(model: Network) -> Network:
    """Return the deployable copy of a quantized network.

    - Weights become integers times their scale.
    - The pixel offset moves into the bias of the stem, through the quantized weights: exact, since that does not pad.
    - The bias of the head becomes an integer multiple of its accumulator's scale.
    - The other biases move by a fraction of one accumulator step, so that no threshold lies near an integer.

    Raises:
        InputError: the network is not quantized.
    """
    if model.policy is None:
        raise InputError("finalize: the network must be quantized, not float; run `fireflow quantize` first")
    final: Network = copy.deepcopy(model).eval()
    final.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    for connection in final.connections():
        conv = connection.conv
        integers = integer_weight(connection)
        scale = scale_of(conv).view(-1, 1, 1, 1)
        conv.weight.copy_(integers * scale)
        assert conv.bias is not None
        bias = conv.bias.double()
        if connection.input_act is None and final.pixel_offset is not None:
            bias -= (integers.double() * scale.double() * final.pixel_offset.double()).sum(dim=(1, 2, 3))
        conv.bias.copy_(_snapped(bias, connection))
    final.pixel_offset = None
    return final


@contextlib.contextmanager
def integer_head_bias(model: Network) -> Iterator[None]:
    """Within this context the bias of the head is what `finalize` will make of it; afterwards it is itself again.

    An accumulator step of the head is coarse against the differences of class scores: at 4 bits, rounding the bias of a
    1000-class network after training costs more than a point of accuracy. Training inside this context makes the
    rest of the network expect it. Gradients pass straight through to the bias.
    """
    if model.policy is None:
        yield
        return
    head = model.head
    assert head.conv.bias is not None
    free = head.conv.bias.detach().clone()
    with torch.no_grad():
        head.conv.bias.copy_(_snapped(free.double(), head))
    try:
        yield
    finally:
        with torch.no_grad():
            head.conv.bias.copy_(free)


@torch.no_grad()
def integer_weight(connection: Connection) -> Tensor:
    """The integers of a quantized convolution, float32 (O, I, K, K)."""
    quantized = connection.conv.quant_weight()  # type: ignore[operator]
    integers: Tensor = torch.round(quantized.value / quantized.scale)
    return integers


@torch.no_grad()
def accumulator_scale(connection: Connection) -> Tensor:
    """What one step of the accumulator stands for: float64 (O,) or (1,)."""
    weight_scale = scale_of(connection.conv).double()
    return (
        weight_scale
        if connection.input_act is None
        else weight_scale * scale_of(connection.input_act).double()
    )


def _snapped(bias: Tensor, connection: Connection) -> Tensor:
    scale = accumulator_scale(connection)
    steps = bias / scale
    if connection.output_act is None:
        return steps.round() * scale
    levels = 2 ** bits_of(connection.output_act)
    return (
        _keep_thresholds_off_integers(steps, scale_of(connection.output_act).double() / scale, levels) * scale
    )


def _keep_thresholds_off_integers(bias: Tensor, step: Tensor, levels: int) -> Tensor:
    """Shift biases a little, so that float error cannot carry an integer accumulator over a threshold.

    The k-th threshold of a channel lies at ``(k - 0.5) * step - bias`` in units of the accumulator. The function is
    the same for every place between two integers, but a float computation is safe only away from them.

    Args:
        bias: float64 (O,).
        step: float64 (O,) or (1,), the activation's scale.
        levels: number of integers the activation can take.

    Returns:
        float64 (O,), within THRESHOLD_SHIFT of `bias`.
    """
    middles = torch.arange(1, levels, dtype=torch.float64) - 0.5
    thresholds = middles * step.view(-1, 1) - bias.view(-1, 1)  # (O, T)
    best, margin = torch.zeros_like(bias), torch.full_like(bias, -1.0)
    shifts = torch.linspace(-THRESHOLD_SHIFT, THRESHOLD_SHIFT, _CANDIDATES, dtype=torch.float64)
    for shift in sorted(shifts.tolist(), key=abs):
        moved = thresholds - shift
        distance = (moved - moved.round()).abs().amin(dim=1)
        better = distance > margin
        best, margin = torch.where(better, shift, best), torch.where(better, distance, margin)
    return bias + best
