"""The models that come with fireflow, one NAME.fireq each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fireflow.hw.packing import read_arrays

_FOLDER = Path(__file__).parent
_SUFFIX = ".fireq"

DEFAULT = "squeezenet1_1-w4a4-imagenet"
"""The model of the demo, and of benchmarks that name none: four bits, a thousand classes."""


def shipped() -> list[str]:
    """Names of the models, sorted."""
    return sorted(path.stem for path in _FOLDER.glob(f"*{_SUFFIX}"))


def shipped_path(name: str) -> Path:
    """The file of the model called `name`."""
    return _FOLDER / f"{name}{_SUFFIX}"


def shipped_models() -> list[dict[str, Any]]:
    """The models that come with fireflow, by name.

    Returns:
        of each its `name`, which stands for its file everywhere; `policy` of bits or "float"; side of its `input` in
        pixels; how many `classes` it has; the `bytes` of its file; and its `accuracy` in percent where it was measured.

    Raises:
        InputError: a file is damaged.
    """
    rows = []
    for name in shipped():
        path = shipped_path(name)
        meta = read_arrays(path)[1]
        policy = meta["policy"]
        rows.append(
            {
                "name": name,
                "policy": "float" if policy is None else policy["name"],
                "input": meta["preprocessing"]["size"],
                "classes": meta["spec"]["num_classes"],
                "bytes": path.stat().st_size,
                "accuracy": meta["card"].get("accuracy", []),
            }
        )
    return rows
