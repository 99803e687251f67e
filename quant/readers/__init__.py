"""Readers of float weights, one format a file (or more); each registers itself."""

# The order in which messages name their endings.
from fireflow.quant.readers import caffe, onnx_weights, torch_weights, npz  # isort: skip

__all__ = ["caffe", "npz", "onnx_weights", "torch_weights"]
