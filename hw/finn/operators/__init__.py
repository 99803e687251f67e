"""FINN's operators for our layers: for each kind of layer that FINN knows, in the file of the same name, its node.

A kind that has none here is ours alone.
"""

from fireflow.hw.finn.operators import fifo, matmul, pad, threshold, width_converter, window
from fireflow.hw.finn.operators.base import Operator

__all__ = ["Operator", "fifo", "matmul", "pad", "threshold", "width_converter", "window"]
