"""Our kernels as FINN sees them: a Fire module needs no HLS, and their RTL computes what FINN's operators mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from onnx import helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import getCustomOp
from qonnx.util.basic import qonnx_make_model

from fireflow.hw.errors import InputError
from fireflow.hw.finn.environment import finn
from fireflow.hw.finn.kernels import REGISTERED, register, specialize
from fireflow.hw.finn.lowering import lower
from fireflow.hw.tools.axi_stream import pack_words, unpack_words
from fireflow.hw.tools.verilator import Simulation
from tests.hw.finn.qonnx_builder import Builder, fire

PART = "xc7z020clg400-1"
DOMAIN = "finn.custom_op.fpgadataflow.rtl"


def test_a_fire_module_needs_no_hls(tmp_path: Path) -> None:
    builder = Builder(0, (3, 12, 12))
    pooled = builder.pool("pool1", builder.act(builder.conv("conv1", "image", 4, kernel=3, bits=6)))
    builder.head(fire(builder, "fire2", pooled))
    model = specialize(lower(builder.save(tmp_path / "fire.onnx")).model, PART)
    kinds = [node.op_type for node in model.graph.node if node.domain]
    assert not [kind for kind in kinds if not kind.endswith("_rtl")]
    assert {"DuplicateStreams_rtl", "StreamingConcat_rtl", "Pool_rtl"} <= set(kinds)
    assert {node.domain for node in model.graph.node} == {
        DOMAIN,
        "",
    }  # "": bias, Relu and sum behind the last


def run(folder: Path, kind: str, inputs: list[np.ndarray], words: int, **attributes: Any) -> list[np.ndarray]:
    """The outputs, int64 (words, lanes), of the RTL of a node with 4-bit unsigned inputs (words, lanes)."""
    register()
    copies = attributes.get("NumOutputStreams", 1)
    names = [f"in{k}" for k in range(len(inputs))], [f"out{k}" for k in range(copies)]
    node = helper.make_node(kind, *names, name="node", domain=DOMAIN, backend="fpgadataflow", **attributes)
    with finn():
        model = ModelWrapper(qonnx_make_model(helper.make_graph([node], "node", [], [])))
        operator = getCustomOp(model.graph.node[0])
        operator.set_nodeattr("code_gen_dir_ipgen", str(folder))
        operator.generate_hdl(model, PART, 10.0)
        sources = operator.get_rtl_file_list(abspath=True)
        assert all(any(path in line for line in operator.code_generation_ipi()) for path in sources)
        output = operator.get_output_datatype()
    simulation = Simulation.build("node", sources)
    lanes = inputs[0].shape[1]
    result = simulation.run(
        [pack_words(values, lanes, 4, False) for values in inputs], [words] * copies, stalls=0.3, cwd=folder
    )
    return [unpack_words(got, lanes, output.bitwidth(), output.signed()) for got in result.outputs]


def test_duplicate_streams(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 16, (24, 2))
    outputs = run(
        tmp_path,
        "DuplicateStreams_rtl",
        [values],
        24,
        NumChannels=4,
        PE=2,
        NumOutputStreams=3,
        inputDataType="UINT4",
        numInputVectors=[1, 3, 4],
    )
    for output in outputs:
        assert_array_equal(output, values)


def test_concat(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    left, right = random.integers(0, 16, (12, 2, 2)), random.integers(0, 16, (12, 3, 2))  # pixel, group, lane
    (output,) = run(
        tmp_path,
        "StreamingConcat_rtl",
        [left.reshape(-1, 2), right.reshape(-1, 2)],
        60,
        ChannelsPerStream=[4, 6],
        SIMD=2,
        inputDataTypes=["UINT4", "UINT4"],
        numInputVectors=[1, 3, 4],
    )
    assert_array_equal(output, np.concatenate([left, right], axis=1).reshape(-1, 2))


def test_pool_after_a_window_generator(tmp_path: Path) -> None:
    windows = np.random.default_rng(2).integers(0, 16, (6, 2, 9, 2))  # pixel, group, place, lane
    (output,) = run(
        tmp_path,
        "Pool_rtl",
        [windows.reshape(-1, 2)],
        12,
        Channels=4,
        PE=2,
        KernelSize=[3, 3],
        Function="MaxPool",
        OutImgDims=[2, 3],
        InputDataType="UINT4",
        OutputDataType="UINT4",
    )
    assert_array_equal(output, windows.max(axis=2).reshape(-1, 2))


def test_global_sum(tmp_path: Path) -> None:
    values = np.random.default_rng(3).integers(0, 16, (12, 2, 2))
    (output,) = run(
        tmp_path,
        "GlobalAccPool_rtl",
        [values.reshape(-1, 2)],
        2,
        NumChannels=4,
        PE=2,
        inputDataType="UINT4",
        numInputVectors=[1, 3, 4],
    )
    assert_array_equal(output, values.sum(axis=0))


def test_what_we_have_no_kernel_for(tmp_path: Path) -> None:
    three = {"ChannelsPerStream": [2, 2, 2], "SIMD": 2, "inputDataTypes": ["UINT4"] * 3}
    values = np.zeros((1, 2), np.int64)
    with pytest.raises(InputError, match=r"node: a Concat must have 2 inputs, not 3; split it"):
        run(tmp_path, "StreamingConcat_rtl", [values] * 3, 1, **three, numInputVectors=[1, 1, 1])
    average = {"Channels": 2, "PE": 2, "KernelSize": [2, 2], "Function": "AccPool", "OutImgDims": [1, 1]}
    types = {"InputDataType": "UINT4", "OutputDataType": "UINT8"}
    with pytest.raises(InputError, match=r"node: Function must be MaxPool, not AccPool"):
        run(tmp_path, "Pool_rtl", [values], 1, **average, **types)


def test_registered_once() -> None:
    register()
    register()
    with finn():
        from finn.custom_op.fpgadataflow.rtl import custom_op
    assert set(REGISTERED) <= set(custom_op)
