"""Tiny classifiers as ONNX files."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WEIGHT = np.array([[0.04, 0, 0, 0.01], [0, 0.04, 0, 0.01], [0, 0, 0.04, 0.01]], dtype=np.float32)
"""A class for each colour, and one for bright pictures."""


def colours(path: Path, batch: int | str = "N", side: int | str = "S", classes: int = 4) -> Path:
    """Write an ONNX classifier that sees only the mean colour of a picture."""
    weight = WEIGHT[:, :classes]
    nodes = [
        helper.make_node("GlobalAveragePool", ["pixels"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [batch, 3, side, side])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, classes])],
        [numpy_helper.from_array(weight, "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, path)
    return path
