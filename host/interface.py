"""What the driver must know of an accelerator: how its ports pack integers, how fast it is, its bitstream."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fireflow.hw.bundle import RTL, Bundle, sources_hash
from fireflow.hw.errors import InputError
from fireflow.hw.packing import pack_bits, unpack_bits

if TYPE_CHECKING:
    from fireflow.hw.dataflow.hardware import Hardware
    from fireflow.hw.graph import Graph
    from fireflow.hw.types import Array, Int64Array, TensorType

# Without a build nothing is known of the speed; then this many multiplications a cycle are assumed (the 360
# DSPs of an Ultra96-V2, four each), this clock, and this many frames under way.
_MULTIPLICATIONS, _CLOCK_MHZ, _FRAMES_UNDER_WAY = 1440, 200.0, 3


@dataclass(frozen=True)
class PackedStream:
    """One stream of the accelerator as it lies in memory.

    A frame is words of `lanes` elements; a word is a little-endian bit string, element 0 lowest, padded to
    whole bytes.

    Args:
        kind: shape and range of a frame.
        lanes: elements of a word; divides the last axis.
    """

    kind: TensorType
    lanes: int = 1

    def __post_init__(self) -> None:
        if self.lanes < 1 or self.kind.shape[-1] % self.lanes:
            raise InputError(
                f"port: lanes must divide {self.kind.shape[-1]} channels, not {self.lanes}; build again"
            )

    # Asked several times a frame, and the ports never change.
    @cached_property
    def elements(self) -> int:
        return math.prod(self.kind.shape)

    @cached_property
    def word_bytes(self) -> int:
        return -(-self.lanes * self.kind.bits // 8)

    @cached_property
    def frame_bytes(self) -> int:
        return self.elements // self.lanes * self.word_bytes

    def packed(self, frames: Array) -> Array:
        """Integers (N, *shape), which lie in the range, as they go to memory: uint8 (N * frame_bytes,)."""
        if self._plain:
            return np.ascontiguousarray(frames, self._dtype).reshape(-1).view(np.uint8)
        words = frames.reshape(-1, self.lanes)
        return pack_bits(words, self.kind.bits, self.kind.signed).reshape(-1)

    def pack(self, frames: Array, target: Array) -> None:
        """Writes integers (N, *shape), which lie in the range, into uint8 (N * frame_bytes,)."""
        data = self.packed(frames)
        np.copyto(target[: len(data)], data)

    def unpack(self, data: Array, frames: int) -> Int64Array:
        """Reads uint8 (N * frame_bytes,): int64 (N, *shape)."""
        kind = self.kind
        data = data[: frames * self.frame_bytes]
        if self._plain:
            values = data.view(self._dtype)
        elif self.lanes == 1 and self.word_bytes <= 4:
            # Whole bytes for each element: an integer of them, with what is above its bits shifted out.
            size = 2 if self.word_bytes == 2 else 4
            if self.word_bytes != size:
                wide = np.zeros((frames * self.elements, size), np.uint8)
                wide[:, : self.word_bytes] = data.reshape(-1, self.word_bytes)
                data = wide
            above = 8 * size - kind.bits
            values = (data.view(f"<{'i' if kind.signed else 'u'}{size}") << above) >> above
        else:
            values = unpack_bits(data.reshape(-1, self.word_bytes), kind.bits, kind.signed, self.lanes)
        return values.reshape(frames, *kind.shape).astype(np.int64)

    @cached_property
    def _plain(self) -> bool:
        return self.kind.bits in (8, 16, 32)

    @cached_property
    def _dtype(self) -> np.dtype[Any]:
        return np.dtype(f"<{'i' if self.kind.signed else 'u'}{self.kind.bits // 8}")


@dataclass(frozen=True, eq=False)
class Interface:
    """The accelerator that a bundle describes.

    Args:
        name: of the network.
        input, output: the streams.
        clock_mhz: what the design asks for.
        interval_cycles: from one frame to the next.
        latency_cycles: from the first input word to the last output word of a frame.
        estimated: True if clock, interval and latency are a guess, not a build's figures.
        board: the build's board, or "".
        bitstream: the file, or None.
        accelerator: SHA-256 of its sources (`hw.bundle.sources_hash`), or "" where the bundle has none.
    """

    name: str
    input: PackedStream
    output: PackedStream
    clock_mhz: float
    interval_cycles: int
    latency_cycles: int
    estimated: bool
    board: str = ""
    bitstream: Path | None = None
    accelerator: str = ""

    @property
    def interval_s(self) -> float:
        return self.interval_cycles / self.clock_mhz / 1e6

    @property
    def latency_s(self) -> float:
        return self.latency_cycles / self.clock_mhz / 1e6

    @classmethod
    def of(cls, graph: Graph, hardware: Hardware | None = None, bitstream: Path | None = None) -> Interface:
        """The design of a graph.

        Args:
            graph: the integers.
            hardware: how it was built; without it, the speed is a guess.
            bitstream: a .bit file of it.
        """
        if hardware is None:
            interval = max(1, _multiplications(graph) // _MULTIPLICATIONS)
            latency = interval * _FRAMES_UNDER_WAY
            ports = PackedStream(graph.input_type), PackedStream(graph.output_type)
            return cls(graph.name, *ports, _CLOCK_MHZ, interval, latency, estimated=True, bitstream=bitstream)
        flow = hardware.dataflow(graph)
        return cls(
            graph.name,
            PackedStream(graph.input_type, flow.input.lanes),
            PackedStream(graph.output_type, flow.output.lanes),
            hardware.clock_mhz,
            hardware.interval_cycles,
            hardware.latency_cycles,
            estimated=False,
            board=hardware.board,
            bitstream=bitstream,
        )

    @classmethod
    def of_bundle(cls, bundle: Bundle) -> Interface:
        """The design of a bundle as it was built; a .bit file among its files is its bitstream."""
        bitstreams = sorted(name for name in bundle.files if name.endswith(".bit"))
        bitstream = bundle.folder / bitstreams[0] if bundle.folder is not None and bitstreams else None
        rtl = {
            name[len(RTL) + 1 :]: record.sha256
            for name, record in bundle.files.items()
            if name.startswith(f"{RTL}/")
        }
        interface = cls.of(bundle.graph, bundle.hardware, bitstream)
        return replace(interface, accelerator=sources_hash(rtl) if rtl else "")


def load(path: Path) -> tuple[Bundle, Interface]:
    """A bundle and its design.

    Raises:
        InputError: as `Bundle.load`.
    """
    bundle = Bundle.load(path)
    return bundle, Interface.of_bundle(bundle)


def _multiplications(graph: Graph) -> int:
    """How many multiplications one frame takes."""
    return sum(node.op.products(graph.types[node.name]) for node in graph.nodes)
