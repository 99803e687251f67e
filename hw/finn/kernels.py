"""Our kernels as RTL variants of FINN's operators: with them FINN specialises a Fire module without any HLS.

FINN has these operators in HLS only, which wants Vitis. After `register()`, its `SpecializeLayers` picks ours.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fireflow.hw.dataflow.kernel import Kernel
from fireflow.hw.dataflow.layers import Concat, Fork, Head, Layer, MaxPool
from fireflow.hw.dataflow.stream import Stream
from fireflow.hw.dataflow.timing import ANY_FAMILY
from fireflow.hw.errors import InputError
from fireflow.hw.finn.environment import finn

if TYPE_CHECKING:
    from qonnx.core.modelwrapper import ModelWrapper

REGISTERED = ("DuplicateStreams_rtl", "StreamingConcat_rtl", "Pool_rtl", "GlobalAccPool_rtl")


@cache
def register() -> None:
    """Makes our kernels known to FINN, once."""
    with finn():
        _register()


def specialize(model: ModelWrapper, part: str) -> ModelWrapper:
    """The hardware layers of a lowered model, each as RTL where FINN or we have it.

    Args:
        model: of `lower`, cut where its operators are FINN's: integers, NHWC.
        part: the FPGA, such as "xc7z020clg400-1".
    """
    register()
    with finn():
        from finn.transformation.fpgadataflow.specialize_layers import SpecializeLayers

        return to_hardware_layers(model).transform(SpecializeLayers(part))


def to_hardware_layers(model: ModelWrapper, more: Sequence[Any] = ()) -> ModelWrapper:
    """The hardware layers of a lowered model, as FINN names them before it decides on RTL or HLS.

    Args:
        more: transformations for operators beyond those of a Fire module.
    """
    with finn():
        from finn.transformation.fpgadataflow.convert_to_hw.concat import InferConcatLayer
        from finn.transformation.fpgadataflow.convert_to_hw.conv_inp_gen import InferConvInpGen
        from finn.transformation.fpgadataflow.convert_to_hw.duplicate_streams import (
            InferDuplicateStreamsLayer,
        )
        from finn.transformation.fpgadataflow.convert_to_hw.pool import InferPool
        from finn.transformation.fpgadataflow.convert_to_hw.quantized_matrix_vector_activation import (
            InferQuantizedMatrixVectorActivation,
        )
        from finn.transformation.fpgadataflow.convert_to_hw.thresholding import InferThresholdingLayer
        from qonnx.transformation.general import GiveUniqueNodeNames, SortGraph
        from qonnx.transformation.infer_datatypes import InferDataTypes

        for step in (
            InferThresholdingLayer(),
            InferQuantizedMatrixVectorActivation(),
            InferPool(),
            InferConvInpGen(),
            InferConcatLayer(),
            *more,
            InferDuplicateStreamsLayer(),
            SortGraph(),
            GiveUniqueNodeNames(),
            InferDataTypes(),
        ):
            model = model.transform(step)
    return model


def _register() -> None:
    from finn.custom_op.fpgadataflow.concat import StreamingConcat
    from finn.custom_op.fpgadataflow.duplicatestreams import DuplicateStreams
    from finn.custom_op.fpgadataflow.globalaccpool import GlobalAccPool
    from finn.custom_op.fpgadataflow.pool import Pool
    from finn.custom_op.fpgadataflow.rtl import register_custom_op
    from finn.custom_op.fpgadataflow.rtlbackend import RTLBackend

    class Ours(RTLBackend):  # type: ignore[misc]  # FINN is not typed
        """What the variants share: RTL from `layer`, one wrapper module of the node's name around our kernel."""

        def get_nodeattr_types(self) -> dict[str, Any]:
            return {**super().get_nodeattr_types(), **RTLBackend.get_nodeattr_types(self)}

        def layer(self) -> Layer:
            raise NotImplementedError

        def used(self) -> Kernel:
            return self.layer().rtl(ANY_FAMILY)

        def generate_hdl(self, model: ModelWrapper, fpgapart: str, clk: float) -> None:
            folder, name = Path(self.get_nodeattr("code_gen_dir_ipgen")), self.get_verilog_top_module_name()
            used = self.used()
            for path in used.sources:
                shutil.copyfile(path, folder / path.name)
            for image, text in used.images.items():
                (folder / image).write_text(text, encoding="utf-8")
            (folder / f"{name}.v").write_text(used.wrapper(name), encoding="utf-8")
            for attribute, value in (("gen_top_module", name), ("ipgen_path", folder), ("ip_path", folder)):
                self.set_nodeattr(attribute, str(value))

        def get_rtl_file_list(self, abspath: bool = False) -> list[str]:
            names = [path.name for path in self.used().sources]
            names.append(f"{self.get_nodeattr('gen_top_module')}.v")
            folder = self.get_nodeattr("code_gen_dir_ipgen")
            return [f"{folder}/{name}" for name in names] if abspath else names

        def code_generation_ipi(self) -> list[str]:
            added = [f"add_files -norecurse {path}" for path in self.get_rtl_file_list(abspath=True)]
            top = self.get_nodeattr("gen_top_module")
            return [*added, f"create_bd_cell -type module -reference {top} {self.onnx_node.name}"]

        def stream(self, kind: Any, channels: int, lanes: int) -> Stream:
            """A stream of one of FINN's types, with the pixels of `numInputVectors`."""
            pixels = [int(size) for size in self.get_nodeattr("numInputVectors")]
            shape = (*pixels[-2:], channels) if len(pixels) > 1 else (1, *pixels, channels)
            return Stream(shape, int(kind.min()), int(kind.max()), lanes)

    # The operator comes behind `Ours` whose methods count, and in front of RTLBackend.
    @register_custom_op
    class DuplicateStreams_rtl(Ours, DuplicateStreams):  # type: ignore[misc]
        """One stream to several readers."""

        def layer(self) -> Layer:
            channels, lanes = self.get_nodeattr("NumChannels"), self.get_nodeattr("PE")
            source = self.stream(self.get_input_datatype(), channels, lanes)
            copies = self.get_nodeattr("NumOutputStreams")
            return Fork(self.onnx_node.name, ("in",), (source,), source, copies)

    @register_custom_op
    class StreamingConcat_rtl(Ours, StreamingConcat):  # type: ignore[misc]
        """The channels of two streams side by side."""

        def layer(self) -> Layer:
            widths, lanes = self.get_nodeattr("ChannelsPerStream"), self.get_nodeattr("SIMD")
            if len(widths) != 2:
                raise InputError(
                    f"{self.onnx_node.name}: a Concat must have 2 inputs, not {len(widths)}; split it"
                )
            sources = tuple(
                self.stream(self.get_input_datatype(k), width, lanes) for k, width in enumerate(widths)
            )
            sink = self.stream(self.get_output_datatype(), sum(widths), lanes)
            return Concat(self.onnx_node.name, ("a", "b"), sources, sink)

    @register_custom_op
    class Pool_rtl(Ours, Pool):  # type: ignore[misc]
        """The maximum over windows that a ConvolutionInputGenerator has laid out one after the other.

        FINN's generator gives them for each group of PE channels; each is a line of K * K pixels to our kernel.
        """

        def layer(self) -> Layer:
            name, lanes = self.onnx_node.name, self.get_nodeattr("PE")
            if self.get_nodeattr("Function") != "MaxPool":
                raise InputError(
                    f"{name}: Function must be MaxPool, not {self.get_nodeattr('Function')}; use FINN's HLS"
                )
            area, kind = int(np.prod(self.get_nodeattr("KernelSize"))), self.get_input_datatype()
            lo, hi = int(kind.min()), int(kind.max())
            line, most = Stream((1, area, lanes), lo, hi, lanes), Stream((1, 1, lanes), lo, hi, lanes)
            return MaxPool(name, ("in",), (line,), most, (1, area), (1, area), (0, 0, 0, 0))

    @register_custom_op
    class GlobalAccPool_rtl(Ours, GlobalAccPool):  # type: ignore[misc]
        """The sum over all pixels."""

        def layer(self) -> Layer:
            channels, lanes = self.get_nodeattr("NumChannels"), self.get_nodeattr("PE")
            source = self.stream(self.get_input_datatype(), channels, lanes)
            kind = self.get_output_datatype()
            sink = Stream((channels,), int(kind.min()), int(kind.max()), lanes)
            zeros = np.zeros(channels, np.int64)
            return Head(self.onnx_node.name, ("in",), (source,), sink, zeros, False)
