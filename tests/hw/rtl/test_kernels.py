"""Our kernels in RTL simulation: equal to the integer graph's operations, and as fast as the model says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from fireflow.hw.dataflow.kernel import memory_image
from fireflow.hw.dataflow.layers import Layer, Pad
from fireflow.hw.dataflow.stream import Stream
from fireflow.hw.dataflow.timing import Times
from fireflow.hw.errors import InputError
from fireflow.hw.tools.cxx import Compilers, execute
from fireflow.hw.tools.yosys import resources
from tests.hw.rtl.bench import FAMILY, Bench, Outcome, write_bench
from tests.hw.rtl.kernel_cases import all_layers, concat, fifo, head, pool

FRAMES = 3
LAYERS = all_layers()
SEEDS = range(8)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(LAYERS, tmp_path_factory.mktemp("bench"), FRAMES)


@pytest.fixture(scope="module")
def free(bench: Bench) -> dict[str, Outcome]:
    """No port ever stalls."""
    return bench.run(strict=True, max_idle_cycles=2000)


@pytest.fixture(scope="module")
def stalled(bench: Bench) -> list[dict[str, Outcome]]:
    """Every port stalls in its own way; whatever is not initialized differs in each run, too."""
    return [
        bench.run(stalls=bench.stalls(seed), seed=seed, strict=True, max_idle_cycles=2000) for seed in SEEDS
    ]


@pytest.mark.parametrize("name", LAYERS)
def test_equal_to_the_operation(
    name: str, bench: Bench, free: dict[str, Outcome], stalled: list[dict[str, Outcome]]
) -> None:
    expected = LAYERS[name].eval(bench.inputs[name])
    for run in (free, *stalled):
        for output in run[name].outputs:
            assert_array_equal(output, expected)


@pytest.mark.parametrize("name", LAYERS)
def test_time(name: str, free: dict[str, Outcome]) -> None:
    """Every word of every frame is taken and given in the cycle that the model says."""
    layer, run = LAYERS[name], free[name]
    timing = layer.timing(FAMILY)
    offered = [np.zeros(stream.words, np.int64) for stream in layer.inputs]
    times: Times | None = None
    for frame in range(FRAMES):
        times = timing.early(offered, after=times)
        for emitted in run.emitted:
            assert_array_equal(emitted.reshape(FRAMES, -1)[frame], times.visible)
        for accepted, expected in zip(run.accepted, times.accept, strict=True):
            assert_array_equal(accepted.reshape(FRAMES, -1)[frame], expected)
    for emitted in run.emitted:
        assert set(np.diff(emitted.reshape(FRAMES, -1)[:, -1])) == {timing.interval}


def test_fifos_hold_their_depth(bench: Bench) -> None:
    """While the output is stuck a FIFO takes as many words as it promises."""
    names = [name for name in LAYERS if name.startswith("fifo")]
    stuck = {f"{name}_out0_V": [1] * 200 + [0] * 4000 for name in names}
    run = bench.run(stalls=stuck, max_idle_cycles=2000)
    for name in names:
        taken = run[name].accepted[0]
        assert (taken < 200).sum() == LAYERS[name].parameters()["depth"]


def test_no_warnings(tmp_path: Path) -> None:
    """Verilator's lint finds nothing but bits that pad a word, and parameters that only an attribute uses."""
    sources, _ = write_bench(LAYERS, tmp_path)
    tools = Compilers.find()
    quiet = ["-Wno-UNUSEDPARAM", "-Wno-UNUSEDSIGNAL"]
    options = ["--lint-only", "--no-timing", "-Wall", *quiet, "--top-module", "bench"]
    execute([str(tools.verilator), *options, *map(str, sources)], {"VERILATOR_ROOT": str(tools.root)})


@pytest.mark.parametrize("family", ["xc7", "xcup"])
def test_synthesis(family: str, tmp_path: Path) -> None:
    """Every kernel maps, its memories to the kind that the layer names."""
    pixels = Stream((8, 55, 16), 0, 15, 4)
    layers = [
        LAYERS["fork_3"],
        LAYERS["concat_ranges"],
        LAYERS["add_ranges"],
        LAYERS["multiply_signed"],  # three words, but in a block RAM
        LAYERS["multiply_one_group"],
        LAYERS["width_1_6"],
        LAYERS["width_6_1"],
        LAYERS["fifo_lut_2"],
        LAYERS["fifo_lut_65"],
        fifo("fifo_bram", Stream((1, 1, 16), 0, 15, 16), 513, "bram"),  # 512x64 is one RAMB36
        LAYERS["pool_floor"],
        pool("pool_bram", pixels, (3, 3), (2, 2), memory="bram"),  # 108 words of 16 bits are half a RAMB36
        LAYERS["head_0"],
        # so are 512 sums
        head("head_bram", Stream((2, 1, 512), -99, 99, 1), np.arange(512) % 99, True, "bram"),
    ]
    if family == "xcup":
        layers.append(fifo("fifo_ultra", Stream((1, 1, 16), 0, 15, 16), 4097, "uram"))
    sources, images = write_bench({layer.name: layer for layer in layers}, tmp_path)
    counted = resources("bench", sources, family, folder=tmp_path, images=images)
    used = counted.used
    assert (used.bram36, used.uram, used.dsp) == (2.5, int(family == "xcup"), 0)
    assert 0 < counted.lutram < used.lut < 1500


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (
            pool("p", Stream((6, 6, 1), 0, 1, 1), (3, 3), (1, 1), (1, 1, 1, 1)),
            "p: the windows must end at different places of the height 6, not two of size 3 at stride 1 with "
            "padding 1 and 1 behind the border; pad less",
        ),
        (
            Pad("q", ("a",), (Stream((1, 1, 1), 0, 1),), Stream((2, 2, 1), 0, 1), (0, 0, 1, 1)),
            "q: a layer must have a kernel of ours, not be Pad; FINN has one",
        ),
    ],
)
def test_what_has_no_kernel(layer: Layer, message: str) -> None:
    with pytest.raises(InputError) as error:
        layer.rtl(FAMILY)
    assert str(error.value) == message


def test_memory() -> None:
    for name, style in (("fifo_lut_3", "distributed"), ("fifo_bram_3", "block"), ("fifo_uram", "ultra")):
        assert LAYERS[name].rtl(FAMILY).parameters["RAM_STYLE"] == style
    assert LAYERS["pool_floor"].rtl(FAMILY).parameters["RAM_STYLE"] == "distributed"
    assert LAYERS["head_two_groups"].rtl(FAMILY).parameters["RAM_STYLE"] == "block"


def test_memory_image() -> None:
    text = memory_image(np.array([[-5, 3], [0, -1]]), 5)
    assert text == "07b // -5 3\n3e0 // 0 -1\n"
    assert [int(line.split()[0], 16) for line in text.splitlines()] == [3 << 5 | (-5 & 31), (-1 & 31) << 5]


def test_an_instance_names_every_stream() -> None:
    text = LAYERS["fork_3"].rtl(FAMILY).instance("fork3")
    assert ".in0_V_TDATA(in0_V_TDATA)" in text
    assert ".out_V_TDATA({out2_V_TDATA, out1_V_TDATA, out0_V_TDATA})" in text
    assert '.RAM_STYLE("distributed")' in LAYERS["fifo_lut_3"].rtl(FAMILY).instance("f")


def test_concat_extends_signed_elements() -> None:
    parameters = concat("c", Stream((1, 1, 1), -1, 0), Stream((1, 1, 1), 0, 15)).rtl(FAMILY).parameters
    assert parameters["ELEM0_SIGNED"] == 1
    assert parameters["ELEM1_SIGNED"] == 0
    assert parameters["OUT_BITS"] == 5
