"""The lowered model by FINN's own execution, and the QONNX file by QONNX's: what the integer graph is compared with."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.infer_shapes import InferShapes

from hw.errors import InputError
from hw.finn import checks, environment, naming
from hw.finn.lowered import LoweredModel
from hw.finn.passes import ACCUMULATOR_LIMIT

Images = NDArray[np.uint8]


def finn_trace(lowered: LoweredModel, images: Images) -> dict[str, NDArray[np.int64]]:
    """Every tensor of the lowered model as FINN's `execute_onnx` computes it.

    Args:
        images: uint8 (N, H, W, C); one is executed after the other.

    Returns:
        name in the integer graph -> int64 (N, H, W, C), or (N, C) for the scores.

    Raises:
        InputError: images of another shape or type.
        ArithmeticError: a value that is not an integer, or that float32 may have rounded.
    """
    from finn.core.onnx_exec import execute_onnx

    def run(image: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        context: dict[str, NDArray[Any]] = execute_onnx(lowered.model, {source: image}, return_full_exec_context=True)
        return {name: _as_integers(name, context[tensor]) for name, tensor in lowered.names.items()}

    source = lowered.model.graph.input[0].name
    _check_images(images, tuple(lowered.model.get_tensor_shape(source))[1:])
    return _stack([run(image) for image in _batches(images)], lowered.names)


def qonnx_trace(path: str | Path, images: Images) -> dict[str, NDArray[Any]]:
    """Every tensor of a QONNX file that the integer graph has too, as QONNX's `execute_onnx` computes it.

    Args:
        path: the QONNX file.
        images: uint8 (N, H, W, C).

    Returns:
        name -> float32 (N, H, W, C), or (N, classes) for the scores. Convolutions include their bias. Those named in
        `quantizer_scales` become integers when divided by their scale.

    Raises:
        InputError: a bad file, images of another shape or type.
    """
    from qonnx.core.onnx_exec import execute_onnx

    model = _read(path)
    source = model.graph.input[0].name
    channels, *size = tuple(model.get_tensor_shape(source))[1:]
    _check_images(images, (*size, channels))
    names = [source, *(name for _, name in naming.qonnx_names(model))]

    def run(image: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        pixels = np.ascontiguousarray(image.transpose(0, 3, 1, 2))
        context = execute_onnx(model, {source: pixels}, return_full_exec_context=True)
        return {name: context[name].transpose(0, 2, 3, 1) if context[name].ndim == 4 else context[name] for name in names}

    return _stack([run(image) for image in _batches(images)], names)


def quantizer_scales(path: str | Path) -> dict[str, float]:
    """Scale of every quantized tensor of a QONNX file: quantizers' outputs, and the pools, concats and sums of them.

    Raises:
        InputError: a bad file.
    """
    with environment.finn():
        model = _read(path)
        scales = checks.check(model)
        places = {name for _, name in naming.qonnx_names(model)}
    return {name: scale for name, scale in scales.items() if name in places}


def _read(path: str | Path) -> ModelWrapper:
    return checks.read_model(path).transform(InferShapes())


def _batches(images: Images) -> Iterator[NDArray[np.float32]]:
    """One image at a time, as float32 (1, H, W, C)."""
    for image in images:
        with environment.finn(), _no_rounding():
            yield image[np.newaxis].astype(np.float32)


@contextmanager
def _no_rounding() -> Iterator[None]:
    """QONNX rounds what is annotated as an integer before and after every node. Here fractions must be seen, not mended."""
    before = os.environ.get("SANITIZE_QUANT_TENSORS")
    os.environ["SANITIZE_QUANT_TENSORS"] = "0"
    try:
        yield
    finally:
        if before is None:
            del os.environ["SANITIZE_QUANT_TENSORS"]
        else:
            os.environ["SANITIZE_QUANT_TENSORS"] = before


def _check_images(images: Any, shape: tuple[int, ...]) -> None:
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.shape[1:] != shape or len(images) == 0:
        given = f"{images.dtype} of shape {images.shape}" if isinstance(images, np.ndarray) else type(images).__name__
        raise InputError(
            f"image: images must be uint8 of shape (N, {', '.join(map(str, shape))}), not {given}; resize or convert them"
        )


def _as_integers(name: str, values: NDArray[Any]) -> NDArray[np.int64]:
    integers = values.astype(np.int64)
    if not np.array_equal(integers, values):
        raise ArithmeticError(f"{name}: FINN's execution gives {values[integers != values].flat[0]}, not an integer")
    if np.abs(integers).max() >= ACCUMULATOR_LIMIT:
        raise ArithmeticError(f"{name}: {np.abs(integers).max()} is beyond 2^24, where float32 does not hold every integer")
    return integers


def _stack(rows: list[dict[str, NDArray[Any]]], names: Any) -> dict[str, NDArray[Any]]:
    return {name: np.concatenate([row[name] for row in rows]) for name in names}
