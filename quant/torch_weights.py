"""State dicts of torch in .pth, .pt and .safetensors files: torchvision's SqueezeNets, and our own."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch

from hw.errors import InputError
from hw.preprocessing import TORCHVISION
from quant.family import MAX_BYTES, Raw
from quant.precision import FIRE_NUMBERS

_WRAPPERS = ("state_dict", "model_state_dict", "model")
_FIRE = re.compile(r"features\.(\d+)\.(squeeze|expand1x1|expand3x3)\.(weight|bias)")
_FIRST = re.compile(r"features\.0\.(weight|bias)")
_LAST = re.compile(r"classifier\.1\.(weight|bias)")


def read_torch(path: Path) -> Raw:
    """A state dict from a .pth or .pt file, with torch's reader that builds tensors and nothing else.

    Raises:
        InputError: no state dict. On damage or other objects, whatever torch raises.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > MAX_BYTES:
            raise InputError(
                f"{path}: must unpack to at most {MAX_BYTES} bytes, not {size}; is it a SqueezeNet?"
            )
    content = torch.load(path, map_location="cpu", weights_only=True)
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    return _named(path, "torch", content)


def read_safetensors(path: Path) -> Raw:
    """A state dict from a .safetensors file.

    Raises:
        InputError: no SqueezeNet. On damage, whatever safetensors raises.
    """
    return _named(path, "safetensors", safetensors.torch.load_file(path, device="cpu"))


def _named(path: Path, source: str, content: Any) -> Raw:
    """State dict entries by our names; torchvision's are recognised by theirs."""
    if not isinstance(content, Mapping) or not content:
        raise InputError(
            f"{path}: must hold a state dict, not {type(content).__name__}; save net.state_dict()"
        )
    arrays = {
        str(key).removeprefix("module."): _array(path, str(key), value) for key, value in content.items()
    }
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
        renamed[name] = array
    version_1_0 = renamed.get("conv1.weight", np.zeros(0)).shape[2:] == (7, 7)
    wanted = [3, 4, 5, 7, 8, 9, 10, 12] if version_1_0 else [3, 4, 6, 7, 9, 10, 11, 12]
    if numbers != wanted:  # the pools are where the numbers have gaps
        raise InputError(
            f"{path}: Fire modules must be features {wanted}, not {numbers}; give torchvision's network"
        )
    return Raw(renamed, source, TORCHVISION, head_padding=0)


def _array(path: Path, name: str, value: Any) -> npt.NDArray[Any]:
    if not isinstance(value, torch.Tensor):
        raise InputError(
            f"{path}: {name}: must be a tensor, not {type(value).__name__}; save net.state_dict()"
        )
    # An expanded tensor of one stored number could claim any size.
    if (
        value.layout != torch.strided
        or value.numel() * value.element_size() > value.untyped_storage().nbytes()
    ):
        raise InputError(
            f"{path}: {name}: must be stored whole, not as {tuple(value.shape)} of fewer values; save it"
        )
    value = value.detach()
    array: npt.NDArray[Any] = (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    return array
