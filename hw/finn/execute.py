"""The lowered model run by FINN and the QONNX file run by QONNX: what the integer graph is compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from finn.core.onnx_exec import execute_onnx as execute_finn
from numpy.typing import NDArray
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx as execute_qonnx

from fireflow.hw.errors import InputError
from fireflow.hw.finn import checks, environment, naming
from fireflow.hw.finn.load import load
from fireflow.hw.finn.lowered import ACCUMULATOR_LIMIT, LoweredModel
from fireflow.hw.finn.pixels import as_input
from fireflow.hw.finn.read import read_model
from fireflow.hw.preprocessing import Preprocessing

Images: TypeAlias = NDArray[np.uint8]
Tensors: TypeAlias = dict[str, NDArray[Any]]


def finn_trace(lowered: LoweredModel, images: Images) -> dict[str, NDArray[np.int64]]:
    """Every tensor of the lowered model as FINN's `execute_onnx` computes it.

    Args:
        images: uint8 (N, H, W, C); one is executed after the other.

    Returns:
        name in the integer graph -> int64 (N, H, W, C), or (N, classes) for the scores.

    Raises:
        InputError: images of another shape or type.
        ArithmeticError: a value that is not an integer, or that float32 may have rounded.
    """
    model = lowered.model
    source, names = model.graph.input[0].name, naming.graph_tensors(model)

    def run(image: NDArray[np.float32]) -> Tensors:
        found = execute_finn(model, {source: image}, return_full_exec_context=True)
        return {name: _as_integers(name, found[name]) for name in names}

    return _each(source, run, images, model.get_tensor_shape(source)[1:], names)


def qonnx_trace(path: str | Path, images: Images, record: Preprocessing | None = None) -> Tensors:
    """Every tensor of a QONNX file that the integer graph has too, as QONNX's `execute_onnx` computes it.

    The file is executed as it was written: nothing of the lowering has touched it.

    Args:
        path: the QONNX file.
        images: uint8 (N, H, W, C).
        record: what the file's input expects of a pixel; without one, the pixel itself.

    Returns:
        name -> float32 (N, H, W, C), or (N, classes) for the scores. Convolutions include their bias. The
        tensors in `quantizer_scales` become integers when divided by their scale.

    Raises:
        InputError: a bad file, images of another shape or type.
    """
    with environment.finn():
        model = read_model(path, record)
        written = load(path)
    source = model.graph.input[0].name
    names = [source, *(name for _, name in naming.qonnx_names(model))]
    return written_trace(written, images, record, names)


def written_trace(
    written: ModelWrapper, images: Images, record: Preprocessing | None, names: Sequence[str]
) -> Tensors:
    """Tensors of a model that `hw.finn.load` read, for pictures: float32, channels last, the output (N, classes).

    Raises:
        InputError: images of another shape or type, or a file that its own engine cannot run.
    """
    source, output = written.graph.input[0].name, written.graph.output[0].name
    _, channels, *size = written.get_tensor_shape(source)

    def run(image: NDArray[np.float32]) -> Tensors:
        try:
            found = execute_qonnx(written, {source: as_input(image, record)}, return_full_exec_context=True)
        except Exception as error:  # neither qonnx nor ONNX Runtime has a common type for what it cannot run
            raise InputError(
                f"{written.graph.name or source}: QONNX must be able to run the file, and it cannot "
                f"({type(error).__name__}: {error}); export it again"
            ) from None
        tensors = {name: _channels_last(found[name]) for name in names}
        return {**tensors, output: found[output].reshape(1, -1)} if output in tensors else tensors

    return _each(source, run, images, (*size, channels), names)


def quantizer_scales(path: str | Path, record: Preprocessing | None = None) -> dict[str, float]:
    """Scale of every quantized tensor of a QONNX file: outputs of quantizers, and what moves or combines these.

    Raises:
        InputError: a bad file.
    """
    with environment.finn():
        model = read_model(path, record)
        scales = checks.check(model)
        places = {name for _, name in naming.qonnx_names(model)}
    return {name: scale for name, scale in scales.items() if name in places}


def _each(
    source: str,
    run: Callable[[NDArray[np.float32]], Tensors],
    images: Images,
    shape: Iterable[int],
    names: Iterable[str],
) -> Tensors:
    """Runs image by image, as float32 (1, H, W, C), and puts the tensors together."""
    _check_images(source, images, tuple(shape))
    with environment.execution():
        rows = [run(image[np.newaxis].astype(np.float32)) for image in images]
    return {name: np.concatenate([row[name] for row in rows]) for name in names}


def _check_images(source: str, images: Any, shape: tuple[int, ...]) -> None:
    given = type(images).__name__
    if isinstance(images, np.ndarray):
        if images.dtype == np.uint8 and images.shape[1:] == shape and len(images):
            return
        given = f"{images.dtype} of shape {images.shape}"
    wanted = ", ".join(map(str, ("N", *shape)))
    raise InputError(
        f"{source}: images must be uint8 of shape ({wanted}), not {given}; resize or convert them"
    )


def _channels_last(array: NDArray[Any]) -> NDArray[Any]:
    return array.transpose(0, 2, 3, 1) if array.ndim == 4 else array


def _as_integers(name: str, values: NDArray[Any]) -> NDArray[np.int64]:
    integers: NDArray[np.int64] = values.astype(np.int64)
    if not np.array_equal(integers, values):
        bad = values[integers != values].flat[0]
        raise ArithmeticError(f"{name}: FINN's execution gives {bad}, which is not an integer")
    if (top := np.abs(integers).max()) >= ACCUMULATOR_LIMIT:
        raise ArithmeticError(f"{name}: {top} is beyond 2^24, where float32 does not hold every integer")
    return integers
