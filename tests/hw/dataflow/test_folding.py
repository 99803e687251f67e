"""Costs, and the foldings chosen by them."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest

from fireflow.hw.dataflow.build import Workbench, to_dataflow
from fireflow.hw.dataflow.cost import TABLE, cost, costs, fitted, total
from fireflow.hw.dataflow.cost_fit import Sample, fit
from fireflow.hw.dataflow.counts import errors
from fireflow.hw.dataflow.folding import _Search, fold_as_given, fold_fastest, fold_for_rate
from fireflow.hw.dataflow.hardware import Hardware
from fireflow.hw.dataflow.integer_program import first
from fireflow.hw.dataflow.layers import Layer, MatMul
from fireflow.hw.dataflow.memory import bram36, buffer_kind, ram_luts, rom_luts, uram_blocks
from fireflow.hw.dataflow.plan import Plan
from fireflow.hw.dataflow.products import finn_lanes
from fireflow.hw.dataflow.stream import Stream
from fireflow.hw.errors import InputError
from fireflow.hw.graph import Graph
from fireflow.hw.ops import Conv
from fireflow.hw.parts import RESOURCES, Resources, board
from tests.hw.networks import squeezenet


@pytest.fixture(scope="module")
def graph() -> Graph:
    return squeezenet(47, classes=10)


@dataclass(frozen=True, eq=False)
class Sieve(Layer):
    """A kind that no table knows."""

    coefficients: ClassVar = {"Sieve": {"lut": {"layer": 7.0, "input_bits": 0.5}, "ff": {"layer": 2.0}}}

    def features(self, family: str) -> dict[str, float]:
        return {"layer": 1, "input_bits": self.input.width}


def test_a_kind_may_bring_its_own_coefficients() -> None:
    stream = Stream((2, 2, 4), 0, 15, 2)
    assert cost(Sieve("s", ("image",), (stream,), stream), "xc7") == Resources(lut=11, ff=2)


def test_memories_pack_into_primitives() -> None:
    assert bram36(512, 72) == bram36(1024, 36) == bram36(32768, 1) == 1
    assert bram36(512, 36) == bram36(1024, 18) == 0.5
    assert bram36(1025, 36) == 1.5  # a RAMB18 for the last word
    assert (uram_blocks(4096, 72), uram_blocks(4097, 73)) == (1, 4)
    assert rom_luts(64, 8) == 8
    assert rom_luts(32, 8) == 8
    assert rom_luts(1, 8) == 0
    assert ram_luts(32, 6, "xc7") == 4
    assert ram_luts(64, 7, "xcup") == 8
    assert buffer_kind(33, 4) == "lut"
    assert buffer_kind(2048, 36) == "bram"
    assert buffer_kind(2048, 36, uram=True) == "uram"
    assert buffer_kind(33, 4, uram=True) == "lut"


def test_dsps_are_counted_as_finn_packs_them() -> None:
    layer = to_dataflow(squeezenet(47), {"fire2.squeeze": {"pe": 8, "simd": 4, "kernel": "finn"}})[
        "fire2.squeeze"
    ]
    assert isinstance(layer, MatMul)
    assert layer.narrow
    assert layer.dsps("xcup") == layer.dsps("xc7") == 2 * 4
    assert finn_lanes("xc7", 4, 4, narrow=False) == 3
    assert finn_lanes("xcup", 6, 8, narrow=True) == 2


def test_every_layer_has_a_cost_on_both_families(graph: Graph) -> None:
    flow = to_dataflow(graph).with_fifos({"fire2.expand1x1.fifo0": 33})
    for family in ("xc7", "xcup"):
        parts = costs(flow, family)
        assert all(part.lut > 0 and part.ff > 0 for part in parts.values())
        assert total(parts).dsp == sum(
            layer.dsps(family) for layer in flow.layers if isinstance(layer, MatMul)
        )


@pytest.mark.parametrize("name", ["lut", "bram36", "dsp"])
def test_spares_the_resource_that_shall_be_spared(graph: Graph, name: str) -> None:
    target = board("PYNQ-Z2")
    plain, sparing = (fold_for_rate(graph, target, 400.0, spare=spare) for spare in (None, name))
    assert getattr(sparing.used, name) < getattr(plain.used, name)
    assert sparing.fits
    assert min(plain.fps, sparing.fps) >= 400.0


def test_a_single_resource_can_have_a_limit_of_its_own(graph: Graph) -> None:
    target = board("PYNQ-Z2")
    free, limited = (fold_fastest(graph, target, spare="lut", limits=most) for most in (None, {"lut": 0.3}))
    assert limited.used.lut <= 0.3 * target.resources.lut < free.used.lut
    assert limited.fps < free.fps
    assert "LUT" in limited.limits
    rule = r"must fit 80% of PYNQ-Z2 and 1% of its LUT, not need at least \d+% of LUT"
    with pytest.raises(InputError, match=rule):
        fold_fastest(graph, target, spare="lut", limits={"lut": 0.01})


def test_what_the_fastest_reaches_every_slower_target_gets(graph: Graph) -> None:
    target, options = board("PYNQ-Z2"), {"spare": "lut", "limits": {"lut": 0.3}}
    best = fold_fastest(graph, target, **options)
    for slower in (1.0, 0.75):
        plan = fold_for_rate(graph, target, slower * best.fps, **options)
        assert slower * best.fps <= plan.fps <= best.fps
        assert plan.used.lut <= 0.3 * target.resources.lut


def test_the_fifos_of_a_fast_plan_do_not_burden_slower_ones(
    graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, options = board("PYNQ-Z2"), {"spare": "lut", "limits": {"lut": 0.3}}
    free = fold_fastest(graph, target, **options)
    bound, large = free.interval, Resources(lut=0.2 * target.resources.lut)
    monkeypatch.setattr(
        Plan,
        "used",
        property(lambda plan: total(plan.parts) + (large if plan.interval <= bound else Resources())),
    )
    burdened = fold_fastest(graph, target, **options)
    assert bound < burdened.interval < 1.25 * bound


def test_only_a_known_resource_can_be_spared(graph: Graph) -> None:
    with pytest.raises(InputError, match="spare: must be one of lut, ff, bram36, uram, dsp, not 'slices'"):
        fold_fastest(graph, board("PYNQ-Z2"), spare="slices")


def test_fitting_finds_the_coefficients_that_counts_were_made_with(graph: Graph) -> None:
    bench = Workbench(graph)
    samples = []
    for node in bench.nodes:
        if isinstance(node.op, Conv):
            for pe, simd in ((1, 1), (2, 4), (4, 2), (8, 4), (16, 1)):
                if node.op.weight.shape[0] % pe == 0 and node.op.weight.shape[3] % simd == 0:
                    layer = bench.layers(node, {"pe": pe, "simd": simd, "kernel": "finn"})[-1]
                    own = layer.features("xcup")
                    counted = Resources(lut=3 * own["products"] + 40, ff=own["input_bits"] * 2, dsp=1)
                    samples.append(Sample.of(layer, "xcup", counted))
    found = fit(samples, pull=0)["MatMul.finn"]
    assert set(found) == {"lut", "ff"}
    assert found["ff"]["input_bits"] == pytest.approx(2, abs=0.05)
    guessed = [sum(found["lut"].get(k, 0) * v for k, v in s.features.items()) for s in samples]
    np.testing.assert_allclose(guessed, [s.counted.lut for s in samples], rtol=0.05)


def test_errors_of_layers_and_of_their_sum() -> None:
    pairs = [(Resources(lut=100, dsp=2), Resources(lut=110, dsp=2)), (Resources(lut=300), Resources(lut=270))]
    found = errors(pairs)
    assert (found["lut"].counted, found["lut"].modelled) == (400, 380)
    assert found["lut"].total == pytest.approx(-0.05)
    assert found["lut"].mean == pytest.approx(0.1)
    assert found["dsp"].mean == 0
    assert found["uram"].total is None


def test_the_fastest_folding_fits_and_nothing_faster_does(graph: Graph) -> None:
    ultra = board("Ultra96")
    plan = fold_fastest(graph, ultra, budget=0.4)
    assert plan.fits
    assert max(plan.shares.values()) <= 0.4
    assert plan.fps == pytest.approx(300e6 / plan.interval)
    assert plan.limits
    with pytest.raises(InputError) as caught:
        fold_for_rate(graph, ultra, plan.fps * 1.2, budget=0.4)
    assert "target rate must be at most" in str(caught.value)
    assert "Ultra96-V2 at 300 MHz" in str(caught.value)


def test_a_rate_is_reached_with_less_than_the_fastest_takes(graph: Graph) -> None:
    kria = board("KV260")
    slow, fast = fold_for_rate(graph, kria, 500), fold_for_rate(graph, kria, 5000)
    assert slow.fps >= 500
    assert fast.fps >= 5000
    assert sum(slow.shares.values()) < sum(fast.shares.values())
    assert slow.bottleneck
    assert slow.latency_ms > fast.latency_ms


def test_a_given_folding_is_reported_whether_it_fits_or_not(graph: Graph) -> None:
    folding = {"conv10": {"pe": 10, "simd": 512, "memory": "bram"}}
    plan = fold_as_given(graph, board("PYNQ-Z2"), folding)
    assert not plan.fits
    assert plan.shares["dsp"] > 1
    assert fold_as_given(graph, board("ZCU104"), {}).fits
    with pytest.raises(InputError, match="budget must be a share above 0"):
        fold_as_given(graph, board("ZCU104"), {}, budget=80)


def test_a_network_that_cannot_fit_is_refused_naming_the_resource(graph: Graph) -> None:
    small = board("PYNQ-Z2")
    none = replace(small, name="tiny", resources=replace(small.resources, dsp=4))
    with pytest.raises(
        InputError, match=r"squeezenet: the network must fit 80% of tiny, not need at least \d+% of DSP"
    ):
        fold_fastest(graph, none, kernels=("finn",))
    assert fold_fastest(graph, none).used.dsp <= 3  # ours multiplies in LUTs too


def test_the_least_plan_counts_where_the_reserve_for_fifos_leaves_no_other(
    graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Search, "plan_at", lambda *_: (None, Resources()))
    plan = fold_fastest(graph, board("ZCU104"))
    assert plan.fits
    assert plan.limits


def test_the_first_good_index_is_found() -> None:
    for answer in range(12):
        for near in (False, True):
            assert first(lambda index, answer=answer: index >= answer, 0, 11, near) == min(answer, 11)


def test_costs_grow_with_parallelism(graph: Graph) -> None:
    for family in ("xc7", "xcup"):
        few = cost(to_dataflow(graph, {"conv10": {"pe": 1, "simd": 4, "memory": "bram"}})["conv10"], family)
        many = cost(to_dataflow(graph, {"conv10": {"pe": 5, "simd": 64, "memory": "bram"}})["conv10"], family)
        assert all(getattr(few, name) <= getattr(many, name) for name in RESOURCES)


def test_ultraram_holds_rows_and_fifos_where_there_is_some(graph: Graph) -> None:
    plan = fold_for_rate(graph, board("KV260"), 5000)
    kinds = {layer.kind for layer in plan.flow.layers if layer.memory_kind == "uram"}
    assert "Window" in kinds
    assert plan.used.uram > 0
    hardware = Hardware(
        *("KV260", plan.board.part, 300.0, 0.8, plan.folding),
        plan.flow.fifo_depths,
        *("", (), plan.interval, plan.timing.latency, plan.used),
    )
    again = hardware.dataflow(graph)
    assert [(layer.name, layer.parameters()) for layer in again.layers] == [
        (layer.name, layer.parameters()) for layer in plan.flow.layers
    ]
    assert fold_for_rate(graph, board("Ultra96"), 5000).used.uram == 0


def test_the_model_is_near_what_yosys_counts() -> None:
    """Every layer in the table of counts, which the coefficients are fitted to."""
    table = json.loads((TABLE.with_name("kernel_measurements.json")).read_text())
    samples = [
        Sample(
            row["kernel"],
            row["family"],
            row["features"],
            Resources(**row["blocks"]),
            Resources(**row["counted"]),
        )
        for row in table
    ]
    found = errors([(sample.counted, sample.modelled) for sample in samples])
    for name in ("lut", "ff"):
        assert abs(found[name].total or 0) < 0.05
        assert (found[name].mean or 0) < 0.1
    assert found["dsp"].off == 0
    assert found["bram36"].off <= 0.02 * found["bram36"].counted
    assert {sample.variant for sample in samples} == set(fitted())
