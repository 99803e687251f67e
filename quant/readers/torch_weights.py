"""Weights in files of torch and safetensors: torchvision's names and our own, in checkpoints of any kind."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy.typing as npt
import safetensors.torch
import torch

from fireflow.hw.errors import InputError, plain
from fireflow.quant.imported.raw import SAVE, Raw
from fireflow.quant.readers.base import Reader
from fireflow.quant.readers.state_dicts import Found, find_network, network_keys
from fireflow.quant.readers.torch_file import read_torch_file

_LOG = logging.getLogger(__name__)
_IN_NUMPY = (torch.float16, torch.float32, torch.float64)


def read_torch(path: Path, key: str | None = None) -> Raw:
    """A network from a file of `torch.save`: a state dict, or a checkpoint that holds one however it is nested.

    Args:
        path: the file.
        key: which network, where a checkpoint holds several; see `quant.readers.state_dicts.find_network`.

    Raises:
        InputError: no state dict of one network that is known here. On damage, whatever torch raises.
    """
    return _named(path, "torch", find_network(path, read_torch_file(path), key))


def read_safetensors(path: Path, key: str | None = None) -> Raw:
    """A network from the state dict in a .safetensors file.

    Raises:
        InputError: no network that is known here. On damage, whatever safetensors raises.
    """
    content = safetensors.torch.load_file(path, device="cpu")
    return _named(path, "safetensors", find_network(path, content, key))


def _named(path: Path, source: str, found: Found) -> Raw:
    """A network's tensors by our names; torchvision's are recognised by theirs."""
    arrays = {name: _array(path, name, tensor) for name, tensor in found.tensors(path).items()}
    if beside := found.left_out():
        _LOG.warning(plain(f"fireflow: {path}: taken is {found.key}, without {_listed(beside)}"))
    return found.files.named(path, source, arrays)


def _listed(names: list[str]) -> str:
    """The first of many names."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more tensors" if len(names) > 3 else "")


def _array(path: Path, name: str, value: torch.Tensor) -> npt.NDArray[Any]:
    # An expanded tensor of one stored number could claim any size.
    if (
        value.layout != torch.strided
        or value.device.type != "cpu"
        or value.is_quantized
        or value.numel() * value.element_size() > value.untyped_storage().nbytes()
    ):
        raise InputError(
            f"{path}: {name}: must be stored whole, as floats, not as {tuple(value.shape)} of other values; {SAVE}"
        )
    value = value.detach()
    wide = value.is_floating_point() and value.dtype not in _IN_NUMPY
    array: npt.NDArray[Any] = (value.float() if wide else value).numpy()
    return array


Reader(
    (".pth", ".pt"),
    read_torch,
    lambda path: network_keys(path, read_torch_file(path)),
    (".ckpt", ".bin", ".tar"),  # that people give to checkpoints, the last as .pth.tar
)
Reader((".safetensors",), read_safetensors, lambda _path: [])
