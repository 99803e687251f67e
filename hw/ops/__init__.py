"""The operations of the integer graph: one frozen dataclass per file."""

from hw.ops.add import Add
from hw.ops.base import Op
from hw.ops.bias import Bias
from hw.ops.concat import Concat
from hw.ops.conv import Conv
from hw.ops.global_sum import GlobalSum
from hw.ops.max_pool import MaxPool
from hw.ops.relu import Relu
from hw.ops.threshold import Threshold

__all__ = ["Add", "Bias", "Concat", "Conv", "GlobalSum", "MaxPool", "Op", "Relu", "Threshold"]
