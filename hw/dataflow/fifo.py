"""How deep each FIFO must be, from a schedule that repeats with the initiation interval.

Why these depths suffice. Every layer is deterministic: it waits for its inputs and for room at its outputs, and
never asks whether a word is there. In such a network nothing ever happens later because something else happened
earlier, so a network that runs as soon as it can (as hardware does) is at least as far, at every moment, as any
schedule that respects the same depths. We construct one schedule that keeps the interval of the slowest stage and
size each FIFO for the most words that this schedule ever leaves in it: the hardware is then at least as fast. Nor
can it deadlock with these depths, whatever the stalls at its ends: whether a deterministic network of blocking
reads and writes deadlocks depends on its depths and not on timing, and this schedule never ends.

Where words wait. Stages run as early as they can on an input that comes evenly, so a FIFO holds what comes in
bursts (the rows that a pool or a strided window skips, the rows a window reads before its first output). Where two
branches meet again and one is earlier, it is delayed as far as the meeting point allows: its words then wait in
front of it, where a squeezed tensor is narrow, and not behind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping

from fireflow.hw.dataflow.maxplus import occupancy
from fireflow.hw.dataflow.schedule import Stage, Timing, settle
from fireflow.hw.dataflow.timing import Times
from fireflow.hw.errors import InputError

SPARE = 2
"""Words added to what the schedule needs: registers inside layers that the timing leaves out."""


@dataclass(frozen=True)
class Depths:
    """FIFO depths for one initiation interval.

    Args:
        interval: cycles from frame to frame.
        needed: for each edge where a FIFO can stand, by label, the most words that wait there.
        depths: for those that need a FIFO, its depth.
    """

    interval: int
    needed: Mapping[str, int]
    depths: Mapping[str, int]


def fifo_depths(timing: Timing, interval: int | None = None) -> Depths:
    """Depths with which a network reaches the interval.

    Args:
        timing: of the network without FIFOs.
        interval: cycles per frame; by default those of the slowest stage, the fewest possible.

    Raises:
        InputError: fewer cycles than the slowest stage needs.
    """
    period = timing.interval if interval is None else interval
    if period < timing.interval:
        raise InputError(
            f"{timing.bottleneck}: the interval must be at least the {timing.interval} cycles it needs, "
            f"not {period}; fold it less"
        )
    times = timing.steady(period)
    _delay_early_branches(timing, times, period)
    needed, depths = {}, {}
    for stage in timing.stages:
        for port, edge in enumerate(stage.inputs):
            if edge.source not in times:
                continue  # whoever feeds the accelerator waits until a word is taken
            enter = times[edge.source].visible
            direct, stored = occupancy(enter, times[stage.output].accept[port], period)
            needed[edge.label] = stored
            if direct > 1:  # one word waits in the register of the layer that gives it
                depths[edge.label] = round_depth(stored + SPARE)
    return Depths(period, needed, depths)


def round_depth(words: int) -> int:
    """The next depth whose memory is full: two registers, or a RAM of 32, 64, 96 ... words in front of one.

    >>> [round_depth(words) for words in (2, 3, 33, 34, 513, 514)]
    [2, 33, 33, 65, 513, 1025]
    """
    if words <= 2:
        return 2
    step = 32 if words <= 513 else 512
    return -(-(words - 1) // step) * step + 1


def _delay_early_branches(timing: Timing, times: dict[str, Times], period: int) -> None:
    """Delays, in place, what lies between a fork and a layer that joins branches, where all of it can be late.

    The last matrix product of the branch is as late as can be, and so is what is in front of it; what is behind
    it follows at once, because accumulators are wider than what a threshold makes of them.
    """
    by_output = {stage.output: stage for stage in timing.stages}
    for stage in timing.stages:
        for port, edge in enumerate(stage.inputs if len(stage.inputs) > 1 else ()):
            demand = times[stage.output].accept[port] - 1  # an edge takes a cycle
            branch: list[tuple[Stage, Times]] = []
            name = edge.source
            while name in by_output and timing.flow[name].outputs == 1:
                late = (
                    by_output[name].model.late(demand, period) if len(by_output[name].inputs) == 1 else None
                )
                if late is None:
                    break
                branch.insert(0, (by_output[name], late))
                demand, name = late.accept[0] - 1, by_output[name].inputs[0].source
            else:
                _follow(branch, times, period)


def _follow(branch: list[tuple[Stage, Times]], times: dict[str, Times], period: int) -> None:
    products = [index for index, (stage, _) in enumerate(branch) if stage.layers[-1].accumulates]
    for index, (stage, late) in enumerate(branch):
        if index <= max(products, default=-1):
            times[stage.output] = late
        else:
            avail = [times[edge.source].visible + 1 for edge in stage.inputs]
            times[stage.output] = settle(stage.model, avail, period)
