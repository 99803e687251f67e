"""Weights in files of torch and safetensors: torchvision's SqueezeNets and our own, in checkpoints of any kind."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch

from fireflow.hw.errors import InputError, plain
from fireflow.hw.preprocessing import TORCHVISION
from fireflow.quant.family import Raw
from fireflow.quant.precision import FIRE_NUMBERS
from fireflow.quant.state_dicts import Found, find_network, network_keys
from fireflow.quant.torch_file import SAVE, read_torch_file

OTHER_ENDINGS = (".ckpt", ".bin", ".tar")
"""That people give to checkpoints (the last as .pth.tar), besides .pth and .pt."""
_LOG = logging.getLogger(__name__)
_IN_NUMPY = (torch.float16, torch.float32, torch.float64)
_FIRE = re.compile(r"features\.(\d+)\.(squeeze|expand1x1|expand3x3)\.(weight|bias)")
_FIRST = re.compile(r"features\.0\.(weight|bias)")
_LAST = re.compile(r"classifier\.1\.(weight|bias)")


def read_torch(path: Path, key: str | None = None) -> Raw:
    """A SqueezeNet from a file of `torch.save`: a state dict, or a checkpoint that holds one however it is nested.

    Args:
        path: the file.
        key: which network, where a checkpoint holds several; see `quant.state_dicts.find_network`.

    Raises:
        InputError: no state dict of one SqueezeNet. On damage, whatever torch raises.
    """
    return _named(path, "torch", find_network(path, read_torch_file(path), key))


def read_safetensors(path: Path, key: str | None = None) -> Raw:
    """A SqueezeNet from the state dict in a .safetensors file.

    Raises:
        InputError: no SqueezeNet. On damage, whatever safetensors raises.
    """
    content = safetensors.torch.load_file(path, device="cpu")
    return _named(path, "safetensors", find_network(path, content, key))


def networks_in(path: Path) -> list[str]:
    """The keys of the networks in a file of torch; of other weight files none."""
    if path.suffix.lower() not in (".pth", ".pt", *OTHER_ENDINGS):
        return []
    return network_keys(path, read_torch_file(path))


def _named(path: Path, source: str, found: Found) -> Raw:
    """A network's tensors by our names; torchvision's are recognised by theirs."""
    arrays = {name: _array(path, name, tensor) for name, tensor in found.tensors(path).items()}
    if beside := found.left_out():
        _LOG.warning(plain(f"fireflow: {path}: taken is {found.key}, without {_listed(beside)}"))
    if not any(name.startswith("features.") for name in arrays):
        return Raw(arrays, source)
    numbers = sorted({int(match[1]) for match in map(_FIRE.fullmatch, arrays) if match})
    if len(numbers) != len(FIRE_NUMBERS):
        raise InputError(
            f"{path}: features must have {len(FIRE_NUMBERS)} Fire modules, not {len(numbers)}; "
            "give torchvision's squeezenet1_0 or squeezenet1_1"
        )
    fire_of = dict(zip(numbers, FIRE_NUMBERS, strict=True))
    renamed = {}
    for name, array in arrays.items():
        if match := _FIRE.fullmatch(name):
            name = f"fire{fire_of[int(match[1])]}.{match[2]}.{match[3]}"
        elif match := _FIRST.fullmatch(name):
            name = f"conv1.{match[1]}"
        elif match := _LAST.fullmatch(name):
            name = f"conv10.{match[1]}"
        if name in renamed:
            raise InputError(f"{path}: {name} must be there once, not under torchvision's name too; {SAVE}")
        renamed[name] = array
    version_1_0 = renamed.get("conv1.weight", np.zeros(0)).shape[2:] == (7, 7)
    wanted = [3, 4, 5, 7, 8, 9, 10, 12] if version_1_0 else [3, 4, 6, 7, 9, 10, 11, 12]
    if numbers != wanted:  # the pools are where the numbers have gaps
        raise InputError(
            f"{path}: Fire modules must be features {wanted}, not {numbers}; give torchvision's network"
        )
    return Raw(renamed, source, TORCHVISION, head_padding=0)


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
