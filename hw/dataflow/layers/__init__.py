"""The layers of a dataflow accelerator: one file for each kind, with all that is known of it.

A kind is a `Layer`: its checks and integers, its time (`timing`), its cost (`features`, `memories`, `dsps`) and its
Verilog (`rtl`). An operation of the graph becomes layers by its `Maker`, which also knows the foldings worth a look.
Both register themselves: importing this package imports every file in it. Named here are those that others ask for.
"""

from importlib import import_module
from pkgutil import iter_modules

from fireflow.hw.dataflow.layers.add import Add
from fireflow.hw.dataflow.layers.base import Layer
from fireflow.hw.dataflow.layers.concat import Concat
from fireflow.hw.dataflow.layers.conv import ConvMaker
from fireflow.hw.dataflow.layers.fifo import Fifo
from fireflow.hw.dataflow.layers.fork import Fork
from fireflow.hw.dataflow.layers.head import Head
from fireflow.hw.dataflow.layers.maker import Maker
from fireflow.hw.dataflow.layers.matmul import MatMul
from fireflow.hw.dataflow.layers.max_pool import MaxPool
from fireflow.hw.dataflow.layers.pad import Pad
from fireflow.hw.dataflow.layers.threshold import Threshold
from fireflow.hw.dataflow.layers.width_converter import WidthConverter
from fireflow.hw.dataflow.layers.window import Window

for _module in iter_modules(__path__, f"{__name__}."):
    import_module(_module.name)

__all__ = [
    "Add",
    "Concat",
    "ConvMaker",
    "Fifo",
    "Fork",
    "Head",
    "Layer",
    "Maker",
    "MatMul",
    "MaxPool",
    "Pad",
    "Threshold",
    "WidthConverter",
    "Window",
]
