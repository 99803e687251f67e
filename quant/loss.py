"""What training makes small: distance from the teacher's scores and features, and from the labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional

from quant.recipe import Recipe
from quant.squeezenet import Fire, SqueezeNet


class Loss:
    """The loss of a recipe.

    With teachers: the Kullback-Leibler divergence from the mean of their softened probabilities (Hinton et al.,
    arXiv:1503.02531), and with `Recipe.features` the squared distance of every Fire module's output and of the maps
    of conv10, each relative to the first teacher's (Romero et al., arXiv:1412.6550). Maps say far more of a picture
    than its scores, which counts where pictures are few.
    """

    def __init__(
        self, model: SqueezeNet, teachers: Sequence[SqueezeNet], recipe: Recipe, fabric: Fabric
    ) -> None:
        self.recipe, self.fabric = recipe, fabric
        self.teachers = teachers if recipe.distillation > 0 else ()
        features = recipe.features > 0 and len(self.teachers) > 0
        self.student_maps = _Maps(model) if features else None
        self.teacher_maps = _Maps(self.teachers[0]) if features else None

    def __call__(self, wrapped: Any, pixels: Tensor, labels: Tensor) -> Tensor:
        """The loss of a batch.

        Args:
            wrapped: the student as Fabric gives it.
            pixels: float32 (N, 3, S, S).
            labels: int64 (N,); not read where the recipe only distils.
        """
        for maps in (self.student_maps, self.teacher_maps):
            if maps is not None:
                maps.take()  # of forward passes that were not for training
        scores = wrapped(pixels).float()
        share = self.recipe.distillation
        loss: Tensor = scores.new_zeros(())
        if self.teachers:
            with torch.no_grad(), self.fabric.autocast():
                targets = torch.stack([teacher(pixels).float() for teacher in self.teachers])
            loss = loss + share * (
                self._divergence(scores, targets) + self.recipe.features * self._map_distance()
            )
        if share < 1:
            loss = loss + (1 - share) * functional.cross_entropy(scores, labels)
        return loss

    def _divergence(self, scores: Tensor, targets: Tensor) -> Tensor:
        """(N, classes) from (teachers, N, classes)."""
        t = self.recipe.temperature
        wanted = functional.log_softmax(targets / t, 2).logsumexp(0) - math.log(len(targets))
        student = functional.log_softmax(scores / t, 1)
        divergence: Tensor = functional.kl_div(student, wanted, reduction="batchmean", log_target=True)
        return t * t * divergence

    def _map_distance(self) -> Tensor | float:
        if self.student_maps is None or self.teacher_maps is None:
            return 0.0
        pairs = zip(self.student_maps.take(), self.teacher_maps.take(), strict=True)
        distances = [(s - t).square().mean() / t.square().mean() for s, t in pairs]
        return torch.stack(distances).mean()


class _Maps:
    """The outputs of the Fire modules and of conv10, from each forward pass until they are taken."""

    def __init__(self, network: SqueezeNet) -> None:
        self._found: list[Tensor] = []
        for module in network.modules():
            if isinstance(module, Fire) or module is network.conv10:
                module.register_forward_hook(self._keep)

    def _keep(self, _module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self._found.append(output)

    def take(self) -> list[Tensor]:
        """float32 (N, C, H, W) each."""
        found, self._found = [output.float() for output in self._found], []
        return found
