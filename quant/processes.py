"""Lightning Fabric on the devices of this machine, or what it lacks."""

from __future__ import annotations

import os
from typing import Any

import torch
from lightning_fabric import Fabric

from fireflow.hw.errors import InputError
from fireflow.quant.recipe import Precision


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
    there = _devices()
    kind = _kind(accelerator)
    if kind not in ("cpu", *there):
        raise InputError(
            f"accelerator: must be cpu, {', '.join(there)} or auto, not {accelerator!r}; use auto"
        )
    count = os.cpu_count() if kind == "cpu" else there.get(kind)
    if count == 0:
        raise InputError(
            f"accelerator: torch must see a {kind} device, and it sees none here; use --accelerator cpu"
        )
    if count is not None and isinstance(devices, int) and devices > count:
        raise InputError(
            f"devices: must be at most the {count} of {kind} that are here, not {devices}; use auto"
        )
    return Fabric(accelerator=kind, devices=devices, precision=precision, **settings)


def is_first_process() -> bool:
    """Whether this is the one that writes: Fabric starts the program again for each further device."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


def emulates_bf16(accelerator: str) -> bool:
    """Whether that is a CPU without instructions for bf16: what is meant to save time then costs some.

    Old versions of torch do not tell what a CPU has; with them the answer is no.
    """
    if _kind(accelerator) != "cpu":
        return False
    tell = getattr(torch.cpu, "get_capabilities", None)
    if tell is None:
        return False
    capabilities = tell()
    return not any(has for name, has in capabilities.items() if "bf16" in name)


def _devices() -> dict[str, int]:
    """How many devices there are of each kind beside the CPU."""
    return {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}


def _kind(accelerator: str) -> str:
    """What "auto" stands for here."""
    if accelerator != "auto":
        return accelerator
    return next((name for name, count in _devices().items() if count), "cpu")
