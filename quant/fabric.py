"""Lightning Fabric on the devices of this machine, or what it lacks."""

from __future__ import annotations

from typing import Any

import torch
from lightning_fabric import Fabric

from hw.errors import InputError
from quant.recipe import Precision


def open_fabric(
    accelerator: str = "auto", devices: int | str = "auto", precision: Precision = "32-true", **settings: Any
) -> Fabric:
    """A Fabric, not yet launched.

    Args:
        accelerator: "cpu", "cuda", "mps" or "auto".
        devices: how many, or "auto".
        precision: of the floats.
        settings: whatever else `lightning_fabric.Fabric` takes.

    Raises:
        InputError: this machine has no such device, or fewer of them.
    """
    there = {
        "cuda": torch.cuda.device_count(),
        "mps": int(torch.backends.mps.is_available()),
    }
    kind = accelerator
    if kind == "auto":
        kind = next((name for name, count in there.items() if count), "cpu")
    if kind not in ("cpu", *there):
        raise InputError(
            f"accelerator: must be cpu, {', '.join(there)} or auto, not {accelerator!r}; use auto"
        )
    count = there.get(kind)
    if count == 0:
        raise InputError(
            f"accelerator: torch must see a {kind} device, and it sees none here; use --accelerator cpu"
        )
    if count is not None and isinstance(devices, int) and devices > count:
        raise InputError(
            f"devices: must be at most the {count} of {kind} that are here, not {devices}; use auto"
        )
    return Fabric(accelerator=kind, devices=devices, precision=precision, **settings)
