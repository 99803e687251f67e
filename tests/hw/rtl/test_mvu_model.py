"""The model of FINN's multiplier core gives the words of the real one, in the same cycles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fireflow.hw.dataflow.layers import MatMul
from fireflow.hw.dataflow.stream import Stream
from fireflow.hw.rtl.simulate import layer_bench, modelled
from fireflow.hw.tools.axi_stream import pack_words, unpack_words
from fireflow.hw.tools.verilator import Simulation

FRAMES, PIXELS = 4, (3, 4)


@pytest.mark.parametrize(
    ("mh", "mw", "pe", "simd", "weight_bits", "bits"),
    [(8, 12, 4, 3, 4, 4), (6, 5, 3, 5, 6, 8), (4, 8, 4, 1, 3, 4), (6, 8, 2, 8, 2, 4)],
)
def test_words_and_cycles(
    tmp_path: Path, mh: int, mw: int, pe: int, simd: int, weight_bits: int, bits: int
) -> None:
    random = np.random.default_rng(mh * mw)
    top = (1 << (weight_bits - 1)) - 1
    weight = random.integers(-top, top + 1, (mh, mw))
    most = int(np.abs(weight).sum(1).max()) * ((1 << bits) - 1)
    source = Stream((*PIXELS, mw), 0, (1 << bits) - 1, simd)
    sink = Stream((*PIXELS, mh), -most, most, pe)
    layer = MatMul("product", ("image",), (source,), sink, weight, weight_bits, pe, simd, "lut")
    design = layer_bench([layer], "xc7z020clg400-1", 10.0, tmp_path)
    pixels = random.integers(0, 1 << bits, (FRAMES, *PIXELS, mw))
    words = pack_words(pixels, simd, bits, False)
    real, model = (Simulation.build(design.top, paths) for paths in (design.paths, modelled(design)))
    assert real.executable != model.executable
    for stalls in (0.0, 0.4):
        runs = [
            simulation.run([words], [FRAMES * sink.words], stalls=stalls, seed=7, cwd=tmp_path)
            for simulation in (real, model)
        ]
        for run in runs:
            values = unpack_words(run.outputs[0], pe, sink.bits, True).reshape(FRAMES, *PIXELS, mh)
            np.testing.assert_array_equal(values, pixels @ weight.T)
        np.testing.assert_array_equal(runs[0].emitted[0], runs[1].emitted[0])
        np.testing.assert_array_equal(runs[0].accepted[0], runs[1].accepted[0])
