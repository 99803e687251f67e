"""How a network was folded for a board: what makes a bundle's graph into one particular accelerator."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from dataclasses import fields as dataclass_fields
from typing import TYPE_CHECKING, Any, Mapping

from fireflow.hw import fields
from fireflow.hw.dataflow.build import to_dataflow
from fireflow.hw.errors import InputError
from fireflow.hw.parts import Resources, board

if TYPE_CHECKING:
    from fireflow.hw.dataflow.build import Folding
    from fireflow.hw.dataflow.network import Dataflow
    from fireflow.hw.graph import Graph

MAX_DEPTH = 1 << 24
"""Words of a FIFO: more bits than any FPGA has."""


@dataclass(frozen=True, eq=False)
class Hardware:
    """A folding with its FIFO depths, and what is expected of it.

    Args:
        board: its name in `hw.parts`.
        part: the FPGA.
        clock_mhz: of the accelerator.
        budget: the share of each resource that it may use.
        folding: by node of the graph, as `to_dataflow` takes it.
        fifo_depths: words, by the label of a stream.
        bottleneck: the slowest stage.
        limits: what keeps it from being faster.
        interval_cycles: between the scores of two frames that follow each other.
        latency_cycles: from the first pixel of a frame to its last score, in an empty accelerator.
        resources: by the cost model.
    """

    board: str
    part: str
    clock_mhz: float
    budget: float
    folding: Folding
    fifo_depths: Mapping[str, int]
    bottleneck: str
    limits: tuple[str, ...]
    interval_cycles: int
    latency_cycles: int
    resources: Resources

    @property
    def frames_per_second(self) -> float:
        return self.clock_mhz * 1e6 / self.interval_cycles

    @property
    def latency_ms(self) -> float:
        return self.latency_cycles / self.clock_mhz / 1e3

    @property
    def clock_ns(self) -> float:
        return 1e3 / self.clock_mhz

    def dataflow(self, graph: Graph) -> Dataflow:
        """The layers, FIFOs included. Raises InputError where the folding is not of this graph."""
        return to_dataflow(graph, self.folding).with_fifos(self.fifo_depths, board(self.board).has_uram)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: Any) -> Hardware:
        """What `to_json` gave. Raises InputError where a field is missing or of another kind."""
        try:
            values = {name.name: document[name.name] for name in dataclass_fields(cls)}
        except (KeyError, TypeError) as error:
            raise InputError(f"hardware: fields must be complete ({error!r}); build it again") from None
        known = board(fields.text("hardware: board", values["board"]))
        if values["part"] != known.part:
            raise InputError(
                f"hardware: part must be {known.name}'s, {known.part}, not {values['part']!r:.80}; build it again"
            )
        return cls(
            board=values["board"],
            part=known.part,
            clock_mhz=fields.number("hardware: clock_mhz", values["clock_mhz"], 0, 1e4, above=True),
            budget=fields.number("hardware: budget", values["budget"], 0, 1e3),
            folding=_folding(values["folding"]),
            fifo_depths={
                fields.text("hardware: fifo_depths", name): fields.whole(
                    f"hardware: depth of {name}", depth, high=MAX_DEPTH
                )
                for name, depth in fields.mapping("hardware: fifo_depths", values["fifo_depths"]).items()
            },
            bottleneck=fields.text("hardware: bottleneck", values["bottleneck"]),
            limits=tuple(
                fields.text("hardware: limits", name)
                for name in fields.items("hardware: limits", values["limits"])
            ),
            interval_cycles=fields.whole("hardware: interval_cycles", values["interval_cycles"], 1),
            latency_cycles=fields.whole("hardware: latency_cycles", values["latency_cycles"], 1),
            resources=Resources.from_json("hardware: resources", values["resources"]),
        )


def _folding(document: Any) -> dict[str, dict[str, Any]]:
    """The plain values of the fields of each node; whether they fit the node, `to_dataflow` says."""
    folding = {}
    for name, given in fields.mapping("hardware: folding", document).items():
        place = f"hardware: folding of {fields.text('hardware: folding', name)}"
        for key, value in fields.mapping(place, given).items():
            if value is None or isinstance(value, bool):
                continue
            if isinstance(value, str):
                fields.text(f"{place}: {key!r:.80}", value)
            else:
                fields.whole(f"{place}: {key!r:.80}", value)
        folding[name] = dict(given)
    return folding
