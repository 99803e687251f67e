"""The folding of a network for a board: chosen for a rate or a budget, or given."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fireflow.hw import given
from fireflow.hw.bitstream.toolchains import toolchain as toolchain_named
from fireflow.hw.bundle import Bundle
from fireflow.hw.dataflow.budget import BUDGET
from fireflow.hw.dataflow.folding import fold_as_given, fold_fastest, fold_for_rate
from fireflow.hw.dataflow.hardware import Hardware
from fireflow.hw.dataflow.plan import Plan
from fireflow.hw.errors import InputError
from fireflow.hw.files import read_json
from fireflow.hw.graph import Graph
from fireflow.hw.parts import Board
from fireflow.hw.parts import board as board_named


def plan(
    network: Bundle | Graph,
    *,
    board: str | Board,
    target_fps: float | None = None,
    clock_mhz: float | None = None,
    budget: float = BUDGET,
    spare: str | None = None,
    folding: Mapping[str, Mapping[str, Any]] | str | Path | None = None,
    toolchain: str | None = None,
) -> Plan:
    """Chooses how much of each layer exists in hardware: the highest rate that fits a board, or the cheapest for one.

    Args:
        network: a bundle, or its integer graph.
        board: where it shall run, by name or record.
        target_fps: frames a second, back to back; by default as many as fit.
        clock_mhz: of the accelerator; by default the board's usual one.
        budget: the share of each resource that may be used, above 0 and at most 1.
        spare: the resource to use least of (`lut`, `ff`, `bram36`, `uram`, `dsp`); by default the scarcest, or `lut`
            where the toolchain could not place the design otherwise.
        folding: take this one, by node, or that of a JSON file; the plan says whether it fits.
        toolchain: the one that will make the bitstream, if any: it may place less than fits the board.

    Returns:
        folding, FIFO depths, cycles and resources; `fits` is False only of a folding that was given.

    Raises:
        InputError: an unknown board, resource or toolchain, a rate or budget that cannot be met (names what stops
            it), or a folding that the network cannot have.
    """
    graph = network.graph if isinstance(network, Bundle) else network
    given.instance("network", graph, Graph, "give a Bundle or its graph; load_bundle reads a file")
    budget = given.number("budget", budget)
    for name, rate in (("target_fps", target_fps), ("clock", clock_mhz)):
        if rate is not None:
            given.number(name, rate)
    chosen = board if isinstance(board, Board) else board_named(board)
    if clock_mhz is not None and not clock_mhz > 0:
        raise InputError(
            f"clock: must be above 0 MHz, not {clock_mhz}; leave it out for {chosen.clocks_mhz[0]}"
        )
    if folding is not None:
        for option, value in (("--target-fps", target_fps), ("--spare", spare)):
            if value is not None:
                raise InputError(f"folding: must come without {option}, not with it; leave one of them out")
        known = folding if isinstance(folding, Mapping) else read_json(given.path("folding", folding))
        return fold_as_given(graph, chosen, known, clock_mhz, budget)

    def fold(spare: str | None, limits: Mapping[str, float]) -> Plan:
        if target_fps is not None:
            return fold_for_rate(
                graph, chosen, target_fps, clock_mhz, budget=budget, spare=spare, limits=limits
            )
        return fold_fastest(graph, chosen, clock_mhz, budget=budget, spare=spare, limits=limits)

    placeable = None if toolchain is None else toolchain_named(toolchain).placeable
    if placeable is None:
        return fold(spare, {})
    limits = {"dsp": placeable.dsps}
    found = fold(spare, limits)
    if spare is not None or found.used.lut <= placeable.luts:
        return found
    if target_fps is None:
        limits["lut"] = min(1.0, placeable.luts / chosen.resources.lut)
    return fold("lut", limits)


def hardware_of(plan: Plan) -> Hardware:
    """What a bundle keeps of a plan."""
    return Hardware(
        board=plan.board.name,
        part=plan.board.part,
        clock_mhz=plan.clock_mhz,
        budget=plan.budget,
        folding=plan.folding,
        fifo_depths=plan.flow.fifo_depths,
        bottleneck=plan.bottleneck,
        limits=plan.limits,
        interval_cycles=plan.interval,
        latency_cycles=plan.timing.latency,
        resources=plan.used,
    )
