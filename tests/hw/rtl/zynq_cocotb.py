"""Tests that run inside the simulation of a whole Zynq-7000 design: see test_shell.py."""

from __future__ import annotations

import os
import random
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotbext.axi import AxiBurstType, AxiBus, AxiMaster

from fireflow.hw.packing import unpack_bits
from tests.hw.rtl.shell_drive import (
    CONTROL,
    FRAMES,
    GUARD,
    HASH,
    IDLE,
    INPUT,
    LOW,
    MAGIC,
    OUTPUT,
    START,
    Memory,
    Processor,
)

BASE = 0x4000_0000
"""Where M_AXI_GP0 sees the registers."""
IMAGES, SCORES = 0x1000_0000, 0x1800_0000
DATA = np.load(Path(os.environ["FIREFLOW_CASE"]), allow_pickle=False)
WORD, BITS, LANES = (int(DATA[name]) for name in ("word_bytes", "bits", "lanes"))
TAGS, QUIET, ALIGNED = 0x24, 0x28, 0x5C


class Zynq(Processor):
    """The processing system: frames in its memory, scores in its memory."""

    def __init__(self, dut: Any, seed: int) -> None:
        ps = dut.ps
        Clock(ps.clk, 10, "ns").start()
        bus = AxiBus.from_prefix(ps, "gp0")
        registers = AxiMaster(bus, ps.clk, ps.resetn, reset_active_level=False, max_burst_len=16)
        memory = Memory(ps, "hp0", ps.clk, ps.resetn, random.Random(seed))
        super().__init__(registers, memory, ps.clk, ps.resetn, BASE)
        self.images = DATA["images"]  # uint8 (N, bytes of a frame)
        self.size = DATA["scores"].shape[1] // LANES * WORD

    def put(self, numbers: Sequence[int], address: int) -> None:
        """Images, one behind the other."""
        data = b"".join(self.images[number].tobytes() for number in numbers)
        self.memory.bytes[address : address + len(data)] = data

    def clear(self, frames: int, address: int) -> None:
        size = frames * self.size + 64
        self.memory.bytes[address : address + size] = bytes([GUARD]) * size

    def check(self, numbers: Sequence[int], address: int) -> None:
        """The scores of these images lie there, and nothing behind them."""
        size = len(numbers) * self.size
        found = bytes(self.memory.bytes[address : address + size + 64])
        assert set(found[size:]) == {GUARD}
        words = np.frombuffer(found[:size], np.uint8).reshape(-1, WORD)
        scores = unpack_bits(words, BITS, bool(DATA["signed"]), LANES).reshape(len(numbers), -1)
        np.testing.assert_array_equal(scores, DATA["scores"][list(numbers)])

    async def started(self) -> None:
        await self.reset(20)
        await self.wait(10)


@cocotb.test()
async def registers(dut: Any) -> None:
    """Through the bridge: single accesses, and every kind of burst."""
    zynq = Zynq(dut, 0)
    await zynq.started()
    assert await zynq.read(INPUT + CONTROL) == IDLE
    assert await zynq.read(OUTPUT + CONTROL) == IDLE
    whole = (await zynq.registers.read(BASE + MAGIC, 64)).data  # 16 beats
    assert whole[:8] == b"FIRE\1\0\0\0"
    words = [int.from_bytes(whole[i : i + 4], "little") for i in range(HASH - MAGIC, 64, 4)]
    assert "".join(f"{word:08x}" for word in words) == str(DATA["hash"])
    await zynq.registers.write(BASE + OUTPUT + LOW, bytes(range(16)))  # address, a gap, frames
    assert [await zynq.read(OUTPUT + offset) for offset in (LOW, LOW + 4, FRAMES)] == [
        0x3020100,
        0x7060504,
        0xF0E0D0C,
    ]
    fixed = zynq.registers.init_read(BASE + MAGIC, 12, burst=AxiBurstType.FIXED)
    await fixed.wait()
    assert fixed.data.data == b"FIREFIREFIRE"
    wrapped = zynq.registers.init_read(BASE + OUTPUT + FRAMES, 16, burst=AxiBurstType.WRAP)
    await wrapped.wait()
    assert wrapped.data.data == bytes([12, 13, 14, 15, *range(8), 0, 0, 0, 0])
    await zynq.registers.write(BASE + OUTPUT + LOW + 2, b"\xaa")
    assert await zynq.read(OUTPUT + LOW) == 0x03AA0100
    assert (await zynq.registers.read(BASE + OUTPUT + LOW + 1, 2)).data == b"\x01\xaa"


@cocotb.test()
async def images_to_scores(dut: Any) -> None:
    """Several frames, several transfers back to back, in any order of starting, on a slow and a fast memory."""
    zynq = Zynq(dut, 1)
    await zynq.started()
    rng = random.Random(2)
    for stall, latency in ((0.0, 0), (0.4, 60)):
        zynq.memory.stall(stall)
        zynq.memory.latency = latency
        sent: list[list[int]] = [
            [rng.randrange(len(zynq.images)) for _ in range(count)] for count in (1, 2, 1)
        ]
        for number, images in enumerate(sent):
            zynq.put(images, IMAGES + 0x10000 * number + 8 * number)
            zynq.clear(len(images), SCORES + 0x10000 * number)

        async def feed(transfers: list[list[int]]) -> None:
            for number, images in enumerate(transfers):
                await zynq.begin(INPUT, IMAGES + 0x10000 * number + 8 * number, len(images))
                assert await zynq.end(INPUT) == 0

        feeder = cocotb.start_soon(feed(sent))
        await zynq.wait(rng.choice([0, 3000]))
        for number, images in enumerate(sent):
            await zynq.begin(OUTPUT, SCORES + 0x10000 * number, len(images))
            assert await zynq.end(OUTPUT) == 0
            zynq.check(images, SCORES + 0x10000 * number)
        await feeder


@cocotb.test()
async def interval(dut: Any) -> None:
    """The accelerator never waits for the shell: frames come as often as the accelerator alone gives them."""
    zynq, frames = Zynq(dut, 3), 4
    await zynq.started()
    numbers = [n % len(zynq.images) for n in range(frames)]
    zynq.put(numbers, IMAGES)
    zynq.clear(frames, SCORES)
    await zynq.begin(OUTPUT, SCORES, frames)
    await zynq.begin(INPUT, IMAGES, frames)
    assert await zynq.end(OUTPUT) == 0
    zynq.check(numbers, SCORES)
    wanted = int(DATA["latency"]) + (frames - 1) * int(DATA["interval"])
    assert wanted <= await zynq.cycles(OUTPUT) <= 1.01 * wanted + 250


@cocotb.test()
async def reset_in_the_midst(dut: Any) -> None:
    """FCLK's reset stops everything, and the next frame is right."""
    zynq = Zynq(dut, 4)
    await zynq.started()
    for wait in (100, 700, 1500):
        zynq.put([0, 1], IMAGES)
        zynq.clear(2, SCORES)
        await zynq.begin(OUTPUT, SCORES, 2)
        await zynq.begin(INPUT, IMAGES, 2)
        await zynq.wait(wait)
        assert await zynq.read(OUTPUT + CONTROL) == START
        await zynq.started()
        assert [await zynq.read(block + CONTROL) for block in (INPUT, OUTPUT)] == [IDLE, IDLE]
        zynq.put([2], IMAGES)
        zynq.clear(1, SCORES)
        await zynq.begin(INPUT, IMAGES, 1)
        await zynq.begin(OUTPUT, SCORES, 1)
        assert [await zynq.end(INPUT), await zynq.end(OUTPUT)] == [0, 0]
        zynq.check([2], SCORES)


@cocotb.test()
async def tags_and_pauses(dut: Any) -> None:
    """Each frame's scores carry the checksum of its pixels, and the pause behind the last shows that all is whole."""
    zynq, numbers = Zynq(dut, 5), [0, 2, 1, 1]
    await zynq.started()
    await zynq.write(OUTPUT + TAGS, 1)
    quiet = await zynq.read(OUTPUT + QUIET)
    assert 64 < quiet < int(DATA["interval"]) // 2
    zynq.put(numbers, IMAGES)
    tag = -(-4 // WORD) * WORD
    zynq.clear(2 * len(numbers), SCORES)
    for turn in range(2):
        await zynq.begin(OUTPUT, SCORES, len(numbers))
        await zynq.begin(INPUT, IMAGES, len(numbers))
        assert [await zynq.end(INPUT), await zynq.end(OUTPUT)] == [0, 0]
        await zynq.wait(quiet + 20)
        assert await zynq.read(OUTPUT + ALIGNED) == len(numbers) * (turn + 1)
        size = len(numbers) * (zynq.size + tag)
        found = bytes(zynq.memory.bytes[SCORES : SCORES + size + 64])
        assert set(found[size:]) == {GUARD}
        frames = [found[at : at + zynq.size + tag] for at in range(0, size, zynq.size + tag)]
        for number, image in enumerate(numbers):
            wanted = zlib.crc32(zynq.images[image].tobytes()) ^ (len(numbers) * turn + number)
            assert frames[number][zynq.size :] == wanted.to_bytes(tag, "little")
        plain = b"".join(frame[: zynq.size] for frame in frames)
        zynq.memory.bytes[SCORES : SCORES + len(plain) + 64] = plain + bytes([GUARD]) * 64
        zynq.check(numbers, SCORES)
