"""Inside the simulation: the processor's side of a shell, with registers and memory from cocotbext-axi."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import Any

import cocotb
from cocotb.triggers import RisingEdge
from cocotbext.axi import (
    AxiLiteBus,
    AxiLiteMaster,
    AxiReadBus,
    AxiResp,
    AxiSlaveRead,
    AxiSlaveWrite,
    AxiWriteBus,
)
from cocotbext.axi.sparse_memory import SparseMemory

CONTROL, LOW, HIGH, FRAMES = 0x00, 0x10, 0x14, 0x1C
MAGIC, VERSION, ERROR, WHERE_LOW, WHERE_HIGH, CYCLES_LOW, CYCLES_HIGH, HASH = (
    0x40,
    0x44,
    0x48,
    0x4C,
    0x50,
    0x54,
    0x58,
    0x60,
)
START, DONE, IDLE, READY, FAILED = 1, 2, 4, 8, 0x100
INPUT, OUTPUT = 0, 0x10000
GUARD = 0xEE


def stalls(rng: random.Random, probability: float) -> Iterator[bool]:
    """For cocotbext: pauses at random, some of them long."""
    while True:
        if rng.random() < probability / 20:
            yield from itertools.repeat(True, rng.randrange(10, 60))
        yield rng.random() < probability


class _Reads(AxiSlaveRead):
    """Memory that answers late, and with an error at some addresses."""

    def __init__(self, memory: Memory, bus: Any, clock: Any, reset: Any) -> None:
        super().__init__(bus, clock, reset, reset_active_level=False)
        self._memory = memory
        self.ar_channel.queue_occupancy_limit = 8
        send = self.r_channel.send

        async def answer(beat: Any) -> None:
            if beat.rresp == AxiResp.SLVERR:
                beat.rresp = memory.response
            await send(beat)

        self.r_channel.send = answer

    async def _read(self, address: int, length: int) -> bytes:
        await self._memory.wait(self.clock)
        return self._memory.read(address, length)


class _Writes(AxiSlaveWrite):
    def __init__(self, memory: Memory, bus: Any, clock: Any, reset: Any) -> None:
        super().__init__(bus, clock, reset, reset_active_level=False)
        self._memory = memory
        send = self.b_channel.send

        async def answer(response: Any) -> None:
            if response.bresp == AxiResp.SLVERR:
                response.bresp = memory.response
            await memory.wait(self.clock)
            await send(response)

        self.b_channel.send = answer

    async def _write(self, address: int, data: bytes) -> None:
        self._memory.write(address, data)


class Memory:
    """Memory behind an AXI port.

    Attributes:
        latency: cycles that an answer is late at most.
        wrong: addresses in which an access gets `response`.
    """

    def __init__(self, dut: Any, prefix: str, clock: Any, reset: Any, rng: random.Random) -> None:
        self.bytes = SparseMemory(1 << 64)
        self.latency, self.wrong, self.response = 0, range(0), AxiResp.SLVERR
        self.touched: set[int] = set()
        self._rng = rng
        self.reads = _Reads(self, AxiReadBus.from_prefix(dut, prefix), clock, reset)
        self.writes = _Writes(self, AxiWriteBus.from_prefix(dut, prefix), clock, reset)

    async def wait(self, clock: Any) -> None:
        # One late answer delays those behind it: most come at once.
        if self.latency and self._rng.random() < 0.1:
            for _ in range(self._rng.randrange(self.latency)):
                await RisingEdge(clock)

    def read(self, address: int, length: int) -> bytes:
        self._check(address, length)
        return bytes(self.bytes[address : address + length])

    def write(self, address: int, data: bytes) -> None:
        self._check(address, len(data))
        self.bytes[address : address + len(data)] = data

    def _check(self, address: int, length: int) -> None:
        if max(address, self.wrong.start) < min(address + length, self.wrong.stop):
            raise ValueError("no memory here")

    def stall(self, probability: float) -> None:
        """On every channel, of that of the answers too."""
        reads, writes = self.reads, self.writes
        for channel in (
            reads.ar_channel,
            reads.r_channel,
            writes.aw_channel,
            writes.w_channel,
            writes.b_channel,
        ):
            channel.set_pause_generator(stalls(self._rng, probability) if probability else None)
            channel.pause = False


class Processor:
    """What a processor has of a shell: registers, memory, and time."""

    def __init__(self, registers: Any, memory: Memory, clock: Any, resetn: Any, base: int = 0) -> None:
        self.registers, self.memory, self.clock = registers, memory, clock
        self._resetn, self._base = resetn, base

    async def reset(self, cycles: int = 4) -> None:
        self._resetn.value = 0
        await self.wait(cycles)
        self._resetn.value = 1
        await self.wait(2)

    async def wait(self, cycles: int) -> None:
        for _ in range(cycles):
            await RisingEdge(self.clock)

    async def read(self, offset: int) -> int:
        return int(await self.registers.read_dword(self._base + offset))

    async def write(self, offset: int, value: int) -> None:
        await self.registers.write_dword(self._base + offset, value)

    async def begin(self, block: int, address: int, frames: int) -> None:
        """As the driver does it."""
        for offset, value in ((LOW, address & 0xFFFFFFFF), (HIGH, address >> 32), (FRAMES, frames)):
            await self.write(block + offset, value)
            assert await self.read(block + offset) == value
        await self.write(block + CONTROL, START)

    async def end(self, block: int, cycles: int = 60_000) -> int:
        """The error code of the transfer, when it has ended; `cycles` is a limit."""
        for _ in range(cycles // 50):
            if await self.read(block + CONTROL) & IDLE:
                return await self.read(block + ERROR)
            await self.wait(40)
        raise AssertionError("the transfer must end, not hang")

    async def where(self, block: int) -> int:
        return await self.read(block + WHERE_LOW) | await self.read(block + WHERE_HIGH) << 32

    async def cycles(self, block: int) -> int:
        return await self.read(block + CYCLES_LOW) | await self.read(block + CYCLES_HIGH) << 32


class Shell(Processor):
    """A shell in the simulation, its memory, and what its accelerator would do.

    Args:
        dut: has the ports.
        name: they begin with it.
        word_in, word_out: bytes.

    Attributes:
        taken: the bytes that came to the accelerator.
        take, give: the probability that the accelerator does in a cycle.
        given: bytes that the accelerator gave; it gives what `byte` says.
        next: the number of the byte that the next output transfer begins with; the shell holds a few beforehand.
    """

    def __init__(self, dut: Any, name: str, word_in: int, word_out: int, seed: int) -> None:
        self.rng = random.Random(seed)
        self._dut, self._name = dut, name
        clock, resetn = dut.clk, self._pin("resetn")
        bus = AxiLiteBus.from_prefix(dut, f"{name}_s_axi")
        registers = AxiLiteMaster(bus, clock, resetn, reset_active_level=False)
        super().__init__(registers, Memory(dut, f"{name}_m_axi", clock, resetn, self.rng), clock, resetn)
        self.taken, self.given, self.next = bytearray(), 0, 0
        self.take = self.give = 1.0
        self._word_in, self._word_out = word_in, word_out

    def _pin(self, name: str) -> Any:
        return getattr(self._dut, f"{self._name}_{name}")

    @staticmethod
    def byte(number: int) -> int:
        """The accelerator's output, byte by byte: long without a period, and never the guard."""
        value = (number * 2654435761 >> 7) & 0xFF
        return value if value != GUARD else 0

    async def start(self) -> None:
        """Reset, and then the streams."""
        for name in ("in_ready", "out_valid"):  # as the test before left them
            self._pin(name).value = 0
        await self.reset()
        cocotb.start_soon(self._takes())
        cocotb.start_soon(self._gives())

    async def reset(self, cycles: int = 4) -> None:
        self._resetn.value = 0
        await self.wait(cycles)
        self.next = self.given
        await super().reset(1)

    def gives(self) -> bool:
        """Whether the accelerator has a word in this cycle."""
        return True

    async def _takes(self) -> None:
        ready, valid, data = self._pin("in_ready"), self._pin("in_valid"), self._pin("in_data")
        now = 0
        ready.value = now
        while True:
            await RisingEdge(self.clock)
            if now and valid.value == 1 and self._resetn.value == 1:
                self.taken += int(data.value).to_bytes(self._word_in, "little")
            now = int(self.rng.random() < self.take)
            ready.value = now

    async def _gives(self) -> None:
        ready, valid, data = self._pin("out_ready"), self._pin("out_valid"), self._pin("out_data")
        now = 0
        valid.value = now
        while True:
            await RisingEdge(self.clock)
            if now and ready.value == 1 and self._resetn.value == 1:
                self.given += self._word_out
                now = 0
            if not now and self.gives() and self.rng.random() < self.give:
                now = 1
                word = bytes(self.byte(self.given + i) for i in range(self._word_out))
                data.value = int.from_bytes(word, "little")
            valid.value = now
