"""The operations of the integer graph: one frozen dataclass per file."""

from fireflow.hw.ops.add import Add
from fireflow.hw.ops.base import Op
from fireflow.hw.ops.bias import Bias
from fireflow.hw.ops.concat import Concat
from fireflow.hw.ops.conv import Conv
from fireflow.hw.ops.global_sum import GlobalSum
from fireflow.hw.ops.max_pool import MaxPool
from fireflow.hw.ops.multiply import Multiply
from fireflow.hw.ops.relu import Relu
from fireflow.hw.ops.threshold import Threshold

__all__ = ["Add", "Bias", "Concat", "Conv", "GlobalSum", "MaxPool", "Multiply", "Op", "Relu", "Threshold"]
