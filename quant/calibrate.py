"""Post-training quantization: equalization, scales that lose least, bias correction.

The order is that of Nagel et al., "A White Paper on Neural Network Quantization", arXiv:2106.08295, section 3.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator

import torch
from brevitas.graph.calibrate import bias_correction_mode
from brevitas.graph.equalize import EqualizeGraph
from torch import Tensor, nn
from torch.fx import symbolic_trace

from fireflow.hw.errors import InputError
from fireflow.quant.layers import quantizers, set_scale
from fireflow.quant.networks.base import Network
from fireflow.quant.precision import Policy

_CANDIDATES = 60
_SAMPLES_PER_BATCH = 1 << 15


def equalize(model: Network) -> Network:
    """Return a copy of a float network whose channels have like ranges; what it computes stays the same.

    Cross-layer equalization: Nagel et al., arXiv:1906.04721. Layers whose channels are tied to those of others, as by a
    complex bypass, stay as they are.

    Raises:
        InputError: sums, as of a simple bypass, that Brevitas does not see: the result would compute something else.
    """
    if model.tied is not None:
        raise InputError(
            f"equalize: the network must have no sums that tie the channels of its layers, not {model.tied}; "
            "leave --equalize out"
        )
    equalized = copy.deepcopy(model).eval()
    graph = symbolic_trace(equalized)
    EqualizeGraph(iterations=20).apply(graph)
    result = model.spec.build().eval()
    result.pixel_offset = model.pixel_offset
    weights = {name: tensor for name, tensor in graph.state_dict().items() if name != "pixel_offset"}
    result.load_state_dict(weights, strict=True)
    return result


@torch.no_grad()
def quantize(model: Network, policy: Policy, batches: Iterable[Tensor]) -> Network:
    """Return the quantized twin of a float network, with every scale set to lose least (mean squared error).

    Args:
        model: float network.
        policy: bit widths.
        batches: calibration pixels, float32 (N, 3, H, W) of 0..255.
    """
    quantized = model.spec.build(policy).eval()
    quantized.load_state_dict(model.state_dict(), strict=False)
    quantized.pixel_offset = model.pixel_offset
    samples = _activation_samples(model, batches)
    for name, layer, bits in quantizers(quantized):
        if isinstance(layer, nn.Conv2d):
            per_channel = layer is not quantized.head.conv
            rows = layer.weight.flatten(1) if per_channel else layer.weight.reshape(1, -1)
            set_scale(layer, best_scale(rows, 2 ** (bits - 1) - 1, symmetric=True))
        else:
            set_scale(layer, best_scale(samples[name].view(1, -1), 2**bits - 1, symmetric=False))
    return quantized


@torch.no_grad()
def correct_biases(model: Network, batches: Iterable[Tensor]) -> None:
    """Shift every bias so that the quantized layer's mean output equals its float one (Brevitas)."""
    model.eval()
    with bias_correction_mode(model):
        for batch in batches:
            model(batch)


def best_scale(rows: Tensor, largest: int, symmetric: bool) -> Tensor:
    """The scale with the least squared rounding and clipping error, one for each row.

    Args:
        rows: float (R, V).
        largest: the largest integer.
        symmetric: integers are -largest..largest, else 0..largest.

    Returns:
        float (R,).
    """
    top = rows.abs().amax(dim=1, keepdim=True).clamp(min=1e-8)
    lowest = -largest if symmetric else 0
    best_error = torch.full_like(top, float("inf"))
    best = top / largest
    for share in torch.linspace(0.2, 1.0, _CANDIDATES).tolist():
        scale = top * share / largest
        error = (
            ((rows / scale).round().clamp(lowest, largest) * scale - rows).square().sum(dim=1, keepdim=True)
        )
        better = error < best_error
        best_error, best = torch.where(better, error, best_error), torch.where(better, scale, best)
    return best.flatten()


def _activation_samples(model: Network, batches: Iterable[Tensor]) -> dict[str, Tensor]:
    """A sample of what each activation of the float network gives, by module name."""
    seen: dict[str, list[Tensor]] = {}
    generator = torch.Generator().manual_seed(0)

    def keep(name: str, output: Tensor) -> None:
        values = output.flatten()
        picked = torch.randint(values.numel(), (_SAMPLES_PER_BATCH,), generator=generator)
        seen.setdefault(name, []).append(values[picked])

    handles = [
        module.register_forward_hook(lambda _module, _inputs, output, name=name: keep(name, output))
        for name, module in model.named_modules()
        if isinstance(module, nn.ReLU)
    ]
    for batch in batches:
        model(batch)
    for handle in handles:
        handle.remove()
    return {name: torch.cat(parts) for name, parts in seen.items()}


def pixel_batches(pixels: Tensor, size: int = 32) -> Iterator[Tensor]:
    """Split uint8 (N, S, S, 3) pixels into float32 (n, 3, S, S) batches."""
    for part in torch.split(pixels, size):
        yield part.permute(0, 3, 1, 2).float()
