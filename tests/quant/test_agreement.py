"""A network from an ONNX file is executed beside ONNX Runtime, and a difference is an error."""

from __future__ import annotations

import builtins
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import helper

from fireflow.hw.errors import InputError
from fireflow.hw.picture_options import PictureOptions
from fireflow.hw.preprocessing import TORCHVISION
from fireflow.quant.build import ASSUMED, load_network
from fireflow.quant.imported.operations import MaxPool, Relu
from fireflow.quant.networks.squeezenet import PoolBorder, wiring
from fireflow.quant.pretrained import load_weights
from fireflow.quant.readers import onnx_operations
from tests.quant.onnx_editing import BASES, of_kind, set_attribute
from tests.quant.weight_files import onnx_model, random_arrays

ASKED = PictureOptions(replace(TORCHVISION, size=64))


def model(number: int = 3) -> onnx.ModelProto:
    spec = BASES[number]
    return onnx_model({name: array * 2 for name, array in random_arrays(spec).items()}, spec)


def written(changed: onnx.ModelProto, tmp_path: Path) -> Path:
    path = tmp_path / "net.onnx"
    path.write_bytes(changed.SerializeToString())
    return path


def with_softmax(changed: onnx.ModelProto) -> onnx.ModelProto:
    last = next(n for n in changed.graph.node if n.output[0] == "scores")
    last.output[0] = "before"
    changed.graph.node.append(helper.make_node("Softmax", ["before"], ["scores"], axis=1))
    return changed


def with_open_shape(changed: onnx.ModelProto) -> onnx.ModelProto:
    for number, dim in enumerate(changed.graph.input[0].type.tensor_type.shape.dim):
        if number != 1:
            dim.dim_param = f"any {number}"
    return changed


def with_batch(changed: onnx.ModelProto) -> onnx.ModelProto:
    for value in (changed.graph.input[0], changed.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_value = 4
    return changed


@pytest.mark.parametrize("change", [lambda m: m, with_softmax, with_open_shape, with_batch])
def test_agreeing_networks(change: Any, tmp_path: Path) -> None:
    said: list[str] = []
    loaded = load_network(written(change(model()), tmp_path), ASKED, said.append)
    assert loaded.network.spec.input_size == 64
    assert not [note for note in said if "not compared" in note]
    assert [note for note in said if "softmax" in note] == (
        ["net.onnx: ends with a softmax; scores are those before it, in the same order"]
        if change is with_softmax
        else []
    )
    assert loaded.card.get(ASSUMED, []) == said


def leaky(changed: onnx.ModelProto) -> None:
    node = next(n for n in of_kind(changed, "Relu") if n.output[0] == "fire9.expand3x3.act")
    node.op_type = "LeakyRelu"


def padded(changed: onnx.ModelProto) -> None:
    set_attribute(of_kind(changed, "MaxPool")[1], "pads", [1, 1, 1, 1])


def average(changed: onnx.ModelProto) -> None:
    set_attribute(of_kind(changed, "MaxPool")[0], "ceil_mode", 0)
    of_kind(changed, "MaxPool")[0].op_type = "AveragePool"


@pytest.mark.parametrize("change", [leaky, padded, average])
def test_what_a_reader_would_miss_is_found(
    change: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the reader's own check taken away, ONNX Runtime's scores still tell."""
    changed = model()
    change(changed)
    if change is leaky:
        monkeypatch.setitem(onnx_operations._OPERATIONS, "LeakyRelu", lambda _node: Relu())
    elif change is padded:
        monkeypatch.setattr(wiring, "_BORDERS", dict.fromkeys(wiring._BORDERS, PoolBorder()))
    else:
        monkeypatch.setitem(
            onnx_operations._OPERATIONS, "AveragePool", lambda _node: MaxPool((3, 3), (2, 2), ceil=True)
        )
    path = written(changed, tmp_path)
    load_weights(path, ASKED)
    with pytest.raises(
        InputError, match=r"net\.onnx: scores .* must be those of ONNX Runtime up to rounding, not"
    ):
        load_network(path, ASKED)


def test_what_onnx_runtime_cannot_run(tmp_path: Path) -> None:
    changed = model()
    for node in changed.graph.node[:2]:
        node.name = "one name"
    path = written(changed, tmp_path)
    load_weights(path, ASKED)
    with pytest.raises(InputError, match="ONNX Runtime must be able to run the network, and cannot"):
        load_network(path, ASKED)


def test_without_onnx_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "onnxruntime":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    said: list[str] = []
    load_network(written(model(), tmp_path), ASKED, said.append)
    assert said == ["net.onnx: not compared with ONNX Runtime, which is not installed"]
