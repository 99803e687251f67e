"""Weight files with one thing changed: refused by name, or computed as their own engine does.

ONNX files are run by ONNX Runtime, Caffe files by the NumPy executor of tests/quant/caffe_executor.py. Here only the
readers are asked, so that what `quant.agreement` would find counts as a failure too.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from fireflow.hw.errors import InputError
from fireflow.hw.picture_options import PictureOptions
from fireflow.hw.preprocessing import TORCHVISION
from fireflow.quant import agreement
from fireflow.quant.build import float_network
from fireflow.quant.imported.operations import Add, Average, Relu
from fireflow.quant.networks.squeezenet import PoolBorder, wiring
from fireflow.quant.pretrained import FloatWeights, load_weights
from fireflow.quant.readers import caffe_layers, caffe_pictures, onnx_operations
from tests.quant import mutated_caffe as caffe_mutations
from tests.quant import mutated_onnx as onnx_mutations
from tests.quant.caffe_executor import CaffeError, Described, execute, has_v1, written
from tests.quant.onnx_editing import BASES, SIDE
from tests.quant.weight_files import double_blob, network, new_blob, old_blob

COUNT = 1000
TOLERANCE = 1e-4
"""A share of the largest value of conv10's maps, as for `quant.agreement.TOLERANCE`."""


def log_softmax(scores: np.ndarray) -> np.ndarray:
    """The logarithm of the softmax of (classes,), in float64."""
    below: np.ndarray = scores - scores.max()
    return below - np.log(np.exp(below).sum())


def scores_of(weights: FloatWeights, picture: np.ndarray) -> tuple[np.ndarray, float]:
    """Our scores (classes,) of one picture as the file takes it, in float64, and the scale of their rounding."""
    with torch.no_grad():
        scores, maps = network(weights).double().scores_and_maps(torch.from_numpy(picture).double())
    return scores[0].numpy(), float(maps[-1].abs().max())


def by_onnxruntime(model: onnx.ModelProto, picture: np.ndarray) -> np.ndarray:
    """What ONNX Runtime gives for one picture, whatever its shape."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (image,) = session.get_inputs()
    batch = image.shape[0] if isinstance(image.shape[0], int) else 1
    found: np.ndarray = session.run(None, {image.name: np.repeat(picture, batch, axis=0)})[0][:1]
    return found.astype(np.float64)


def same(found: np.ndarray, wanted: np.ndarray, scale: float, kind: str | None) -> bool:
    """Whether scores (classes,) are an engine's output, which a softmax or its logarithm may have followed."""
    if wanted.reshape(-1).shape != found.shape or wanted.shape[0] != 1:
        return False
    if kind is not None:
        found = log_softmax(found) if kind == "LogSoftmax" else np.exp(log_softmax(found))
        scale = float(np.abs(found).max())
    return bool(np.abs(found - wanted.reshape(-1)).max() <= TOLERANCE * scale)


def refusal(path: Path, message: str) -> str:
    """The verdict of an error: it must be a line that names the file, whatever names are in there."""
    one_line = message.startswith(f"{path}: ") and message.isprintable()
    return "refused" if one_line else f"refused with {message!r}"


def verdict_onnx(seed: int, path: Path) -> tuple[str, str]:
    """The name of a mutation, and "refused", "agrees" or what is wrong."""
    name, model = onnx_mutations.mutated(seed)
    path.write_bytes(model.SerializeToString())
    try:
        weights = load_weights(path, replace(TORCHVISION, size=SIDE))
    except InputError as error:
        return name, refusal(path, str(error))
    picture = np.random.default_rng(seed).normal(0, 1, (1, 3, SIDE, SIDE)).astype(np.float32)
    found, scale = scores_of(weights, picture)
    try:
        wanted = by_onnxruntime(model, picture)
    except Exception:  # what no engine runs is no network
        with pytest.raises(InputError, match="ONNX Runtime must be able to run the network"):
            agreement.check(path, weights)
        return name, "refused"
    endings = [n.op_type for n in model.graph.node if n.op_type in ("Softmax", "LogSoftmax")]
    ending = endings[-1] if weights.softmax is not None else None
    if not same(found, wanted, scale, ending):
        return name, "differs"
    return name, "agrees"


def test_mutated_onnx(tmp_path: Path) -> None:
    found = Counter(verdict_onnx(seed, tmp_path / "net.onnx") for seed in range(COUNT))
    totals = Counter(
        {kind: sum(n for (_, k), n in found.items() if k == kind) for kind in ("refused", "agrees")}
    )
    print(f"{COUNT} mutated ONNX files: {dict(totals)}")
    assert not {key: n for key, n in found.items() if key[1] not in totals}
    assert min(totals.values()) > 0.15 * COUNT


def told_side(network: Described) -> int | None:
    """The side of the pictures that a Caffe network says; the last data layer for tests counts."""
    sides = []
    for layer in network["layers"]:
        if layer["type"] in ("Data", "Input", "MemoryData"):
            crop = layer.get("transform", {}).get("crop_size") or layer.get("data", {}).get("crop_size")
            given = layer.get("input", {}).get("shape", [0] * 4)[2]
            sides.append(crop or given or layer.get("memory_data", {}).get("height"))
    sides += [shape[2] for shape in network.get("input_shape", ())] + list(network.get("input_dim", ())[2:3])
    return max((side for side in sides if side), default=None)


def verdict_caffe(seed: int, path: Path) -> tuple[str, str]:
    """As `verdict_onnx`. Whole networks are compared, from pixels on; every third is written as V1 if it can be."""
    name, described = caffe_mutations.mutated(seed)
    rng = np.random.default_rng(seed)
    blob = (new_blob, old_blob, double_blob)[int(rng.integers(3))]
    path.write_bytes(written(described, v1=bool(rng.integers(2)) and has_v1(described), blob=blob))
    side = told_side(described)
    try:
        weights = load_weights(path, PictureOptions(size=SIDE if side is None else None))
    except InputError as error:
        return name, refusal(path, str(error))
    size = weights.spec.input_size
    if size != (side or SIDE):
        return name, "differs"
    pixels = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
    with torch.no_grad():
        ours = float_network(weights).network.double()
        scores, maps = ours.scores_and_maps(torch.from_numpy(pixels).permute(2, 0, 1)[None].double())
    try:
        wanted = execute(described, pixels)
    except CaffeError:
        return name, "Caffe refuses it"
    ending = None if weights.softmax is None else "Softmax"
    scale = float(maps[-1].abs().max())
    alike = any(same(scores[0].numpy(), output, scale, ending) for output in wanted)
    return name, "agrees" if alike else "differs"


def test_mutated_caffe(tmp_path: Path) -> None:
    found = Counter(verdict_caffe(seed, tmp_path / "net.caffemodel") for seed in range(COUNT))
    totals = Counter(
        {kind: sum(n for (_, k), n in found.items() if k == kind) for kind in ("refused", "agrees")}
    )
    print(f"{COUNT} mutated Caffe files: {dict(totals)}")
    assert not {key: n for key, n in found.items() if key[1] not in totals}
    assert min(totals.values()) > 0.15 * COUNT


def seeds_of(mutations: tuple[Any, ...], bases: int, wanted: Any) -> list[int]:
    """The seeds below `COUNT` of a mutation."""
    return [seed for seed in range(COUNT) if mutations[(seed // bases) % len(mutations)] is wanted]


@pytest.mark.parametrize(
    ("mutation", "table", "name", "blind"),
    [
        (onnx_mutations.other_activation, onnx_operations._OPERATIONS, "LeakyRelu", lambda _node: Relu()),
        (onnx_mutations.sum_otherwise, onnx_operations._OPERATIONS, "Max", lambda _node: Add()),
        (onnx_mutations.pool_border, wiring._BORDERS, (1, 1, False), PoolBorder()),
        (
            onnx_mutations.average_as_reduction,
            onnx_operations._OPERATIONS,
            "ReduceMean",
            lambda _node: Average(),
        ),
        (caffe_mutations.relu_parameter, caffe_layers._LAYERS, "ReLU", lambda _layer: Relu()),
        (caffe_mutations.sum_otherwise, caffe_layers._LAYERS, "Eltwise", lambda _layer: Add()),
        (caffe_mutations.pool_border, wiring._BORDERS, (0, 0, False), PoolBorder()),
        (caffe_mutations.transform, caffe_pictures.__dict__, "_transformation", lambda _layer: ({}, [])),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_blind_reader_is_found_out(
    mutation: Any, table: Any, name: Any, blind: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one of a reader's checks taken away, the tests above would fail."""
    monkeypatch.setitem(table, name, blind)
    of_onnx = mutation in onnx_mutations.MUTATIONS
    module, verdict = (onnx_mutations, verdict_onnx) if of_onnx else (caffe_mutations, verdict_caffe)
    path = tmp_path / ("net.onnx" if of_onnx else "net.caffemodel")
    seeds = seeds_of(module.MUTATIONS, len(BASES), mutation)
    assert any(verdict(seed, path)[1] == "differs" for seed in seeds)
