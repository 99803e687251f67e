"""A QONNX file's own engine, without anything of ours between the file and it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.util.cleanup import cleanup_model

from fireflow.hw.finn import environment


def engine_scores(path: Path, inputs: np.ndarray) -> np.ndarray:
    """What qonnx itself gives for float32 (N, C, H, W), by its own reader and cleanup: float32 (N, classes)."""
    with environment.execution():
        model = cleanup_model(ModelWrapper(str(path)))
        source, output = model.graph.input[0].name, model.graph.output[0].name
        rows = [execute_onnx(model, {source: image[None]})[output].reshape(1, -1) for image in inputs]
    return np.concatenate(rows)
