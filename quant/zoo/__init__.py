"""The models that come with fireflow, one NAME.fireq each."""

from __future__ import annotations

from pathlib import Path

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
