"""One self-contained HTML page about a bundle that was built for a board."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.figure import Figure

from fireflow.hw import fields
from fireflow.hw.bundle import Bundle
from fireflow.hw.dataflow.budget import excess, room
from fireflow.hw.dataflow.cost import costs, total
from fireflow.hw.dataflow.counts import FINN_RESOURCES, Counts, errors
from fireflow.hw.dataflow.hardware import Hardware
from fireflow.hw.dataflow.layers import Layer
from fireflow.hw.dataflow.network import Dataflow
from fireflow.hw.dataflow.schedule import Timing
from fireflow.hw.errors import InputError
from fireflow.hw.parts import LABELS, RESOURCES, Board, Resources, board

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TEMPLATE = Path(__file__).with_name("page.html.j2")
_BLUE, _RED, _GREY = "#3b6ea5", "#c0392b", "#9aa5b1"


@dataclass(frozen=True)
class LayerRow:
    """A layer as the page shows it."""

    name: str
    kind: str
    shape: str
    stream: str
    folding: str
    cycles: int
    resources: Resources


def report_page(bundle: Bundle, bitstream: Mapping[str, Any] | None = None) -> str:
    """The page of a bundle with hardware: layers, folding, cycles, resources, FIFOs, memory, verification.

    Args:
        bitstream: the record of the bundle's bitstream, if it has one: what a toolchain measured of it.

    Raises:
        InputError: a record with other fields, or counts of other layers.
    """
    hardware = bundle.hardware
    assert hardware is not None, "only a bundle that was built has a report"
    flow, chosen = hardware.dataflow(bundle.graph), board(hardware.board)
    parts = costs(flow, chosen.family)
    if bitstream is not None:
        check_record(bitstream)
    if bundle.counts is not None and set(bundle.counts.counted) != set(parts):
        odd = min(set(bundle.counts.counted) ^ set(parts))
        raise InputError(f"counts: must be of the accelerator's layers, not differ in {odd}; count again")
    timing = Timing(flow, chosen.family)
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    return page.render(
        bundle=bundle,
        hardware=hardware,
        board=chosen,
        shares=_shares(hardware, chosen, bitstream or {}),
        bitstream=bitstream,
        rows=[
            _row(layer, layer.timing(chosen.family).interval, parts[layer.name])
            for layer in flow.layers
            if layer not in flow.fifos
        ],
        fifos=flow.fifos,
        memories=_memories(flow, parts),
        kinds=_kinds(flow, parts),
        verification=bundle.verification,
        names=LABELS,
        counts=bundle.counts,
        totals=_totals(bundle.counts, parts, chosen, hardware.budget) if bundle.counts else [],
        modelled=parts,
        finn_names=FINN_RESOURCES,
        cycles_plot=_cycles_plot(timing, hardware),
        resources_plot=_resources_plot(flow, parts, chosen, hardware.budget),
        fifo_plot=_fifo_plot(flow),
    )


def check_record(record: Any) -> None:
    """Raises InputError unless what the page shows of a bitstream's record is there, and of its kind."""
    place = "bitstream.json"
    known = fields.mapping(place, record)
    fields.text(f"{place}: toolchain", known.get("toolchain"))
    for name, version in fields.mapping(f"{place}: tools", known.get("tools")).items():
        fields.text(f"{place}: tools", name)
        fields.text(f"{place}: {name}", version)
    for name in ("clock_mhz", "target_mhz", "max_mhz", "power_w"):
        if name in known or name in ("clock_mhz", "target_mhz"):
            fields.number(f"{place}: {name}", known.get(name))
    for name in ("resources", "synthesized"):
        for kind, count in fields.mapping(f"{place}: {name}", known.get(name, {})).items():
            fields.text(f"{place}: {name}", kind)
            fields.number(f"{place}: {name}: {kind}", count)


def _shares(hardware: Hardware, chosen: Board, bitstream: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = []
    over = excess(hardware.resources, room(chosen.resources, hardware.budget))
    measured = bitstream.get("resources") or bitstream.get("synthesized") or {}
    for name in RESOURCES:
        used, whole = getattr(hardware.resources, name), getattr(chosen.resources, name)
        if whole:
            share = used / whole
            good = name not in over
            row = {"name": LABELS[name], "used": used, "whole": whole, "share": share, "good": good}
            rows.append({**row, "measured": measured.get(name)})
    return rows


def _totals(
    counts: Counts, parts: Mapping[str, Resources], chosen: Board, budget: float
) -> list[dict[str, Any]]:
    """What was counted of each resource, what the model and FINN expect, and how far off the model is."""
    finn = counts.finn_total()
    rows = []
    over = excess(total(counts.counted), room(chosen.resources, budget))
    for name, error in errors([(own, parts[layer]) for layer, own in counts.counted.items()]).items():
        whole = getattr(chosen.resources, name)
        if whole or error.counted:
            share = error.counted / whole if whole else None
            good = name not in over
            row = {"name": LABELS[name], "error": error, "share": share, "good": good, "finn": finn.get(name)}
            rows.append(row)
    return rows


def _row(layer: Layer, cycles: int, used: Resources) -> LayerRow:
    shown = ", ".join(f"{name} {value}" for name, value in layer.parameters().items())
    sign = "int" if layer.output.signed else "uint"
    stream = f"{layer.output.lanes} × {sign}{layer.output.bits}"
    return LayerRow(
        layer.name, layer.kind, " × ".join(map(str, layer.output.shape)), stream, shown, cycles, used
    )


def _memories(flow: Dataflow, parts: Mapping[str, Resources]) -> list[dict[str, Any]]:
    """Every layer that keeps something, the largest first."""
    rows = []
    for layer in flow.layers:
        words = layer.storage
        bits = sum(depth * width for depth, width in words)
        if bits:
            row = {
                "name": layer.name,
                "what": layer.held,
                "bits": bits,
                "shapes": ", ".join(f"{depth} × {width}" for depth, width in dict.fromkeys(words)),
                "kind": layer.memory_kind,
                "bram36": parts[layer.name].bram36,
                "uram": parts[layer.name].uram,
            }
            rows.append(row)
    return sorted(rows, key=lambda row: -row["bits"])


def _kinds(flow: Dataflow, parts: Mapping[str, Resources]) -> dict[str, Resources]:
    grouped: dict[str, dict[str, Resources]] = {}
    for layer in flow.layers:
        grouped.setdefault(layer.kind, {})[layer.name] = parts[layer.name]
    return {kind: total(own) for kind, own in grouped.items()}


def _cycles_plot(timing: Timing, hardware: Hardware) -> Markup:
    """The stages that compute, and whichever is the slowest."""
    shown = {stage.output for stage in timing.stages if stage.layers[-1].computes}
    stages = {n: cycles for n, cycles in timing.intervals.items() if n in shown or n == timing.bottleneck}
    figure, axes = _figure(0.19 * len(stages) + 0.9)
    colours = [_RED if name == timing.bottleneck else _BLUE for name in stages]
    axes.barh([_label(name) for name in stages], list(stages.values()), color=colours)
    axes.axvline(hardware.interval_cycles, color=_RED, linewidth=0.8, linestyle="--")
    axes.margins(y=0.01)
    axes.invert_yaxis()
    axes.set_xlabel("busy cycles a frame; dashed: the interval from frame to frame")
    return _svg(figure)


def _resources_plot(flow: Dataflow, parts: Mapping[str, Resources], chosen: Board, budget: float) -> Markup:
    figure, axes = _figure(2.6)
    kinds = _kinds(flow, parts)
    names = [name for name in RESOURCES if getattr(chosen.resources, name)]
    left = dict.fromkeys(names, 0.0)
    for kind, used in kinds.items():
        widths = [100 * getattr(used, name) / getattr(chosen.resources, name) for name in names]
        axes.barh([LABELS[name] for name in names], widths, left=list(left.values()), label=kind)
        left = {name: left[name] + width for name, width in zip(names, widths, strict=True)}
    axes.axvline(100 * budget, color=_RED, linewidth=0.8, linestyle="--")
    axes.invert_yaxis()
    axes.set_xlabel(f"% of {chosen.name}; dashed: the budget")
    axes.legend(fontsize=7, ncols=4, loc="upper center", bbox_to_anchor=(0.5, 1.3), frameon=False)
    return _svg(figure)


def _fifo_plot(flow: Dataflow) -> Markup:
    fifos = flow.fifos
    figure, axes = _figure(0.19 * len(fifos) + 0.9)
    axes.barh(
        [_label(layer.name) for layer in fifos],
        [layer.depth * layer.input.width / 1024 for layer in fifos],
        color=_GREY,
    )
    axes.margins(y=0.01)
    axes.invert_yaxis()
    axes.set_xlabel("Kibit")
    return _svg(figure)


def _label(name: str) -> str:
    """A name that Matplotlib does not take for a formula."""
    return name.replace("$", r"\$")


def _figure(height_inches: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(9, height_inches), layout="constrained")
    axes = figure.add_subplot()
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _svg(figure: Figure) -> Markup:
    text = io.StringIO()
    # Text stays text: smaller than its outlines, and a reader can search it. The salt names clip paths alike each time.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "fireflow"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    drawn = text.getvalue()
    return Markup(drawn[drawn.index("<svg") :])  # matplotlib escapes its texts
