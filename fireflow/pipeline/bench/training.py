"""A step of quantization-aware training by Brevitas's modules and by `train --compile`."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fireflow.hw.errors import InputError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from fireflow.quant.networks import Network
    from fireflow.quant.recipe import Precision, Recipe

BREVITAS, BREVITAS_COMPILED, FUSED = "Brevitas", "Brevitas, quantizers compiled", "train --compile"
WAYS = (BREVITAS, BREVITAS_COMPILED, FUSED)


def measure_training(
    network: Network,
    *,
    batch_size: int = 32,
    rounds: int = 5,
    threads: int = 1,
    precision: Precision = "bf16-mixed",
    accelerator: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Measures a step of training, distilled from the float network of the same weights, in every one of `WAYS`.

    Args:
        network: quantized.
        batch_size: pictures of a step.
        rounds: steps of each way; the median counts.
        threads: on a CPU.
        precision: of the floats, as Lightning Fabric names it.
        accelerator: what computes, as Lightning Fabric names it.
        progress: told how many steps are done, and of how many; the first of each way compiles.

    Returns:
        plain values: the device, what was asked for, and `rows` with milliseconds a step.

    Raises:
        InputError: the network is not quantized.
    """
    import torch

    from fireflow.quant.allocator import keep_freed_memory
    from fireflow.quant.processes import open_fabric
    from fireflow.quant.recipe import Recipe

    if network.policy is None:
        raise InputError("network: must be quantized, not float; run `fireflow quantize` first")
    torch.set_num_threads(threads)
    keep_freed_memory()  # for all ways
    fabric = open_fabric(accelerator, 1, precision)
    recipe = Recipe(batch_size=batch_size, features=1.0, precision=precision)
    steps = {way: _step(way, network, recipe, fabric) for way in WAYS}
    seconds: dict[str, list[float]] = {way: [] for way in steps}
    order = [pair for _ in range(1 + rounds) for pair in steps.items()]
    for done, (way, step) in enumerate(order, 1):
        started = time.perf_counter()
        step()
        if done > len(steps):  # the first compiles
            seconds[way].append(time.perf_counter() - started)
        if progress is not None:
            progress(done, len(order))
    return {
        "device": str(fabric.device),
        "threads": threads,
        "batch_size": batch_size,
        "precision": precision,
        "rows": _rows(seconds),
    }


def _step(way: str, start: Network, recipe: Recipe, fabric: Fabric) -> Callable[[], None]:
    """A step of training on pictures that are there already, distilled from the float network of the same weights."""
    import torch

    from fireflow.quant.build import to_float
    from fireflow.quant.train import objective

    student, teacher = copy.deepcopy(start), to_float(start)
    student.train().to(device=fabric.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if way == BREVITAS_COMPILED:
        modules: list[Any] = list(student.modules())
        for module in modules:
            if hasattr(module, "compile_quant"):
                module.compile_quant()
    optimizer = torch.optim.Adam(student.parameters(), lr=1e-9, fused=fabric.device.type == "cuda")
    recipe = recipe.model_copy(update={"compile": way == FUSED})
    loss_of, optimizer = fabric.setup(objective(student, [teacher], recipe), optimizer)
    shape = (recipe.batch_size, 3, start.spec.input_size, start.spec.input_size)
    pixels = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0)).float()
    pixels = fabric.to_device(pixels.contiguous(memory_format=torch.channels_last))
    labels = fabric.to_device(torch.full((recipe.batch_size,), -1))

    def step() -> None:
        loss = loss_of(pixels, labels)
        fabric.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        float(loss.detach())  # waits for the device

    return step


def _rows(seconds: Mapping[str, Sequence[float]]) -> list[dict[str, Any]]:
    medians = {way: statistics.median(times) for way, times in seconds.items()}
    return [
        {
            "way": way,
            "ms_per_step": round(1000 * median, 1),
            "times_as_fast": round(medians[BREVITAS] / median, 2),
        }
        for way, median in medians.items()
    ]
