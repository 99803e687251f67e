"""Tests that run inside the simulation of `bench`: see test_shell.py."""

from __future__ import annotations

from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotbext.axi import AxiResp

from tests.hw.rtl.shell_cases import CASES, HASH
from tests.hw.rtl.shell_drive import (
    CONTROL,
    DONE,
    ERROR,
    FAILED,
    FRAMES,
    GUARD,
    HIGH,
    IDLE,
    INPUT,
    LOW,
    MAGIC,
    OUTPUT,
    READY,
    START,
    VERSION,
    Shell,
)
from tests.hw.rtl.shell_drive import HASH as HASH_OFFSET

BASE = 0x1000_0000


async def opened(dut: Any, name: str, seed: int = 0) -> Shell:
    """A shell after reset; the others stay in reset."""
    Clock(dut.clk, 10, "ns").start()
    for other in CASES:
        getattr(dut, f"{other}_resetn").value = 0
    case = CASES[name]
    shell = Shell(dut, name, case.word_in, case.word_out, seed)
    await shell.start()
    return shell


def fill(shell: Shell, address: int, size: int) -> bytes:
    data = shell.rng.randbytes(size)
    shell.memory.bytes[address : address + size] = data
    return data


def guarded(shell: Shell, address: int, size: int) -> None:
    shell.memory.bytes[address - 64 : address + size + 64] = bytes([GUARD]) * (size + 128)


def check_written(shell: Shell, address: int, size: int) -> None:
    """The accelerator's next bytes lie there, and nothing else was touched."""
    found = bytes(shell.memory.bytes[address - 64 : address + size + 64])
    assert found[64:-64] == bytes(shell.byte(shell.next + i) for i in range(size))
    shell.next += size
    assert set(found[:64] + found[-64:]) == {GUARD}


@cocotb.test()
async def registers(dut: Any) -> None:
    shell = await opened(dut, "broad")
    for block in (INPUT, OUTPUT):
        assert [await shell.read(block + 4 * i) for i in range(8)] == [IDLE, 0, 0, 0, 0, 0, 0, 0]
        for offset, value in ((LOW, 0x89ABCDE0), (HIGH, 0x01234567), (FRAMES, 0xFEDCBA98)):
            await shell.write(block + offset, value)
        assert [await shell.read(block + o) for o in (LOW, HIGH, FRAMES)] == [
            0x89ABCDE0,
            0x01234567,
            0xFEDCBA98,
        ]
        await shell.registers.write(block + LOW + 1, b"\x55\x66")
        assert await shell.read(block + LOW) == 0x896655E0
        assert (await shell.read(block + MAGIC)).to_bytes(4, "little") == b"FIRE"
        assert await shell.read(block + VERSION) == 1
        assert "".join([f"{await shell.read(block + HASH_OFFSET + 4 * i):08x}" for i in range(8)]) == HASH
        for offset in (0x04, 0x18, 0x20, 0x3C, 0x5C, 0x80, 0x90, 0x1010, 0xFFFC):
            await shell.write(block + offset, 0xFFFFFFFF)
            assert await shell.read(block + offset) == 0
        assert await shell.read(block + LOW) == 0x896655E0
    await shell.write(INPUT + LOW, 1)
    assert await shell.read(OUTPUT + LOW) == 0x896655E0


@cocotb.test()
@cocotb.parametrize(name=list(CASES), seed=[1, 2])
async def transfers(dut: Any, name: str, seed: int) -> None:
    """Both directions beside each other, back to back, at random addresses, with every kind of delay."""
    shell, case = await opened(dut, name, seed), CASES[name]
    rng = shell.rng
    for _round in range(4):
        shell.memory.stall(rng.choice([0, 0.2, 0.7]))
        shell.memory.latency = rng.choice([0, 40])
        shell.take, shell.give = rng.choice([0.1, 0.6, 1.0]), rng.choice([0.1, 0.6, 1.0])
        top = min(case.address_bits, 48)
        frames, places = [], []
        for size in (case.frame_in, case.frame_out):
            frames.append(rng.choice([1, 2, 3, rng.randrange(1, 2 + 2000 // size)]))
            near = rng.randrange(1 << 12, (1 << top) - (1 << 16)) >> 12 << 12  # often shortly before a page
            places.append(
                near - case.bus * rng.randrange(rng.choice([2, 300])) if rng.random() < 0.7 else near
            )
        if abs(places[0] - places[1]) < 1 << 16:
            continue
        sent = fill(shell, places[0], frames[0] * case.frame_in)
        size = frames[1] * case.frame_out
        guarded(shell, places[1], size)
        before = len(shell.taken)
        order = [(INPUT, 0), (OUTPUT, 1)]
        rng.shuffle(order)
        for block, number in order:
            await shell.begin(block, places[number], frames[number])
            if rng.random() < 0.5:
                await shell.wait(rng.randrange(100))
        for block, _number in order:
            assert await shell.end(block) == 0
        check_written(shell, places[1], size)
        shell.take = 1.0  # the last word may wait for the accelerator still
        await shell.wait(40)
        assert bytes(shell.taken[before:]) == sent
        assert shell.given <= shell.next + 2 * case.word_out  # no more than the shell holds


@cocotb.test()
async def control(dut: Any) -> None:
    shell, case = await opened(dut, "rgb"), CASES["rgb"]
    data = fill(shell, BASE, 20 * case.frame_in)
    shell.take = 0.0
    await shell.begin(INPUT, BASE, 20)
    await shell.wait(400)
    assert await shell.read(INPUT + CONTROL) == START
    assert await shell.read(OUTPUT + CONTROL) == IDLE
    await shell.write(INPUT + LOW, 0x40)  # for the next; the transfer under way keeps its own
    await shell.write(INPUT + FRAMES, 7)
    await shell.write(INPUT + CONTROL, START)  # already started: nothing happens
    shell.take = 1.0
    assert await shell.end(INPUT) == 0  # this read of the control register clears done
    await shell.wait(300)
    assert await shell.read(INPUT + CONTROL) == IDLE
    assert bytes(shell.taken) == data
    cycles = await shell.cycles(INPUT)
    assert 200 < cycles < 2000
    await shell.begin(INPUT, BASE, 1)
    await shell.wait(200)
    assert await shell.read(OUTPUT + CONTROL) == IDLE
    assert await shell.read(INPUT + CONTROL) == IDLE | DONE | READY
    assert await shell.read(INPUT + CONTROL) == IDLE
    assert await shell.cycles(INPUT) < 60  # counted anew
    await shell.registers.write(INPUT + CONTROL + 1, b"\x01")  # not the start bit
    await shell.write(INPUT + CONTROL, 0x80)
    await shell.wait(50)
    assert await shell.read(INPUT + CONTROL) == IDLE


@cocotb.test()
@cocotb.parametrize(name=["rgb", "broad", "long"])
async def refused(dut: Any, name: str) -> None:
    """A transfer that cannot be: at once idle, with a code; the next one is right."""
    shell, case = await opened(dut, name), CASES[name]
    for block, size in ((INPUT, case.frame_in), (OUTPUT, case.frame_out)):
        tries = [(BASE + offset, 1, 1) for offset in (1, case.bus // 2, case.bus - 1)]
        tries += [(BASE, 0, 3), (BASE, -(-(1 << 32) // size), 3), (BASE, 0xFFFFFFFF, 3)]
        if case.address_bits < 64:
            tries.append((1 << case.address_bits | BASE, 1, 2))
        for address, frames, code in tries:
            await shell.begin(block, address, frames)
            assert await shell.end(block, 120) == code
            assert await shell.where(block) == address
        await shell.begin(block, BASE + 1, 1)
        await shell.wait(60)
        assert (
            await shell.read(block + CONTROL) == IDLE | DONE | READY | FAILED
        )  # whoever waits for done is not left waiting
    assert not shell.taken
    assert shell.given <= 2 * case.word_out
    data = fill(shell, BASE, case.frame_in)
    guarded(shell, BASE + 8192, case.frame_out)
    await shell.begin(INPUT, BASE, 1)
    await shell.begin(OUTPUT, BASE + 8192, 1)
    assert [await shell.end(INPUT), await shell.end(OUTPUT)] == [0, 0]
    await shell.wait(20)
    assert bytes(shell.taken) == data
    check_written(shell, BASE + 8192, case.frame_out)


@cocotb.test()
@cocotb.parametrize(name=["rgb", "wide", "odd", "broad", "long"], response=[AxiResp.SLVERR, AxiResp.DECERR])
async def bus_errors(dut: Any, name: str, response: AxiResp) -> None:
    """An error response in the midst of a transfer ends it; after a reset all is as before."""
    shell, case = await opened(dut, name, int(response)), CASES[name]
    rng, memory = shell.rng, shell.memory
    memory.response = response
    for block, size in ((INPUT, case.frame_in), (OUTPUT, case.frame_out)):
        for late in (False, True):
            memory.stall(0.3 if late else 0)
            memory.latency = 40 * late
            frames = 2 + 1500 // size
            beats = frames * size // case.bus
            wrong = BASE + case.bus * rng.choice([0, beats - 1, rng.randrange(beats)])
            memory.wrong = range(wrong, wrong + case.bus)
            shell.take = rng.choice([0.2, 1.0])
            await shell.begin(block, BASE, frames)
            assert await shell.end(block) == 2
            if block == INPUT:
                assert await shell.where(block) == wrong
            else:  # the burst, which ends at a multiple of its greatest length
                assert await shell.where(block) == wrong - wrong % (case.beats * case.bus)
            await shell.wait(200)
            assert await shell.read(block + CONTROL) & ~(DONE | READY) == IDLE | FAILED
            memory.wrong = range(0)
            shell.taken.clear()
            await shell.reset()
            assert await shell.read(block + ERROR) == 0
            shell.take = 1.0
            data = fill(shell, BASE, case.frame_in)
            guarded(shell, BASE + 8192, case.frame_out)
            await shell.begin(OUTPUT, BASE + 8192, 1)
            await shell.begin(INPUT, BASE, 1)
            assert [await shell.end(INPUT), await shell.end(OUTPUT)] == [0, 0]
            await shell.wait(40)
            assert bytes(shell.taken) == data
            check_written(shell, BASE + 8192, case.frame_out)


@cocotb.test()
@cocotb.parametrize(block=[INPUT, OUTPUT])
async def end_of_memory(dut: Any, block: int) -> None:
    """A bus of 32 bits does not start again at 0."""
    shell, case = await opened(dut, "rgb"), CASES["rgb"]
    last = (1 << 32) - 8 * case.frame_in  # a multiple of the bus
    data = fill(shell, last, 8 * case.frame_in)
    await shell.begin(block, last, 8)
    assert await shell.end(block) == 0
    await shell.begin(block, last, 9)
    assert await shell.end(block) == 2
    if block == INPUT:
        await shell.wait(20)
        assert bytes(shell.taken).startswith(data)


@cocotb.test()
@cocotb.parametrize(name=["rgb", "wide", "broad"])
async def resets(dut: Any, name: str) -> None:
    """A reset in the midst of both transfers."""
    shell, case = await opened(dut, name, 5), CASES[name]
    for _round in range(8):
        shell.memory.stall(shell.rng.choice([0, 0.5]))
        shell.take, shell.give = shell.rng.choice([0.2, 1.0]), shell.rng.choice([0.2, 1.0])
        fill(shell, BASE, 200 * case.frame_in)
        await shell.begin(INPUT, BASE, 1 + 2000 // case.frame_in)
        await shell.begin(OUTPUT, BASE + (1 << 16), 1 + 2000 // case.frame_out)
        await shell.wait(shell.rng.randrange(150))
        await shell.reset(shell.rng.randrange(1, 5))
        assert [await shell.read(INPUT + o) for o in (CONTROL, LOW, FRAMES, ERROR)] == [IDLE, 0, 0, 0]
        shell.take = shell.give = 1.0
        await shell.wait(5)
        shell.taken.clear()
        data = fill(shell, BASE, case.frame_in)
        guarded(shell, BASE + 8192, case.frame_out)
        await shell.begin(INPUT, BASE, 1)
        await shell.begin(OUTPUT, BASE + 8192, 1)
        assert [await shell.end(INPUT), await shell.end(OUTPUT)] == [0, 0]
        await shell.wait(40)
        assert bytes(shell.taken) == data
        check_written(shell, BASE + 8192, case.frame_out)


@cocotb.test()
async def neither_direction_waits_for_the_other(dut: Any) -> None:
    """The input stands still, and the output runs; the memory takes nothing, and the input runs."""
    shell, case = await opened(dut, "rgb", 3), CASES["rgb"]
    data = fill(shell, BASE, 100 * case.frame_in)
    shell.take = 0.0
    await shell.begin(INPUT, BASE, 100)
    await shell.wait(500)
    assert await shell.read(INPUT + CONTROL) == START
    guarded(shell, BASE + 8192, 100 * case.frame_out)
    await shell.begin(OUTPUT, BASE + 8192, 100)
    assert await shell.end(OUTPUT) == 0
    check_written(shell, BASE + 8192, 100 * case.frame_out)
    assert await shell.read(INPUT + CONTROL) == START

    for channel in (shell.memory.writes.aw_channel, shell.memory.writes.w_channel):
        channel.pause = True
    await shell.begin(OUTPUT, BASE + 8192, 100)
    await shell.wait(500)
    shell.take = 1.0
    assert await shell.end(INPUT) == 0
    await shell.wait(20)
    assert bytes(shell.taken) == data
    assert await shell.read(OUTPUT + CONTROL) == START
    for channel in (
        shell.memory.writes.w_channel,
        shell.memory.writes.aw_channel,
    ):  # W alone must be enough to go on
        channel.pause = False
        await shell.wait(50)
    assert await shell.end(OUTPUT) == 0
    check_written(shell, BASE + 8192, 100 * case.frame_out)


@cocotb.test()
@cocotb.parametrize(name=[name for name, case in CASES.items() if case.beats >= 16])
async def speed(dut: Any, name: str) -> None:
    """A word a cycle, or a beat a cycle where a word is more than a beat; a burst is gathered before it is written."""
    shell, case = await opened(dut, name), CASES[name]
    for block, word, frame in ((INPUT, case.word_in, case.frame_in), (OUTPUT, case.word_out, case.frame_out)):
        frames = -(-4000 // frame)
        fill(shell, BASE, frames * frame)
        await shell.begin(block, BASE, frames)
        assert await shell.end(block) == 0
        least = frames * frame / min(word, case.bus)
        assert least <= await shell.cycles(block) < 1.1 * least + case.beats + 150
