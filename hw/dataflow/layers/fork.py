"""The same stream to several readers."""

from __future__ import annotations

from dataclasses import dataclass

from fireflow.hw.dataflow.kernel import Kernel, ports
from fireflow.hw.dataflow.layers.base import Layer


@dataclass(frozen=True, eq=False)
class Fork(Layer):
    """The same stream on `copies` output ports."""

    copies: int

    @property
    def outputs(self) -> int:
        return self.copies

    def check(self) -> None:
        self._expect(self.input.shape, self.input.lanes)

    def features(self, family: str) -> dict[str, float]:
        return self._plain_features(self.output.groups.bit_length())

    def rtl(self, family: str) -> Kernel:
        outputs = ports("out", (self.output,) * self.copies)
        parameters: dict[str, int | str] = {"COPIES": self.copies, "BITS": self.input.width}
        return Kernel("stream_fork", parameters, ports("in", self.inputs), outputs, vector=True)
