"""What a reader found in a weight file, before any check of values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fireflow.quant.imported.input_record import NOTHING_TOLD, Told

MAX_BYTES = 1 << 30
"""No weight file may hold or unpack to more than this; SqueezeNet needs 5 MB, AlexNet 244 MB."""

SAVE = 'save its state dict: torch.save(net.state_dict(), "weights.pth")'
"""What makes every network of torch readable, in the program that has it."""

Array = npt.NDArray[np.float32]
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Raw:
    """What a reader found in a file.

    Args:
        arrays: by our names, any float type.
        source: the kind of file.
        told: what it tells of its pictures.
        wiring: what it tells of the network beside tensors, as the network's `WeightFiles` understand it; None where
            it tells nothing.
        softmax: the tensor of the scores where a softmax follows them.
    """

    arrays: Mapping[str, npt.NDArray[Any]]
    source: str
    told: Told = NOTHING_TOLD
    wiring: Any = None
    softmax: str | None = None
