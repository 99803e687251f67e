"""A QONNX file as somebody wrote it: parsed, its domains and shapes known, nothing else changed."""

from __future__ import annotations

import stat
from collections import Counter
from collections.abc import Collection
from functools import partial
from pathlib import Path

import onnx
import onnx.inliner
from google.protobuf.message import DecodeError
from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.general import SortGraph
from qonnx.transformation.infer_shapes import InferShapes

from fireflow.hw.errors import InputError
from fireflow.hw.finn.constants import FOLDED, IDLE, fold
from fireflow.hw.finn.forms import check_forms
from fireflow.hw.finn.qonnx_file import QONNX
from fireflow.hw.finn.rules import RESPELLED, SUPPORTED
from fireflow.hw.finn.unsupported import check_operations

QUANT_DOMAINS = (QONNX, "onnx.brevitas", "finn.custom_op.general", "finn")
"""Where Quant lives, and where it lived: Brevitas up to 0.8, finn-base up to 0.0.3, FINN before that."""
_DOMAINS = ("", "ai.onnx", *QUANT_DOMAINS)
_OLDEST_OPSET = 7  # what ONNX Runtime executes
_MAX_ELEMENTS = 1 << 26
"""A tensor has at most so many. A whole SqueezeNet at 1024x1024 pixels stays below."""

_COMPUTED = frozenset((*SUPPORTED, *RESPELLED, *IDLE))
"""Operations on what the input decides; `hw.finn.simplify` takes those out that no rule takes."""


def load(path: str | Path) -> ModelWrapper:
    """The model in a file, as written: executable by QONNX, which is the file's own engine.

    Functions are inlined, initializers are no inputs, an open batch size is 1, every node has a name of its own.

    Raises:
        InputError: the file is missing or damaged, has not one input and one output, holds operations of a
            domain that is not known, or its shapes do not fit.
    """
    proto = _parse(Path(path))
    if proto.functions:
        try:
            proto = onnx.inliner.inline_local_functions(proto)
        except Exception as error:  # the inliner raises whatever its C++ does
            raise InputError(f"{path}: functions must be whole ({error}); export it again") from None
    graph = proto.graph
    _tidy(graph)
    _check_ends(path, graph)
    _check_wiring(path, graph)
    _name_nodes(graph)
    constants = {tensor.name for tensor in graph.initializer}
    constant_nodes = _constant_nodes(graph, constants)
    for wanted, kinds in ((False, _COMPUTED), (True, _COMPUTED.union(FOLDED, ("Shape",)))):
        chosen = [node for index, node in enumerate(graph.node) if (index in constant_nodes) is wanted]
        check_operations(chosen, partial(_among, kinds), _DOMAINS, SUPPORTED)
    _modern_domains(proto)
    _check_opset(path, proto)
    fold(proto)
    check_forms(graph)
    return _with_shapes(path, proto)


def _among(kinds: Collection[str], node: NodeProto) -> bool:
    return bool(node.op_type in kinds)


def _parse(path: Path) -> ModelProto:
    try:
        if not stat.S_ISREG(path.stat().st_mode) and not path.is_dir():
            raise InputError(f"{path}: the model must be a regular file, not a pipe or device; copy it")
        return onnx.load(str(path), format="protobuf")
    except OSError as error:
        raise InputError(
            f"{path}: the model must be readable, not {error.strerror or error}; check the path"
        ) from None
    except InputError:
        raise
    except (DecodeError, ValueError, onnx.checker.ValidationError) as error:
        raise InputError(
            f"{path}: the file must hold a whole ONNX model ({error}); export it again"
        ) from None


def _tidy(graph: GraphProto) -> None:
    """What means the same in every file: initializers are no inputs, results nobody reads and empty ends go."""
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [tensor for tensor in graph.input if tensor.name not in constants]
    del graph.input[:]
    graph.input.extend(inputs)
    read = {name for node in graph.node for name in node.input} | {tensor.name for tensor in graph.output}
    for node in graph.node:
        while node.input and not node.input[-1]:
            node.input.pop()
        while len(node.output) > 1 and node.output[-1] not in read:
            node.output.pop()


def _check_ends(path: str | Path, graph: GraphProto) -> None:
    if not graph.node or len(graph.input) != 1 or len(graph.output) != 1:
        raise InputError(
            f"{path}: the model must have nodes, one input and one output, not {len(graph.node)} nodes, "
            f"{len(graph.input)} inputs and {len(graph.output)} outputs; export it again"
        )
    axes = graph.input[0].type.tensor_type.shape.dim
    if axes and not axes[0].HasField("dim_value"):
        axes[0].dim_value = 1  # any batch size: pictures are independent, one is executed at a time
    _check_size(graph.input[0])


def _check_wiring(path: str | Path, graph: GraphProto) -> None:
    """Every tensor is computed once; what the file says of shapes in between is found out anew."""
    if graph.sparse_initializer:
        raise InputError(f"{path}: weights must be dense, not sparse initializers; export it again")
    given = [*(t.name for t in graph.input), *(t.name for t in graph.initializer)]
    made = [name for node in graph.node for name in node.output if name]
    known = {*given, *made, ""}
    for name in [graph.output[0].name, *(name for node in graph.node for name in node.input)]:
        if name not in known:
            raise InputError(f"{path}: every tensor must be computed somewhere, not {name}; export it again")
    twice = [name for name, count in Counter([*given, *made]).items() if count > 1]
    if twice:
        raise InputError(f"{path}: every tensor must be computed once, not {twice[0]} twice; export it again")
    for node in graph.node:
        if not node.output or not node.output[0]:
            raise InputError(
                f"{path}: every node must give a tensor, not {node.op_type} none; export it again"
            )
        if len(node.output) > 1 and node.op_type != "Constant":
            raise InputError(
                f"{node.name or node.output[0]}: only the first result of {node.op_type} may be used, not "
                f"{', '.join(node.output[1:])}; change that part of the network"
            )
    del graph.value_info[:]


def _name_nodes(graph: GraphProto) -> None:
    names = Counter(node.name for node in graph.node)
    for node in graph.node:
        if not node.name or names[node.name] > 1:
            node.name = node.output[0]


def _constant_nodes(graph: GraphProto, constants: set[str]) -> set[int]:
    """Positions of the nodes that depend on no input of the graph, in whatever order the nodes are."""
    known, found, before = {*constants, ""}, set[int](), -1
    while len(found) != before:
        before = len(found)
        for index, node in enumerate(graph.node):
            if index not in found and (node.op_type == "Shape" or known.issuperset(node.input)):
                found.add(index)
                known.update(node.output)
    return found


def _modern_domains(proto: ModelProto) -> None:
    """Quant in the domain that it has today."""
    for node in proto.graph.node:
        if node.domain in QUANT_DOMAINS:
            node.domain = QONNX
            if node.op_type == "IntQuant":
                node.op_type = "Quant"
        elif node.domain == "ai.onnx":
            node.domain = ""
    kept = [item for item in proto.opset_import if item.domain not in QUANT_DOMAINS]
    del proto.opset_import[:]
    proto.opset_import.extend([*kept, onnx.helper.make_opsetid(QONNX, 2)])


def _check_opset(path: str | Path, proto: ModelProto) -> None:
    version = opset(proto)
    if version is not None and version < _OLDEST_OPSET:
        raise InputError(
            f"{path}: the opset must be at least {_OLDEST_OPSET}, not {version}; export it with opset_version=13"
        )


def opset(proto: ModelProto) -> int | None:
    """The version of ONNX's own operations that a file means."""
    return next((item.version for item in proto.opset_import if item.domain in ("", "ai.onnx")), None)


def _with_shapes(path: str | Path, proto: ModelProto) -> ModelWrapper:
    try:
        model = ModelWrapper(proto).transform(SortGraph()).transform(InferShapes())
    except Exception as error:  # onnx and qonnx have no common type for shapes that do not fit
        raise InputError(f"{path}: shapes must fit together ({error}); export it again") from error
    graph = model.graph
    for item in (*graph.value_info, *graph.output):
        _check_size(item)
    return model


def _check_size(item: ValueInfoProto) -> None:
    count = 1
    for axis in item.type.tensor_type.shape.dim:
        count *= max(axis.dim_value, 1)
    if count > _MAX_ELEMENTS:
        raise InputError(
            f"{item.name}: a tensor must have at most {_MAX_ELEMENTS} values, not {count}; use smaller pictures"
        )
