"""What training makes small: distance from the teacher's scores and features, and from the labels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from fireflow.quant.networks.base import Teachable
from fireflow.quant.recipe import Recipe


class Loss(nn.Module):
    """The loss of a recipe, of batches.

    With teachers: the Kullback-Leibler divergence from the mean of their softened probabilities (Hinton et al.,
    arXiv:1503.02531), and with `Recipe.features` the squared distance of the maps that the
    network gives, each relative to the first teacher's (Romero et al., arXiv:1412.6550). Maps say far more of a picture
    than its scores, which counts where pictures are few.
    """

    def __init__(self, student: Teachable, teachers: Sequence[Teachable], recipe: Recipe) -> None:
        super().__init__()
        self.recipe, self.student = recipe, student
        self.teachers = nn.ModuleList(teachers if recipe.distillation > 0 else ())  # type: ignore[arg-type]

    def forward(self, pixels: Tensor, labels: Tensor, told: Tensor | None = None) -> Tensor:
        """The loss of a batch.

        Args:
            pixels: float32 (N, 3, S, S).
            labels: int64 (N,); not read where the recipe only distils.
            told: scores of further teachers, float32 (teachers, N, classes).
        """
        scores, maps = self.student.scores_and_maps(pixels)
        share = self.recipe.distillation
        loss: Tensor = scores.new_zeros((), dtype=torch.float32)
        with torch.no_grad():
            taught = [teacher.scores_and_maps(pixels) for teacher in self.teachers]  # type: ignore[operator]
        targets = [target.float() for target, _ in taught] + ([] if told is None else list(told))
        if share > 0 and targets:
            loss = loss + share * self._divergence(scores.float(), torch.stack(targets))
        if share > 0 and self.recipe.features > 0 and taught:
            loss = loss + share * self.recipe.features * map_distance(maps, taught[0][1])
        if share < 1:
            loss = loss + (1 - share) * functional.cross_entropy(scores.float(), labels)
        return loss

    def _divergence(self, scores: Tensor, targets: Tensor) -> Tensor:
        """(N, classes) from (teachers, N, classes)."""
        t = self.recipe.temperature
        wanted = functional.log_softmax(targets / t, 2).logsumexp(0) - math.log(len(targets))
        student = functional.log_softmax(scores / t, 1)
        divergence: Tensor = functional.kl_div(student, wanted, reduction="batchmean", log_target=True)
        return t * t * divergence


def map_distance(maps: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
    """The mean over all maps of their squared distance from the wanted, relative to the mean square of these."""
    pairs = [(own.float(), target.float()) for own, target in zip(maps, wanted, strict=True)]
    distances = [(own - target).square().mean() / target.square().mean() for own, target in pairs]
    return torch.stack(distances).mean()
