"""What a plan comes to, for people and for scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fireflow.hw.parts import LABELS
from fireflow.hw.table import table

if TYPE_CHECKING:
    from fireflow.hw.dataflow.hardware import Hardware
    from fireflow.hw.dataflow.plan import Plan


def verdict(plan: Plan, hardware: Hardware) -> str:
    """What a user wants to know before anything slow runs."""
    board, used, over = plan.board, plan.used, plan.excess
    rows = []
    for name in (*plan.shares, *plan.missing):
        count, whole = getattr(used, name), getattr(board.resources, name)
        rows.append(
            (
                LABELS[name],
                f"{count:.0f}",
                f"{whole:.0f}",
                f"{count / whole:.0%}" if whole else "",
                f"{over[name]:.0f} too many" if name in over else "fits",
            )
        )
    limits = f", limited by {' and '.join(plan.limits)}" if plan.limits else ""
    lines = [
        f"{board.name} ({board.part}) at {plan.clock_mhz:g} MHz, at most {plan.budget:.0%} of each resource",
        f"{plan.fps:.1f} frames a second: {plan.interval} cycles a frame, the bottleneck is {plan.bottleneck}{limits}",
        f"latency {plan.latency_ms:.2f} ms: {plan.timing.latency} cycles",
        f"{len(hardware.fifo_depths)} FIFOs, {sum(hardware.fifo_depths.values())} words",
        table(("resource", "used", "available", "share", ""), rows),
        "fits" if plan.fits else "does not fit",
    ]
    return "\n".join(lines)


def document(plan: Plan, hardware: Hardware) -> dict[str, Any]:
    """The same as JSON."""
    return {
        **hardware.to_json(),
        "frames_per_second": plan.fps,
        "latency_ms": plan.latency_ms,
        "available": plan.board.resources.to_json(),
        "shares": plan.shares,
    }
