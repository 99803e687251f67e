"""Tests of the tags behind the scores and of the pauses between frames, inside the simulation of `bench`."""

from __future__ import annotations

import zlib
from typing import Any

import cocotb
from cocotb.clock import Clock

from tests.hw.rtl.shell_cases import CASES
from tests.hw.rtl.shell_drive import GUARD, IDLE, INPUT, OUTPUT, START, Shell

TAGS, QUIET, ALIGNED, CONTROL = 0x24, 0x28, 0x5C, 0x00
BASE, PLACE = 0x1000_0000, 0x1100_0000


class Frames(Shell):
    """A shell whose accelerator gives the words of a frame when it has taken one, and then pauses.

    Attributes:
        pause: cycles between the frames that it gives.
        surplus: words that it gives more, or less, than it should.
    """

    def __init__(self, dut: Any, name: str, seed: int) -> None:
        self.case = CASES[name]
        super().__init__(dut, name, self.case.word_in, self.case.word_out, seed)
        self.pause, self._paused, self.surplus, self._since = 0, 0, 0, 0

    @property
    def tag_bytes(self) -> int:
        return -(-4 // self.case.word_out) * self.case.word_out

    def gives(self) -> bool:
        given = self.given - self._since
        if given and given % self.case.frame_out == 0 and self._paused < self.pause:
            self._paused += 1
            return False
        owed = len(self.taken) // self.case.frame_in * self.case.frame_out + self.surplus * self.case.word_out
        if given < owed:
            self._paused = 0
        return given < owed

    async def reset(self, cycles: int = 4) -> None:
        self._since = self.given
        await super().reset(cycles)
        self._since, self.surplus = self.given, 0
        self.taken.clear()

    async def tagged(self) -> None:
        await self.write(OUTPUT + TAGS, 1)
        assert await self.read(OUTPUT + TAGS) == 1

    def fill(self, frames: int, address: int = BASE) -> list[bytes]:
        data = [self.rng.randbytes(self.case.frame_in) for _ in range(frames)]
        self.memory.bytes[address : address + frames * self.case.frame_in] = b"".join(data)
        size = frames * (self.case.frame_out + self.tag_bytes)
        self.memory.bytes[PLACE - 64 : PLACE + size + 64] = bytes([GUARD]) * (size + 128)
        return data

    def check(self, sent: list[bytes], first: int) -> None:
        """Behind each frame's words lies its tag, and nothing else was touched."""
        size = self.case.frame_out + self.tag_bytes
        found = bytes(self.memory.bytes[PLACE - 64 : PLACE + len(sent) * size + 64])
        assert set(found[:64] + found[-64:]) == {GUARD}
        for number, frame in enumerate(sent):
            part = found[64 + number * size :][:size]
            words = bytes(self.byte(self.next + i) for i in range(self.case.frame_out))
            self.next += self.case.frame_out
            tag = zlib.crc32(frame) ^ (first + number)
            assert part == words + tag.to_bytes(self.tag_bytes, "little")


async def opened(dut: Any, name: str, seed: int = 0) -> Frames:
    Clock(dut.clk, 10, "ns").start()
    for other in CASES:
        getattr(dut, f"{other}_resetn").value = 0
    shell = Frames(dut, name, seed)
    await shell.start()
    return shell


@cocotb.test()
@cocotb.parametrize(name=list(CASES), seed=[1, 2])
async def tags(dut: Any, name: str, seed: int) -> None:
    """Transfers of any number of frames, in any order of starting, with every kind of delay."""
    shell = await opened(dut, name, seed)
    case, rng, first = shell.case, shell.rng, 0
    assert [await shell.read(block + TAGS) for block in (INPUT, OUTPUT)] == [0, 0]
    await shell.write(INPUT + TAGS, 1)
    assert [await shell.read(block + TAGS) for block in (INPUT, OUTPUT)] == [0, 0]
    await shell.tagged()
    for _round in range(4):
        shell.memory.stall(rng.choice([0, 0.2, 0.7]))
        shell.memory.latency = rng.choice([0, 40])
        shell.take, shell.give = rng.choice([0.1, 0.6, 1.0]), rng.choice([0.1, 0.6, 1.0])
        frames = rng.choice([1, 2, 3, rng.randrange(1, 2 + 1500 // max(case.frame_in, case.frame_out))])
        sent = shell.fill(frames)
        order = [(INPUT, BASE), (OUTPUT, PLACE)]
        rng.shuffle(order)
        for block, address in order:
            await shell.begin(block, address, frames)
            await shell.wait(rng.choice([0, 100]))
        for block, _address in order:
            assert await shell.end(block) == 0
        shell.check(sent, first)
        first += frames
    await shell.reset()
    assert await shell.read(OUTPUT + TAGS) == 0


@cocotb.test()
async def many_frames_at_once(dut: Any) -> None:
    """More than the shell remembers: they wait outside, and none is mistaken for another."""
    shell = await opened(dut, "bytes")
    await shell.tagged()
    sent = shell.fill(100)
    await shell.begin(INPUT, BASE, 100)
    await shell.wait(1500)
    assert 20 <= len(shell.taken) // shell.case.frame_in <= 32
    assert await shell.read(INPUT + CONTROL) == START
    await shell.begin(OUTPUT, PLACE, 100)
    assert [await shell.end(INPUT), await shell.end(OUTPUT)] == [0, 0]
    shell.check(sent, 0)


@cocotb.test()
async def a_frame_that_nobody_sent(dut: Any) -> None:
    """It ends, and its tag fits no frame that was sent."""
    shell = await opened(dut, "rgb")
    await shell.tagged()
    shell.fill(1)
    shell.surplus = shell.case.frame_out // shell.case.word_out
    await shell.begin(OUTPUT, PLACE, 1)
    assert await shell.end(OUTPUT) == 0
    at = PLACE + shell.case.frame_out
    assert bytes(shell.memory.bytes[at : at + 6]) == bytes(6)


@cocotb.test()
@cocotb.parametrize(enabled=[False, True])
async def pauses(dut: Any, enabled: bool) -> None:
    """Frames that came out whole are counted, once the accelerator pauses behind them for long enough."""
    shell = await opened(dut, "rgb", 4)
    case = shell.case
    assert await shell.read(OUTPUT + QUIET) == case.quiet
    assert await shell.read(INPUT + QUIET) == 0
    if enabled:
        await shell.tagged()

    async def transfer(frames: int) -> None:
        shell.fill(frames)
        await shell.begin(OUTPUT, PLACE, frames)
        await shell.begin(INPUT, BASE, frames)
        assert [await shell.end(INPUT), await shell.end(OUTPUT)] == [0, 0]

    await transfer(3)
    await shell.wait(2 * case.quiet)
    assert await shell.read(OUTPUT + ALIGNED) == 3
    assert await shell.read(INPUT + ALIGNED) == 0
    shell.surplus = 1  # a word that nobody waits for
    await transfer(2)
    await shell.wait(2 * case.quiet)
    assert await shell.read(OUTPUT + ALIGNED) == 3
    await transfer(5)
    await shell.wait(2 * case.quiet)
    assert await shell.read(OUTPUT + ALIGNED) == 3, "it stays so"
    await shell.reset()
    assert await shell.read(OUTPUT + ALIGNED) == 0
    if enabled:
        await shell.tagged()
    shell.surplus = -1  # one too few: what completes a frame is the next one's
    shell.fill(4)
    await shell.begin(OUTPUT, PLACE, 3)
    await shell.begin(INPUT, BASE, 4)
    assert [await shell.end(INPUT), await shell.end(OUTPUT)] == [0, 0]
    await shell.wait(2 * case.quiet)
    assert await shell.read(OUTPUT + ALIGNED) == 0
    assert await shell.read(OUTPUT + CONTROL) & IDLE


@cocotb.test()
async def short_pauses_tell_nothing(dut: Any) -> None:
    """Those between the words of a frame must not pass for those between frames."""
    shell = await opened(dut, "rgb", 5)
    await shell.tagged()
    shell.fill(20)
    shell.pause = shell.case.quiet // 2
    await shell.begin(OUTPUT, PLACE, 21)  # the last one does not come
    await shell.begin(INPUT, BASE, 20)
    assert await shell.end(INPUT) == 0
    seen = {await shell.read(OUTPUT + ALIGNED) for _ in range(20)}
    assert seen == {0}
    await shell.wait(20 * (shell.pause + 30))
    assert await shell.read(OUTPUT + ALIGNED) == 20
