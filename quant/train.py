"""Fine-tuning, in float or quantization-aware, with distillation from a float network.

A step depends only on the seed, its number and the state before it, so a run that was killed and resumed ends with
the very weights of one that was not. Devices, precision and processes are Lightning Fabric's business.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric.loggers.tensorboard import TensorBoardLogger
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from fireflow.hw.errors import InputError
from fireflow.quant.checkpoint import load_checkpoint, save_checkpoint
from fireflow.quant.decoded import DecodedImages, augment, to_pixels
from fireflow.quant.finalize import integer_head_bias
from fireflow.quant.loss import Loss
from fireflow.quant.networks.base import Network
from fireflow.quant.onnx_teacher import OnnxTeacher
from fireflow.quant.processes import open_fabric
from fireflow.quant.recipe import Recipe

_WARMUP = 0.03
_GROWTH = 0.85
"""Share of the steps after which crops no longer grow, with `Recipe.first_size`."""
_SIZE_STEP = 32
"""Crops grow by this many pixels at a time: compiled code and memory plans are made anew for every size."""


@dataclass(frozen=True, slots=True)
class Share:
    """A data set and its share of every batch."""

    images: DecodedImages
    weight: float = 1.0


def train(
    model: Network,
    teachers: Sequence[Network],
    data: Sequence[Share],
    recipe: Recipe,
    folder: Path,
    devices: int | str = "auto",
    accelerator: str = "auto",
    others: Sequence[OnnxTeacher] = (),
    report: Callable[[int, float], None] | None = None,
    begin: Callable[[], None] | None = None,
) -> Network:
    """Train `model` in place and return it.

    Args:
        model: float or quantized (with its scales set: see `quant.calibrate`).
        teachers: float networks to distil from, the mean of their probabilities and the maps of the first; needed
            where the recipe distils or the data has no labels.
        data: uint8 pictures, at least as large as the network's input; labels are class numbers of the network.
        recipe: how.
        folder: checkpoints (`checkpoint.safetensors`) and TensorBoard logs; a checkpoint there is resumed. Of a
            finished run only `recipe.start_share` is applied anew.
        devices: how many, or "auto".
        accelerator: "cpu", "cuda", "mps" or "auto".
        others: classifiers of any kind to distil from as well; they teach scores only.
        report: is told, by the first process, the steps that are done, at first those of the checkpoint, and the
            last loss that was logged, NaN before there is one.
        begin: is called by the first process when nothing that was asked for can be refused any more, before a
            checkpoint is looked for.

    Raises:
        InputError: labels are needed and missing, there is no such device, or the checkpoint belongs to another
            recipe.
    """
    _check(model, teachers, others, data, recipe)
    start = [parameter.detach().clone() for parameter in model.parameters()]
    torch.manual_seed(recipe.seed)
    logger = TensorBoardLogger(folder, name="tensorboard", version="")
    fabric = open_fabric(accelerator, devices, recipe.precision, loggers=logger)
    fabric.launch()
    # Before the optimizer and the checkpoint, so that what they hold is on the same device.
    model.train().to(device=fabric.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    # A tensor has a learning rate of its own: without `fused` a GPU would wait for the launches of all their kernels.
    fused = fabric.device.type == "cuda"
    optimizer = torch.optim.Adam(_parameter_groups(model, recipe), betas=(0.9, 0.99), fused=fused)
    average = AveragedModel(model)
    if begin is not None and fabric.global_rank == 0:
        begin()
    fabric.barrier()
    first_step = load_checkpoint(folder, model, optimizer, average, recipe)
    loss_of, optimizer = fabric.setup(objective(model, teachers, recipe), optimizer)
    base_rates = [group["base_lr"] for group in optimizer.param_groups]
    draws = _drawn_ahead(data, recipe, first_step, fabric.global_rank)
    value = math.nan
    tell = report if report is not None and fabric.global_rank == 0 else lambda *_: None
    tell(first_step, value)
    for step, drawn in enumerate(draws, start=first_step):
        factor = schedule(step, recipe)
        for group, base in zip(optimizer.param_groups, base_rates, strict=True):
            group["lr"] = base * factor
        side = crop_size(recipe, step, model.spec.input_size)
        pixels, labels = batch_of(drawn, recipe, side, fabric.device)
        with integer_head_bias(model):
            loss = loss_of(pixels, labels, _told(others, pixels, recipe))
            fabric.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        if recipe.average > 0 and step >= (1 - recipe.average) * recipe.steps:
            average.update_parameters(model)
        if step % 10 == 9 or step == recipe.steps - 1:
            value = float(loss.detach())
            fabric.log_dict({"loss": value, "learning_rate": factor * recipe.learning_rate}, step=step + 1)
        tell(step + 1, value)
        if (step + 1) % recipe.checkpoint_every == 0 or step == recipe.steps - 1:
            if fabric.global_rank == 0:
                save_checkpoint(folder, model, optimizer, average, step + 1, recipe)
            fabric.barrier()
    logger.finalize("success")
    model.cpu()
    with torch.no_grad():
        if recipe.average > 0:
            for parameter, mean in zip(model.parameters(), average.module.parameters(), strict=True):
                parameter.copy_(mean)
        if recipe.start_share > 0:
            for parameter, before in zip(model.parameters(), start, strict=True):
                parameter.lerp_(before, recipe.start_share)
    return model.eval()


def objective(model: Network, teachers: Sequence[Network], recipe: Recipe) -> nn.Module:
    """The loss of a batch as a module: networks and `quant.loss.Loss`, compiled as a whole if the recipe says so.

    Args:
        model: in training mode, on the device.
        teachers: float networks; their weights stay as they are.
        recipe: how.

    Raises:
        InputError: it shall be compiled and there is no compiler.
    """
    compiler = os.environ.get("CXX", "g++")
    if recipe.compile and shutil.which(compiler) is None:
        raise InputError(
            f"compile: needs a C++ compiler, and {compiler} is not installed; "
            "install g++, name another in CXX, or leave out --compile"
        )
    for teacher in teachers:
        teacher.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if not recipe.compile:
        return Loss(model, teachers, recipe)
    torch._dynamo.config.recompile_limit = 64  # networks and sizes of crops that share a function
    dtype = torch.bfloat16 if recipe.precision.startswith("bf16") else torch.float32
    taught_by = [teacher.fused(dtype) for teacher in teachers]
    loss = Loss(model.fused(dtype), taught_by, recipe)
    compiled: nn.Module = torch.compile(loss, dynamic=False)  # type: ignore[assignment]
    return compiled


def _told(others: Sequence[OnnxTeacher], pixels: Tensor, recipe: Recipe) -> Tensor | None:
    if recipe.distillation == 0 or not others:
        return None
    return torch.stack([teacher.scores(pixels) for teacher in others])


def schedule(step: int, recipe: Recipe) -> float:
    """Factor of the learning rate: a short linear warm-up, then half a cosine down to 0, or 1 to the end."""
    warmup = max(1, round(recipe.steps * _WARMUP))
    if step < warmup:
        return (step + 1) / warmup
    if recipe.average > 0:
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, recipe.steps - warmup)))


def crop_size(recipe: Recipe, step: int, input_size: int) -> int:
    """Side of the crops of a step."""
    last = recipe.crop_size or input_size
    if recipe.first_size is None:
        return last
    grown = (last - recipe.first_size) * step / (_GROWTH * recipe.steps)
    return min(last, recipe.first_size + int(grown) // _SIZE_STEP * _SIZE_STEP)


@dataclass(frozen=True, slots=True)
class Draw:
    """The pictures of a step, as they are stored.

    Args:
        pixels: of each data set that has any in this batch, uint8 (n, S, S, 3).
        labels: int64 (N,), -1 where there are none.
        generator: of the step's crops and blends, on the CPU, so that they are the same on every device.
    """

    pixels: tuple[Tensor, ...]
    labels: Tensor
    generator: torch.Generator


def draw_batch(data: Sequence[Share], recipe: Recipe, step: int, rank: int) -> Draw:
    """What a process trains on in a step: it depends on the seed, the step and the process, and on nothing before."""
    random = np.random.default_rng((recipe.seed, step, rank))
    weights = np.array([share.weight for share in data])
    counts = random.multinomial(recipe.batch_size, weights / weights.sum())
    generator = torch.Generator().manual_seed(int(random.integers(1 << 62)))
    pixels, labels = [], []
    for share, count in zip(data, counts, strict=True):
        if count == 0:
            continue
        picked = np.sort(random.integers(0, len(share.images), count))
        pixels.append(to_pixels(share.images.images, picked.tolist()))
        known = share.images.labels
        labels.append(torch.full((int(count),), -1) if known is None else torch.from_numpy(known[picked]))
    return Draw(tuple(pixels), torch.cat(labels), generator)


def _drawn_ahead(data: Sequence[Share], recipe: Recipe, first_step: int, rank: int) -> Iterator[Draw]:
    """The draws of all steps left; each is read from the files while the step before it computes."""
    with ThreadPoolExecutor(1) as pool:
        ahead = None
        for step in range(first_step, recipe.steps):
            current = ahead or pool.submit(draw_batch, data, recipe, step, rank)
            ahead = pool.submit(draw_batch, data, recipe, step + 1, rank) if step + 1 < recipe.steps else None
            yield current.result()


def batch_of(drawn: Draw, recipe: Recipe, size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Crops of the pictures, on the device: float32 (N, 3, size, size) and labels int64 (N,)."""
    crops = [augment(raw.to(device), size, drawn.generator, recipe.crop_scale) for raw in drawn.pixels]
    pixels = _blended(torch.cat(crops), recipe.mixup, drawn.generator)
    return pixels.contiguous(memory_format=torch.channels_last), drawn.labels.to(device)


def _blended(pixels: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Blend a share of the pictures with another of the batch, by any proportion; the pixels stay whole numbers."""
    if share == 0:
        return pixels
    chosen, proportion = torch.rand((2, len(pixels), 1, 1, 1), generator=generator)
    own = torch.where(chosen < share, proportion, torch.ones(())).to(pixels.device)
    partner = pixels[torch.randperm(len(pixels), generator=generator).to(pixels.device)]
    return (own * pixels + (1 - own) * partner).round_()


def _parameter_groups(model: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    groups: list[dict[str, Any]] = []
    for name, parameter in model.named_parameters():
        learned_scale = name.endswith("scaling_impl.value")
        rate = recipe.scale_learning_rate if learned_scale else recipe.learning_rate
        size = float(parameter.detach().square().mean().sqrt().clamp(min=1e-6))
        groups.append({"params": [parameter], "lr": rate * size, "base_lr": rate * size, "eps": 1e-12})
    return groups


def _check(
    model: Network,
    teachers: Sequence[Network],
    others: Sequence[OnnxTeacher],
    data: Sequence[Share],
    recipe: Recipe,
) -> None:
    if recipe.distillation > 0 and not teachers and not others:
        raise InputError(
            "distillation: needs a teacher, not none; give float weights or set distillation to 0"
        )
    if recipe.features > 0 and not teachers:
        raise InputError(
            f"features: need a {model.title} to take maps from, so their weight must be 0, not {recipe.features}; "
            "give float weights as teacher"
        )
    if recipe.features > 0 and teachers[0].spec.network != model.spec.network:
        raise InputError(
            f"features: need a {model.title} as first teacher to take maps from, so their weight must be 0, "
            f"not {recipe.features}; give float weights of one first"
        )
    for teacher in others:
        if teacher.classes != model.spec.num_classes:
            raise InputError(
                f"{teacher.path}: a teacher must have the {model.spec.num_classes} classes of the network, "
                f"not {teacher.classes}; use --head data"
            )
        for side in {crop_size(recipe, step, model.spec.input_size) for step in (0, recipe.steps - 1)}:
            teacher.check_side(side)
    if recipe.distillation < 1 and any(share.images.labels is None for share in data):
        raise InputError("data: cross-entropy needs labels, which a data set lacks; set distillation to 1")
    if recipe.mixup > 0 and recipe.distillation < 1:
        raise InputError(
            f"mixup: blended pictures have no label, so distillation must be 1, not {recipe.distillation}; "
            "set mixup to 0"
        )
    if recipe.start_share > 0 and model.policy is not None:
        raise InputError(
            f"start-share: integers have no mean, so the network must be float, not {model.policy.name}; "
            "set start-share to 0"
        )
