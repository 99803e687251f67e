"""FINN: from a QONNX file to a model of integers, and from there to the integer graph.

The only part of `hw` that imports finn, qonnx and onnx. No vendor tool or variable is needed.
"""
