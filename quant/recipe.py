"""The settings of a training run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fireflow.hw.errors import InputError

Precision = Literal["32-true", "bf16-mixed"]
"""As Lightning Fabric names them. The 16-bit floats need a scale of the loss, which no checkpoint of ours holds."""


class Recipe(BaseModel):
    """Everything that, with the data and the starting weights, fixes a training run.

    Args:
        steps: of the optimizer.
        batch_size: pictures of a step.
        learning_rate: share of a tensor's own root mean square that a step moves it by.
        scale_learning_rate: the same for the scales of quantizers.
        distillation: the teachers' share of the loss, 0 to 1; labels have the rest.
        temperature: of the distillation.
        features: weight of the first teacher's maps beside its scores.
        mixup: share of pictures that are blended with another, 0 to 1.
        crop_scale: least and greatest area of random crops, as a share of the picture's.
        crop_size: side of the crops in pixels; the input's by default.
        first_size: side of the first crops in pixels, if smaller.
        average: last share of the steps whose mean weights are the result, 0 to below 1.
        start_share: of the starting weights in the result of a float network, 0 to below 1.
        seed: of everything that is drawn.
        precision: of the floats, `32-true` or `bf16-mixed`.
        compile: compile the network and its loss.
        checkpoint_every: so many steps.

    Raises:
        pydantic.ValidationError: a setting outside its rule; `train` raises an InputError for settings in a mapping.

    `learning_rate` is relative: each tensor moves by about this share of its own root mean square a step, since the
    scales, biases and weights of a network on raw pixels differ by orders of magnitude. `distillation` is the teacher's
    share of the loss, labels have the rest; `features` weighs the teacher's maps against its scores; `mixup` is the
    share of pictures that are blended with another (arXiv:1710.09412; without labels only). With `first_size`, training
    starts on crops of that side, which are faster, and ends on those of `crop_size`, by default the side of the
    network's input: parts of pictures, brought to that side, show things larger than whole pictures do, and smaller
    crops make up for it, besides being faster (arXiv:1906.06423). With `average`, the result is the mean of the weights
    over that last share of the steps, and the learning rate stays up after its warm-up (arXiv:1803.05407): better than
    any one of the networks on the way. `start_share` is the starting weights' share of the result of a float run
    (arXiv:2109.01903): fine-tuning on a few classes forgets some of what the network knew of all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    steps: Annotated[int, Field(ge=1)] = 1000
    batch_size: Annotated[int, Field(ge=1)] = 32
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    scale_learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    distillation: Annotated[float, Field(ge=0, le=1)] = 1.0
    temperature: Annotated[float, Field(gt=0)] = 2.0
    features: Annotated[float, Field(ge=0)] = 0.0
    mixup: Annotated[float, Field(ge=0, le=1)] = 0.0
    crop_scale: tuple[float, float] = (0.35, 1.0)
    crop_size: Annotated[int, Field(ge=32)] | None = None
    first_size: Annotated[int, Field(ge=32)] | None = None
    average: Annotated[float, Field(ge=0, lt=1)] = 0.0
    start_share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    seed: int = 0
    precision: Precision = "32-true"
    compile: bool = False
    checkpoint_every: Annotated[int, Field(ge=1)] = 100

    def trains_like(self, other: Recipe) -> bool:
        """Whether the steps are the same: `start_share` comes after them, and may be another for a finished run."""
        return self == other.model_copy(update={"start_share": self.start_share})


def recipe_of(settings: Mapping[str, Any]) -> Recipe:
    """The recipe of these settings, by their names.

    Raises:
        InputError: one that there is not, or a value that breaks its rule.
    """
    try:
        return Recipe.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "extra_forbidden":
            raise InputError(
                f"recipe: must be of {', '.join(Recipe.model_fields)}, not {first['loc'][0]!r}; correct the name"
            ) from None
        field = ".".join(str(part) for part in first["loc"]).replace("_", "-")
        raise InputError(
            f"{field}: {first['msg']}, not {first['input']!r}; see `fireflow train --help`"
        ) from None
