"""How a network was folded for a board: what makes a bundle's graph into one particular accelerator."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Mapping

from hw.boards import Resources, board
from hw.dataflow.build import to_dataflow
from hw.errors import InputError

if TYPE_CHECKING:
    from hw.dataflow.build import Folding
    from hw.dataflow.network import Dataflow
    from hw.graph import Graph


@dataclass(frozen=True, eq=False)
class Hardware:
    """A folding with its FIFO depths, and what is expected of it.

    Args:
        board: its name in `hw.boards`.
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
            values = {field.name: document[field.name] for field in fields(cls)}
            values["folding"] = {name: dict(own) for name, own in values["folding"].items()}
            values["fifo_depths"] = dict(values["fifo_depths"])
            values["limits"] = tuple(values["limits"])
            values["resources"] = Resources(**values["resources"])
            for name in ("clock_mhz", "interval_cycles", "latency_cycles"):
                if not values[name] > 0:
                    raise InputError(
                        f"hardware: {name} must be above 0, not {values[name]!r}; build it again"
                    )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"hardware: fields must be complete ({error!r}); build it again") from None
        return cls(**values)
