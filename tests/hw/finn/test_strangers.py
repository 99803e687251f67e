"""QONNX files of others: written otherwise, changed in one place, with what stands in the way named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.testing import assert_array_equal
from qonnx.core.modelwrapper import ModelWrapper

from fireflow.hw.errors import InputError
from fireflow.hw.finn.agreement import _integers, agreement_of, pictures
from fireflow.hw.finn.convert import to_graph
from fireflow.hw.finn.execute import qonnx_trace
from fireflow.hw.finn.lowering import lower
from fireflow.hw.graph import Graph
from fireflow.hw.preprocessing import Preprocessing
from tests.hw.finn.disguises import DISGUISES
from tests.hw.finn.engine import engine_scores
from tests.hw.finn.mutants import base, mutate
from tests.hw.finn.qonnx_builder import Builder, valid

CASES = Path(__file__).resolve().parents[4] / "shared" / "cases"
MUTANTS, ROUNDS = 200, 4


def save(model: onnx.ModelProto, path: Path) -> Path:
    onnx.save(model, str(path))
    return path


def random_images(graph: Graph, count: int = 2, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *graph.input_type.shape), dtype=np.uint8)


def as_they_are(images: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32)


def lowered_or_refused(path: Path) -> Graph | None:
    try:
        return to_graph(lower(path))
    except InputError:
        return None


# --- the same network, written otherwise ----------------------------------------------------------------------


@pytest.mark.parametrize("name", DISGUISES)
def test_other_ways_to_write_a_network(name: str, tmp_path: Path) -> None:
    builder = base(1)
    plain = to_graph(lower(builder.save(tmp_path / "plain.onnx"), check=False))
    model = builder.model()
    DISGUISES[name](model, np.random.default_rng(1))
    path = save(model, tmp_path / "net.onnx")
    graph = to_graph(lower(path))
    images = random_images(graph)
    assert_array_equal(graph.run(images), plain.run(images))
    scores = qonnx_trace(path, images)[graph.output_name]
    np.testing.assert_allclose(scores, graph.run(images) * graph.output_scale, rtol=1e-5, atol=1e-5)


def test_several_ways_at_once(tmp_path: Path) -> None:
    builder = base(2)
    plain = to_graph(lower(builder.save(tmp_path / "plain.onnx"), check=False))
    model, random = builder.model(), np.random.default_rng(2)
    for name in (
        "computed_parameters",
        "idle_nodes",
        "former_domain",
        "initializers_as_inputs",
        "names",
        "shuffled",
    ):
        DISGUISES[name](model, random)
    graph = to_graph(lower(save(model, tmp_path / "net.onnx")))
    assert_array_equal(graph.run(random_images(graph)), plain.run(random_images(plain)))


@pytest.mark.parametrize(
    ("tensor", "called"),
    [
        ("conv1.act", "fire2.squeeze.weight"),
        ("conv1.act", "fire2.squeeze.act.thresholds"),
        ("fire2.squeeze", "fire2.expand3x3.im2col"),
        ("pool1", "head.bias"),
        ("pool1", "scores.axes"),
        ("image", "head.bias"),
        ("fire2.concat", "fireflow.renamed.0"),
    ],
)
def test_names_that_the_lowering_gives_too(tensor: str, called: str, tmp_path: Path) -> None:
    builder = valid()
    plain = to_graph(lower(builder.save(tmp_path / "plain.onnx"), check=False))
    model = builder.model()
    names = {item.name: f"constant {index}" for index, item in enumerate(model.graph.initializer)}
    names[tensor] = called
    for node in model.graph.node:
        for field in (node.input, node.output):
            field[:] = [names.get(name, name) for name in field]
    for item in (*model.graph.initializer, *model.graph.input):
        item.name = names.get(item.name, item.name)
    graph = to_graph(lower(save(model, tmp_path / "net.onnx")))
    assert called in graph.types
    assert_array_equal(graph.run(random_images(graph)), plain.run(random_images(plain)))


@pytest.mark.parametrize("name", ["qonnx_raw_brevitas/net.onnx", "qonnx_third_party/net.qonnx.onnx"])
def test_files_as_they_came(name: str) -> None:
    if not (CASES / name).is_file():
        pytest.skip(f"{CASES / name} is not here")
    graph = to_graph(lower(CASES / name))
    images = random_images(graph)
    scores = engine_scores(CASES / name, as_they_are(images))
    np.testing.assert_allclose(graph.run(images) * graph.output_scale, scores, rtol=1e-4, atol=1e-4)


# --- one thing changed ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", range(ROUNDS))
def test_a_changed_file_is_refused_or_read_as_its_own_engine_reads_it(part: int, tmp_path: Path) -> None:
    """Scales are powers of two or 5/4 of one: float32 is exact, so nothing may differ."""
    found: Counter[str] = Counter()
    for seed in range(part, MUTANTS, ROUNDS):
        model = base(seed % 7).model()
        told = f"mutant {seed}, {mutate(model, np.random.default_rng(seed))}"
        path = save(model, tmp_path / "mutant.onnx")
        graph = lowered_or_refused(path)
        if graph is None:
            found["refused"] += 1
            continue
        images = random_images(graph, seed=seed)
        scores = engine_scores(path, as_they_are(images))
        np.testing.assert_allclose(
            graph.run(images) * graph.output_scale, scores, rtol=1e-5, atol=1e-5, err_msg=told
        )
        found["equal"] += 1
    assert min(found["refused"], found["equal"]) >= MUTANTS // ROUNDS // 8, found


# --- the check beside the file's own engine ---------------------------------------------------------------------


def _shift_thresholds(model: ModelWrapper) -> None:
    name = next(node.input[1] for node in model.graph.node if node.op_type == "MultiThreshold")
    model.set_initializer(name, model.get_initializer(name) + 1)


def _turn_weights(model: ModelWrapper) -> None:
    name = [node.input[1] for node in model.graph.node if node.op_type == "MatMul"][1]
    model.set_initializer(name, model.get_initializer(name)[::-1].copy())


def _shift_head(model: ModelWrapper) -> None:
    model.set_initializer("head.bias.values", model.get_initializer("head.bias.values") + 1)


@pytest.mark.parametrize(
    ("spoil", "first"),
    [
        (_shift_thresholds, r"conv1\.act\["),
        (_turn_weights, r"fire2\.squeeze\.act\["),
        (_shift_head, r"scores\[0, 0\]"),
    ],
)
def test_a_wrong_lowering_is_an_error(
    spoil: Callable[[ModelWrapper], None], first: str, tmp_path: Path
) -> None:
    path = valid().save(tmp_path / "net.onnx")
    lowered = lower(path)
    images = pictures((9, 9, 3))
    assert agreement_of(path, lowered, None, images).values > 1000
    spoil(lowered.model)
    with pytest.raises(
        InputError, match=rf"^{first}.*: the integers must be what the file's own engine \(qonnx\)"
    ):
        agreement_of(path, lowered, None, images)


def test_float32_on_a_boundary_is_no_error(tmp_path: Path) -> None:
    """8.5625 / float32(0.685) is just below 12.5, which float32 takes for 12.5 and rounds to 12 all the same;
    with 137/200 in the place of the scale many accumulators lie so. None of them may be called wrong."""
    builder = Builder(3, (3, 12, 12))
    last = "image"
    for index in range(3):
        last = builder.act(builder.conv(f"conv{index}", last, 8, kernel=3, pad=1), scale=0.685 * 2**index)
    builder.head(last, scale=float(np.float32(0.685 * 4)))
    path = builder.save(tmp_path / "net.onnx")
    found = agreement_of(path, lower(path), None, pictures((12, 12, 3), seed=5))
    assert found.values == 3 * 3 * 12 * 12 * 8
    assert found.on_boundary < found.values / 100


def test_products_of_scales_are_rounded_where_they_are_large() -> None:
    """Three roundings of float32 each: the error of 65,025 steps is more than a thousandth of one."""
    numbers = np.arange(256)
    one, other = np.float32(0.685), np.float32(1.37)
    reals = np.float32(numbers * one)[:, None] * np.float32(numbers * other)
    scale = float(one) * float(other)
    assert np.abs(reals / scale - np.outer(numbers, numbers)).max() > 1e-3
    assert_array_equal(_integers("product", reals, scale), np.outer(numbers, numbers))
    with pytest.raises(InputError, match=r"^product: values must be multiples of the scale"):
        _integers("product", reals + np.float32(0.01), scale)


# --- what the input expects -------------------------------------------------------------------------------------


def record(**changes: Any) -> Preprocessing:
    return Preprocessing(size=9, resize=9, **changes)


@pytest.mark.parametrize(
    "given",
    [
        record(std=(256.0, 256.0, 256.0)),
        record(source_order="BGR"),
        record(mean=(12.0, 100.0, 200.0), source_order="BGR"),
        record(mean=(127.5, 127.5, 127.5), std=(64.0, 64.0, 64.0)),
    ],
    ids=["below 1", "BGR", "mean", "-2..2"],
)
def test_preprocessing_is_folded_into_the_first_layer(given: Preprocessing, tmp_path: Path) -> None:
    builder = Builder(1)
    first = builder.act(builder.conv("conv1", "image", 6, kernel=3), scale=0.25 if given.std[0] > 1 else 16.0)
    builder.head(builder.act(builder.conv("conv2", first, 6, kernel=3)))
    path = builder.save(tmp_path / "net.onnx")
    graph = to_graph(lower(path, given))
    images = random_images(graph, 3)
    order = [2, 1, 0] if given.source_order == "BGR" else [0, 1, 2]
    mean, std = np.float32(given.mean)[order], np.float32(given.std)[order]
    inputs = as_they_are((images[..., order].astype(np.float32) - mean) / std)
    scores = engine_scores(path, inputs)
    np.testing.assert_allclose(graph.run(images) * graph.output_scale, scores, rtol=1e-4, atol=1e-4)
    assert not np.array_equal(graph.run(images), to_graph(lower(path)).run(images))


def test_pixels_of_0_to_1(tmp_path: Path) -> None:
    """As ToTensor() gives them. A sum that is a boundary exactly may round either way in float32; nothing else may."""
    builder = Builder(1)
    builder.head(builder.act(builder.conv("conv1", "image", 6, kernel=3), scale=0.25), scale=0.25)
    path, given = builder.save(tmp_path / "net.onnx"), record(std=(255.0,) * 3)
    found = agreement_of(path, lower(path, given), given, pictures((9, 9, 3)))
    assert found.values == 3 * 7 * 7 * 6
    with pytest.raises(InputError, match=r"the integers must be what the file's own engine"):
        agreement_of(path, lower(path), given, pictures((9, 9, 3)))


def test_preprocessing_that_integer_weights_cannot_take(tmp_path: Path) -> None:
    builder = Builder(1)
    builder.head(builder.act(builder.conv("conv1", "image", 6, kernel=3, pad=1)))
    path = builder.save(tmp_path / "net.onnx")
    faults = {
        r"^preprocessing: std must be one number for all channels, not \[1.0, 2.0, 1.0\]": record(
            std=(1, 2, 1)
        ),
        r"^conv1: mean must be 0 where the first convolution is padded": record(mean=(1, 0, 0)),
        r"^image: size must be 9, the input's, not 11; change": Preprocessing(11, 11),
    }
    for message, given in faults.items():
        with pytest.raises(InputError, match=message):
            lower(path, given)


def test_preprocessing_of_inputs_that_are_no_pictures(tmp_path: Path) -> None:
    builder = Builder(1, (1, 9, 12))
    builder.head(builder.act(builder.conv("conv1", "image", 6, kernel=3)))
    path = builder.save(tmp_path / "net.onnx")
    assert to_graph(lower(path)).input_type.shape == (9, 12, 1)
    with pytest.raises(
        InputError, match=r"^image: pictures are prepared for square inputs of three colours, not for"
    ):
        lower(path, record())


@pytest.mark.parametrize(
    ("scale", "bits", "given"),
    [
        (1.0, 8, None),
        (1.0, 10, None),
        (1 / 256, 8, record(std=(256.0,) * 3)),
        (1.0, 8, record(source_order="BGR")),
    ],
)
def test_an_input_quantizer_of_whole_pixels_is_absorbed(
    scale: float, bits: int, given: Preprocessing | None, tmp_path: Path
) -> None:
    builder = Builder(4)
    pixels = builder.quant("image", "pixels", scale, bits, signed=int(bits > 8))
    builder.channels[pixels] = 3
    builder.head(builder.act(builder.conv("conv1", pixels, 6, kernel=3), scale=16 * scale), scale=16 * scale)
    path = builder.save(tmp_path / "net.onnx")
    graph = to_graph(lower(path, given))
    images = random_images(graph, 3)
    inputs = images[..., ::-1] if given is not None and given.source_order == "BGR" else images
    scores = engine_scores(path, as_they_are(inputs) * np.float32(scale))
    np.testing.assert_allclose(graph.run(images) * graph.output_scale, scores, rtol=1e-5, atol=1e-5)


def test_more_channels_than_pixels(tmp_path: Path) -> None:
    builder = Builder(1, (12, 4, 4))
    builder.head(builder.act(builder.conv("conv1", "image", 3, kernel=3)))
    assert to_graph(lower(builder.save(tmp_path / "net.onnx"))).input_type.shape == (4, 4, 12)
