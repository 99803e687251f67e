"""`fireflow bench training`: a step of quantization-aware training by Brevitas's modules and by `train --compile`."""

from __future__ import annotations

import argparse
import statistics
import time
from typing import TYPE_CHECKING, Any, Callable, Mapping, Sequence

from fireflow.host.cli import arguments
from fireflow.host.cli.arguments import MODEL_HELP
from fireflow.host.cli.output import print_json, progress, table
from fireflow.hw.errors import InputError
from fireflow.pipeline.inputs import fireq_or_default

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from fireflow.quant.networks import Network
    from fireflow.quant.recipe import Recipe

BREVITAS, BREVITAS_COMPILED, FUSED = "Brevitas", "Brevitas, quantizers compiled", "train --compile"
WAYS = (BREVITAS, BREVITAS_COMPILED, FUSED)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument(
        "model",
        metavar="MODEL",
        nargs="?",
        help=f"{MODEL_HELP}; by default the shipped 1000-class w4a4 network",
    )
    parser.add_argument("--batch-size", type=arguments.positive, default=32, metavar="N")
    parser.add_argument(
        "--rounds", type=arguments.positive, default=5, metavar="N", help="a step of each way"
    )
    parser.add_argument("--threads", type=arguments.positive, default=1, metavar="N", help="on a CPU")
    arguments.precision(parser, default="bf16-mixed")
    arguments.accelerator(parser)
    arguments.json_output(parser)


def run(args: argparse.Namespace) -> int:
    """Measures."""
    import torch

    from fireflow.quant.allocator import keep_freed_memory
    from fireflow.quant.model_file import load_model
    from fireflow.quant.processes import open_fabric
    from fireflow.quant.recipe import Recipe

    path = fireq_or_default(args.model)
    network = load_model(path).network
    if network.policy is None:
        raise InputError(f"{path}: must be quantized, not float; run `fireflow quantize` first")
    torch.set_num_threads(args.threads)
    keep_freed_memory()  # for all ways
    fabric = open_fabric(args.accelerator, 1, args.precision)
    recipe = Recipe(batch_size=args.batch_size, features=1.0, precision=args.precision)
    steps = {way: _step(way, network, recipe, fabric) for way in WAYS}
    for _way, step in progress(list(steps.items()), "compiling", len(steps)):
        step()
    seconds: dict[str, list[float]] = {way: [] for way in steps}
    order = [pair for _ in range(args.rounds) for pair in steps.items()]
    for way, step in progress(order, "measuring", len(order)):
        started = time.perf_counter()
        step()
        seconds[way].append(time.perf_counter() - started)
    facts = {
        "model": path.name,
        "device": str(fabric.device),
        "threads": args.threads,
        "batch_size": args.batch_size,
        "precision": args.precision,
        "rows": _rows(seconds),
    }
    if args.json:
        print_json(facts)
    else:
        _print(facts)
    return 0


def _step(way: str, start: Network, recipe: Recipe, fabric: Fabric) -> Callable[[], None]:
    """A step of training on pictures that are there already, distilled from the float network of the same weights."""
    import copy

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


def _print(facts: Mapping[str, Any]) -> None:
    print(
        f"{facts['model']} on {facts['device']}, {facts['threads']} threads, batches of {facts['batch_size']}, "
        f"{facts['precision']}; the median of all rounds"
    )
    headings = [heading.replace("_", " ") for heading in facts["rows"][0]]
    print(table(headings, [list(row.values()) for row in facts["rows"]]))
