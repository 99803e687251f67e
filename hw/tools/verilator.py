"""RTL simulation: a design with AXI-stream ports built by Verilator, fed and read in batch.

Any module serves whose ports are a clock (`ap_clk`), a reset (`ap_rst_n`, active low) and streams NAME_TDATA,
NAME_TVALID and NAME_TREADY. Builds are cached by content; the C++ that drives the model is `driver.cpp`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Mapping, Sequence

import numpy as np

from fireflow.hw.cache import cache_folder, content_key, made_once
from fireflow.hw.dataflow.stream import Port
from fireflow.hw.errors import InputError, ToolFailure
from fireflow.hw.tools.axi_stream import bindings, module_ports, streams
from fireflow.hw.tools.cxx import Compilers

if TYPE_CHECKING:
    from fireflow.hw.types import Array, Int64Array

    # A probability for each cycle, or a pattern (1 = stalled) that repeats.
    Stall = float | Sequence[int]

DRIVER = Path(__file__).with_name("driver.cpp")
# Where a pattern of stalls begins again: a prime, so that it never keeps step with the words of a pixel or a row.
STALL_PERIOD = 65521


class SimulationError(ToolFailure):
    """A design that breaks the rules of AXI-stream, or stops by itself."""


class DeadlockError(SimulationError):
    """Nothing moved any more.

    Attributes:
        waiting: for each port that had words left, what it waits for.
        result: what had come until then.
    """

    def __init__(self, message: str, waiting: Mapping[str, str], result: Result) -> None:
        super().__init__(message)
        self.waiting = dict(waiting)
        self.result = result


@dataclass(frozen=True, eq=False)
class Result:
    """What a run gave.

    Attributes:
        outputs: for each output port its words, uint8 (words, bytes).
        accepted, emitted: for each input (output) port the cycle in which each word moved, int64 (words,);
            cycle 0 is the first after reset. Empty unless recorded.
        cycles: until the last word moved.
        log: what the design printed.
    """

    outputs: tuple[Array, ...]
    accepted: tuple[Int64Array, ...]
    emitted: tuple[Int64Array, ...]
    cycles: int
    log: str

    @property
    def fifo_levels(self) -> dict[str, int]:
        """Most words that each `stream_fifo` held, by its path in the design."""
        return {path: int(level) for path, level in re.findall(r"^fifo (\S+) (\d+)$", self.log, re.MULTILINE)}


@dataclass(frozen=True)
class Simulation:
    """A built design. Make it with `Simulation.build`."""

    top: str
    executable: Path
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    @classmethod
    def build(
        cls,
        top: str,
        sources: Sequence[str | Path],
        *,
        include_dirs: Sequence[str | Path] = (),
        defines: Mapping[str, str] | None = None,
        parameters: Mapping[str, int | str] | None = None,
        optimize: bool = False,
        threads: int = 1,
        jobs: int = 1,
    ) -> Simulation:
        """Translates and compiles a design, or takes it from the cache.

        Args:
            top: the module to simulate.
            sources: Verilog and SystemVerilog files, packages first.
            include_dirs: where `include` looks.
            defines, parameters: macros; parameters of the top, texts as strings.
            optimize: compile for millions of cycles rather than for a quick start.
            threads: of the simulation.
            jobs: compiler processes beside each other.

        Raises:
            InputError: no Verilator, no C++ compiler, a source that is missing.
            BuildError: the tools refuse the design; their first error is quoted.
        """
        tools = Compilers.find()
        files = [Path(path).resolve() for path in sources]
        folders = [Path(path).resolve() for path in include_dirs]
        for path in files:
            if not path.is_file():
                raise InputError(f"{path}: a source must be a file, not missing; write it first")
        options = ["--cc", "--no-timing", "--assert", "--x-assign", "unique", "--x-initial", "unique"]
        options += ["--prefix", "Vtop", "--top-module", top, "--threads", str(threads), "-Wno-fatal"]
        options += ["--output-split", "60000"]  # bytes: files of a size that compilers digest
        options += [f"-D{name}={value}" for name, value in (defines or {}).items()]
        for name, value in (parameters or {}).items():
            options.append(f'-G{name}="{value}"' if isinstance(value, str) else f"-G{name}={value}")
        included = [path for folder in folders for path in sorted(folder.glob("*.*v*")) if path.is_file()]
        ours = [Path(__file__).with_name(name) for name in ("driver.cpp", "axi_stream.py", "cxx.py")]
        key = content_key([tools.identity, *options, str(optimize), *ours, *files, "included", *included])

        def make(temporary: Path) -> None:
            cpp = temporary / "cpp"
            command = [*options, *(f"-I{path}" for path in folders), *map(str, files)]
            (temporary / "verilator.log").write_text(tools.translate(command, cpp))
            declared = module_ports((cpp / "Vtop.h").read_text())
            (cpp / "ports.h").write_text(bindings(top, declared))
            tools.compile(cpp, DRIVER, temporary / "sim", optimize, jobs)
            shutil.copy(cpp / "Vtop.h", temporary)
            shutil.rmtree(cpp)

        folder = made_once(cache_folder("verilator") / f"{top}-{key}", "sim", make)
        ports = streams(top, module_ports((folder / "Vtop.h").read_text()))
        inputs = tuple(port for port, is_input in ports if is_input)
        outputs = tuple(port for port, is_input in ports if not is_input)
        return cls(top, folder / "sim", inputs, outputs)

    def run(
        self,
        inputs: Sequence[Array],
        outputs: Sequence[int],
        *,
        stalls: Stall | Mapping[str, Stall] = 0.0,
        seed: int = 0,
        max_idle_cycles: int = 100_000,
        drain_cycles: int = 64,
        record: bool = True,
        strict: bool = False,
        cwd: str | Path | None = None,
        progress: Callable[[int, float], None] | None = None,
    ) -> Result:
        """Feeds words and collects what comes, until every input word is taken and every output word is here.

        Args:
            inputs: for each input port its words, uint8 (words, bytes); see `pack_words`.
            outputs: for each output port how many words to expect.
            stalls: for all ports or by port name: the probability with which a port does not start a transfer
                in a cycle, or a pattern (1 = stalled) that repeats.
            seed: of the random stalls and of whatever the design leaves uninitialized.
            max_idle_cycles: cycles in which no port moves a word that make a deadlock.
            drain_cycles: cycles to go on after the last word, in which nothing more may come.
            record: keep the cycle in which each word moved.
            strict: check in each cycle that no TVALID or TDATA depends on TREADY.
            cwd: folder from which $readmemh takes its relative paths; the current one by default.
            progress: called now and then with the cycles so far and the part of all words that moved.

        Raises:
            InputError: words that do not fit the ports.
            DeadlockError: nothing moves any more; names the ports that wait.
            SimulationError: a word that was withdrawn or changed while it waited, too many words, $fatal.
        """
        self._check(inputs, outputs)
        with tempfile.TemporaryDirectory(prefix="fireflow-sim-") as name:
            folder = Path(name)
            plan = [str(seed), str(max_idle_cycles), str(drain_cycles), str(int(record)), str(int(strict))]
            patterns = self._patterns(stalls, seed)
            for port, words in zip(self.inputs, inputs):
                np.ascontiguousarray(words).tofile(folder / port.name)
                (folder / f"{port.name}.stalls").write_bytes(patterns[port.name])
                plan += [str(folder / port.name), str(len(words)), str(folder / f"{port.name}.stalls")]
            for port, count in zip(self.outputs, outputs):
                (folder / f"{port.name}.stalls").write_bytes(patterns[port.name])
                plan += [str(folder / port.name), str(count), str(folder / f"{port.name}.stalls")]
            (folder / "plan").write_text("\n".join(plan))
            total = sum(map(len, inputs)) + sum(outputs)
            report = progress or (lambda cycles, part: None)
            end, log = self._execute(folder / "plan", cwd, lambda now, moved: report(now, moved / total))
            result = self._collect(folder, int(end[1]), log, record)
        self._judge(end, inputs, outputs, max_idle_cycles, result)
        return result

    def _check(self, inputs: Sequence[Array], outputs: Sequence[int]) -> None:
        sides = ((self.inputs, len(inputs), "arrays of words"), (self.outputs, len(outputs), "counts"))
        for ports, given, what in sides:
            if len(ports) != given:
                names = ", ".join(port.name for port in ports) or "none"
                raise InputError(f"{self.top}: {what} must be for {names}, not {given}; give one each")
        for port, words in zip(self.inputs, inputs):
            if words.dtype != np.uint8 or words.ndim != 2 or words.shape[1] != port.bytes:
                raise InputError(
                    f"{self.top}: words for {port.name} must be uint8 (words, {port.bytes}), not {words.dtype} "
                    f"{words.shape}; pack them with the port's lanes and bits"
                )
            if port.bits % 8 and words.size and int(words[:, -1].max()) >> port.bits % 8:
                raise InputError(
                    f"{self.top}: words for {port.name} must have {port.bits} bits, not more; clear the rest"
                )

    def _patterns(self, stalls: Stall | Mapping[str, Stall], seed: int) -> dict[str, bytes]:
        ports = [*self.inputs, *self.outputs]
        wanted = dict(stalls) if isinstance(stalls, Mapping) else {port.name: stalls for port in ports}
        unknown = set(wanted) - {port.name for port in ports}
        if unknown:
            names = ", ".join(port.name for port in ports)
            raise InputError(f"{self.top}: stalls must be for {names}, not {min(unknown)}; correct the name")
        result = {}
        for number, port in enumerate(ports):
            stall = wanted.get(port.name, 0.0)
            if isinstance(stall, (int, float)):
                random = np.random.default_rng((seed, number)).random(STALL_PERIOD if stall else 1)
                pattern: Array = random < stall
            else:
                pattern = np.asarray(stall, bool)
            result[port.name] = pattern.astype(np.uint8).tobytes()
            if 0 not in result[port.name]:
                raise InputError(
                    f"{self.top}: stalls of {port.name} must leave some cycle free, not none; change them"
                )
        return result

    def _execute(
        self, plan: Path, cwd: str | Path | None, progress: Callable[[int, int], object]
    ) -> tuple[list[str], str]:
        """The fields of the driver's last line, and what the design printed."""
        log, end = [], None
        with subprocess.Popen(
            [str(self.executable), str(plan)],
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith("@end "):
                    end = line.split()[1:]
                elif line.startswith("@progress "):
                    progress(*map(int, line.split()[1:]))
                elif line.strip():
                    log.append(line)
        if end is None:
            signs = ("%Fatal", "%Error", "cannot")
            errors = [line.strip() for sign in signs for line in log if sign in line]
            what = [*errors, *log[-1:], f"exit code {process.returncode}"][0]
            raise SimulationError(f"{self.top}: the simulation stopped: {what}")
        return end, "".join(log)

    def _collect(self, folder: Path, cycles: int, log: str, record: bool) -> Result:
        def moments(ports: Sequence[Port]) -> tuple[Int64Array, ...]:
            names = [folder / f"{port.name}.cycles" for port in ports] if record else []
            return tuple(np.fromfile(name, np.uint64).astype(np.int64) for name in names)

        raw = [np.fromfile(folder / port.name, np.uint8) for port in self.outputs]
        words = tuple(data.reshape(-1, port.bytes) for data, port in zip(raw, self.outputs))
        return Result(words, moments(self.inputs), moments(self.outputs), cycles, log)

    def _judge(
        self, end: Sequence[str], inputs: Sequence[Array], outputs: Sequence[int], idle: int, result: Result
    ) -> None:
        status, cycle, place = end[:3]
        if status == "done":
            return
        if status != "deadlock":
            rule = {
                "finish": "the design called $finish",
                "extra": f"{place} gave more words than expected",
                "dropped": f"{place} withdrew a word that was not taken",
                "changed": f"{place} changed a word that waited to be taken",
                "depends": f"{place}_TVALID or _TDATA depends on a TREADY of the same cycle",
            }[status]
            raise SimulationError(f"{self.top}: {rule}, in cycle {cycle}")
        counts = [*map(len, inputs), *outputs]
        waiting = {}
        for number, port in enumerate([*self.inputs, *self.outputs]):
            moved, valid, ready = map(int, end[3 + 3 * number : 6 + 3 * number])
            if moved < counts[number]:
                done = f"{moved} of {counts[number]} words"
                is_input = number < len(self.inputs)
                flag = f"TREADY is {ready}" if is_input else f"TVALID is {valid}"
                waiting[port.name] = f"{done} {'taken' if is_input else 'given'}, {flag}"
        ports = "; ".join(f"{name}: {what}" for name, what in waiting.items())
        message = f"{self.top}: deadlock, nothing moved for {idle} cycles after cycle {cycle}: {ports}"
        raise DeadlockError(message, waiting, result)
